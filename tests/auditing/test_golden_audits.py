"""Two audits finished by version 0.2.0: their signals give the same numbers today."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from score_mia.attacks import Likelihood, Loss
from score_mia.attacks.protocol import Attack
from score_mia.auditing import plan as build
from score_mia.auditing.assess import assess
from score_mia.data.split import Split
from score_mia.readings import Evidence, Readings
from score_mia.results import AttackResult, AuditResult
from score_mia.rules import Best, Column
from tests.auditing.tiny import get_config

GOLDEN = Path(__file__).parents[1] / "golden" / "audits"
ATTACKS = {
    "loss": Attack("loss", {"loss": Loss()}, Best(), "split"),
    "likelihood": Attack(
        "likelihood", {"likelihood": Likelihood()}, Column("log_prob"), "none"
    ),
}


def entry(audit: str, name: str) -> AttackResult:
    """The attack's part of metrics.json, from the signals that are kept."""
    config = get_config()
    config.report.replicates = 1000
    split = Split.load(GOLDEN / audit / "split.npz")
    kept = np.load(GOLDEN / audit / f"{name}.npz")
    further = zip(kept["diagnostic_names"].tolist(), kept["diagnostics"].T, strict=True)
    signals = Readings.of(
        kept["values"], kept["ids"], kept["names"].tolist(), None, dict(further)
    )
    evidence = Evidence(signals)
    result = assess(ATTACKS[name], evidence, split, build.plan(config))
    return result.entry


@pytest.mark.parametrize("audit", ["quickstart", "mini_ddpm"])
@pytest.mark.parametrize("name", ["loss", "likelihood"])
def test_kept_signals_give_the_numbers_of_0_2_0(audit, name):
    before = AuditResult.load(GOLDEN / audit).attacks[name]
    now = entry(audit, name)
    assert dataclasses.replace(now, title="") == before
