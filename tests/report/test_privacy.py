"""What a report says of a private target: what makes epsilon mean something."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from scipy import stats

from score_mia.metrics.epsilon import gaussian_delta
from score_mia.report import figure, privacy, table_text, write
from score_mia.report.curves import measure
from tests.oracles import gaussian_epsilon
from tests.report.example import attack, bare

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
    bound = {"value": shown, "largest": 3.2, "delta": 5e-4, "level": 0.95}
    one = attack()
    one = dataclasses.replace(
        one, metrics={**one.metrics, "epsilon_lower_bound": bound}
    )
    found = bare(one)
    target = {"privacy": {**PRIVACY, **changes}}
    return dataclasses.replace(found, metrics={**found.metrics, "target": target})


def words(page):
    return " ".join(re.sub(r"<[^>]+>", " ", page.read_text()).split())


def test_the_terminal_tells_the_whole_guarantee():
    text = " ".join(table_text(content().metrics).split())
    tight = f"{PRIVACY['epsilon_pld']:.4g} by PLD"
    for told in (*TOLD, tight, "28,800 steps", "epsilon, at least"):
        assert told in text
    assert "0.40 (n shows 3.20 at most)" in text


def test_the_page_tells_it_and_the_bound_beside_what_it_could_be(tmp_path):
    facts = {"Privacy": privacy.facts(content().metrics)}
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
    (line,) = privacy.overruns(beyond.metrics)
    assert "One of the two is wrong" in line
    assert "One of the two is wrong" in words(write(tmp_path / "a", beyond))
    assert "One of the two is wrong" in " ".join(table_text(beyond.metrics).split())
    assert privacy.overruns(within.metrics) == []
    assert "One of the two is wrong" not in words(write(tmp_path / "b", within))


def test_the_ceiling_is_drawn_where_the_guarantee_lies():
    metrics = content().metrics
    fpr = np.geomspace(1e-3, 1, 30)
    found = privacy.ceiling(metrics, fpr)
    exact = stats.norm.cdf(stats.norm.ppf(fpr) + MU)
    np.testing.assert_allclose(found, exact, rtol=0.01)
    curves = measure((attack(),)).roc
    label = privacy.ceiling_label(metrics)
    drawn = figure.roc(curves, (label, lambda f: privacy.ceiling(metrics, f)))
    lines = {line.get_label(): line for line in drawn.axes[0].get_lines()}
    x, y = lines[label].get_data()
    np.testing.assert_allclose(y, privacy.ceiling(metrics, x))
    assert f"{PRIVACY['epsilon_pld']:.4g}" in label


@pytest.mark.parametrize("control", ["clip_only", "noise_only"])
def test_a_control_claims_nothing(control):
    none = {"control": control, "epsilon_pld": None, "epsilon_rdp": None}
    metrics = content(shown=9.0, **none).metrics
    assert privacy.ceiling(metrics, np.ones(1)) is None
    assert privacy.overruns(metrics) == []
    assert "no guarantee" in privacy.sentence(metrics)
    assert privacy.facts(metrics)["epsilon, PLD (tight)"] == "none"


def test_a_plain_target_is_not_spoken_of():
    metrics = bare(attack()).metrics
    assert (privacy.facts(metrics), privacy.sentence(metrics)) == ({}, "")
    assert privacy.remark(attack().metrics) == []
    assert "epsilon" not in table_text(metrics)
