"""A private audit, from the config to the page: the guarantee arrives unharmed."""

from __future__ import annotations

import json
import math

import pytest
from ml_collections import ConfigDict

from score_mia import auditing
from score_mia.auditing import plan as build
from score_mia.metrics.epsilon import largest_certifiable
from score_mia.train import accounting
from tests.auditing.tiny import get_config

pytest.importorskip("jax_privacy")


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    """metrics.json, the printed text and the page of a private audit."""
    config = get_config()
    config.train.dp = ConfigDict(
        dict(epsilon=6.0, delta=0.02, rate=0.25, clip=0.5, accountant="rdp")
    )
    config.train.steps = 20
    del config.attacks.likelihood
    config.report.samples = 0
    workdir = tmp_path_factory.mktemp("private")
    text = auditing.run(build.plan(config), workdir)
    metrics = json.loads((workdir / "metrics.json").read_text())
    return metrics, " ".join(text.split()), (workdir / "report/index.html").read_text()


def test_the_guarantee_is_that_of_the_config(private):
    told = private[0]["target"]["privacy"]
    assert (told["rows"], told["steps"], told["rate"]) == (24, 20, 0.25)
    m = accounting.Mechanism(
        *(24, 0.25, told["capacity"], told["noise_multiplier"], 20, "zero_out")
    )
    assert told["epsilon_rdp"] == accounting.epsilon(m, 0.02, "rdp") <= 6.0
    assert told["epsilon_pld"] == accounting.epsilon(m, 0.02) < told["epsilon_rdp"]
    assert accounting.calibrate(m, 6.0, 0.02, "rdp") == told["noise_multiplier"]


def test_it_is_printed_with_all_that_it_depends_on(private):
    metrics, text, page = private
    told = metrics["target"]["privacy"]
    for number in (told["epsilon_pld"], told["epsilon_rdp"]):
        assert f"{number:.4g}" in text
        assert f"{number:.4g}" in page
    for words in ("one image zeroed out", f"{told['noise_multiplier']:g}", "Poisson"):
        assert words in text
        assert words in page


def test_every_attack_tells_what_it_proves_and_could_have_proven(private):
    metrics, text, _ = private
    bound = metrics["attacks"]["loss"]["epsilon_lower_bound"]
    # 12 members and 20 non-members are left when half of them is reference data.
    most = largest_certifiable(12, 20, 0.02, 0.95, searched=True)
    assert bound["largest"] == most < metrics["target"]["privacy"]["epsilon_pld"]
    assert 0 <= bound["value"] <= most
    assert math.isclose(bound["delta"], 0.02)
    assert f"{bound['value']:.2f} (n shows {most:.2f} at most)" in text
