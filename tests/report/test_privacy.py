"""What a report says of a private target: what makes epsilon mean something."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from scipy import stats

from score_mia.metrics.epsilon import gaussian_delta
from score_mia.report import draw, privacy, table_text, write
from score_mia.report.curves import finite_roc
from score_mia.results import EpsilonBound, Privacy, TargetFacts
from score_mia.typed import from_json
from tests.oracles import gaussian_epsilon
from tests.report.example import attack, bare, changed

MU = 1.2
LEVELS = np.linspace(0.0, 12.0, 60)
PRIVACY = {
    "control": "", "clip": 0.7, "expected_batch": 62.5, "draws": 4,
    "calibrated": "rdp", "rows": 1000, "rate": 0.0625, "capacity": 112,
    "noise_multiplier": 2.98007, "steps": 28_800, "adjacency": "zero_out",
    "sampling": "poisson", "delta": 5e-4,
    "epsilon_pld": gaussian_epsilon(MU, 5e-4), "epsilon_rdp": 4.9,
    "profile": {
        "epsilon": LEVELS.tolist(),
        "delta": [gaussian_delta(MU, e) for e in LEVELS],
    },
}  # fmt: skip
TOLD = ("4.9", "0.0005", "zeroed", "Poisson", "0.0625", "112", "2.98007", "0.7")


def content(shown=0.4, **changes):
    """A report of a private target whose one attack proves epsilon >= `shown`."""
    one = changed(attack(), epsilon_lower_bound=EpsilonBound(shown, 3.2, 5e-4, 0.95))
    private = from_json(Privacy, {**PRIVACY, **changes}, "privacy")
    return bare(one, target=TargetFacts(privacy=private))


def words(page):
    return " ".join(re.sub(r"<[^>]+>", " ", page.read_text()).split())


def test_the_terminal_tells_the_whole_guarantee():
    text = " ".join(table_text(content().result).split())
    tight = f"{PRIVACY['epsilon_pld']:.4g} by PLD"
    for told in (*TOLD, tight, "28,800 steps", "epsilon, at least"):
        assert told in text
    assert "0.40 (n shows 3.20 at most)" in text


def test_the_page_tells_it_and_the_bound_beside_what_it_could_be(tmp_path):
    facts = {"Privacy": privacy.facts(content().result.target.privacy)}
    page = words(write(tmp_path, dataclasses.replace(content(), facts=facts)))
    for told in (*TOLD, f"{PRIVACY['epsilon_pld']:.4g}", "28,800"):
        assert told in page
    assert "at least 0.40 at delta = 0.0005" in page
    assert "would show 3.20" in page
    assert "no attack on a target trained with this guarantee" in page.lower()
    bounds = (tmp_path / "attacks.csv").read_text()
    assert "loss,epsilon_lower_bound,,0.4," in bounds
    assert "loss,largest_epsilon_lower_bound,,3.2," in bounds


def test_more_leak_than_accounted_is_a_warning_everywhere(tmp_path):
    beyond = content(shown=PRIVACY["epsilon_pld"] + 0.01)
    within = content(shown=PRIVACY["epsilon_pld"] - 0.01)
    (line,) = privacy.overruns(beyond.result)
    assert "One of the two is wrong" in line
    assert "One of the two is wrong" in words(write(tmp_path / "a", beyond))
    assert "One of the two is wrong" in " ".join(table_text(beyond.result).split())
    assert privacy.overruns(within.result) == []
    assert "One of the two is wrong" not in words(write(tmp_path / "b", within))


def test_the_ceiling_is_drawn_where_the_guarantee_lies():
    private = content().result.target.privacy
    fpr = np.geomspace(1e-3, 1, 30)
    found = privacy.ceiling(private, fpr)
    exact = stats.norm.cdf(stats.norm.ppf(fpr) + MU)
    np.testing.assert_allclose(found, exact, rtol=0.01)
    one = attack()
    curves = {"loss": finite_roc(one.scores, one.member)}
    label = privacy.ceiling_label(private)
    drawn = draw.roc(curves, (label, lambda f: privacy.ceiling(private, f)))
    lines = {line.get_label(): line for line in drawn.axes[0].get_lines()}
    x, y = lines[label].get_data()
    np.testing.assert_allclose(y, privacy.ceiling(private, x))
    assert f"{PRIVACY['epsilon_pld']:.4g}" in label


@pytest.mark.parametrize("control", ["clip_only", "noise_only"])
def test_a_control_claims_nothing(control):
    none = {"control": control, "epsilon_pld": None, "epsilon_rdp": None}
    result = content(shown=9.0, **none).result
    private = result.target.privacy
    assert privacy.ceiling(private, np.ones(1)) is None
    assert privacy.overruns(result) == []
    assert "no guarantee" in privacy.sentence(private)
    assert privacy.facts(private)["epsilon, PLD (tight)"] == "none"


def test_a_plain_target_is_not_spoken_of():
    assert (privacy.facts(None), privacy.sentence(None)) == ({}, "")
    assert privacy.remark(attack().result) == []
    assert "epsilon" not in table_text(bare(attack()).result)
