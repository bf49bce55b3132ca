"""A small made-up audit: what the report's tests are run on."""

from __future__ import annotations

import dataclasses

import numpy as np

from score_mia.metrics.intervals import evaluate
from score_mia.report import (
    AttackContent,
    ColumnContent,
    PerturbedContent,
    ReportContent,
)

STEPS = (0, 100, 200, 400, 999)


def entry(scores, member, chosen="column 2"):
    """An attack's entry of metrics.json, as the audit room makes it."""
    found = evaluate(scores, member, replicates=100)
    cost = {"network_evaluations_per_image": 5, "seconds": 1.25}
    return found | {"chosen": chosen, "cost": cost}


def attack(name="loss", title="Loss at one step", shift=2.5, n=(40, 150), seed=0):
    """An attack with five columns, the third being the one it chose."""
    rng = np.random.default_rng(seed)
    member = np.arange(sum(n)) < n[0]
    gain = shift * np.exp(-0.5 * (np.arange(5) - 2.0) ** 2)
    values = rng.normal(size=(len(member), 5)) + np.outer(member, gain)
    values = values.astype(np.float32)
    columns = ColumnContent(
        names=tuple(f"loss@{t}" for t in STEPS),
        values=values,
        time=np.array(STEPS, np.float32),
        log_snr=np.array([9.2, 2.1, 0.7, -1.4, -10.1], np.float32),
        chosen_index=2,
    )
    scores = values[:, 2]
    found = entry(scores, member)
    return AttackContent(name, title, "scores", found, scores, member, columns)


def metrics_of(attacks):
    """The whole metrics.json of these attacks."""
    first = attacks[0]
    held = {"members": first.members, "nonmembers": first.nonmembers, "reference": 0}
    found = {a.name: a.metrics for a in attacks}
    return {"schema": 1, "target": {}, "split": held, "attacks": found}


CONTROLS = {
    "blind": {
        "auc": {"value": 0.507, "low": 0.431, "high": 0.583, "resolvable": True},
        "p_value": 0.43,
        "members": 40,
        "nonmembers": 150,
    },
    "near_duplicates": {
        "pairs": 3,
        "exact_pairs": 1,
        "members": 3,
        "nonmembers": 2,
        "threshold": 0.0392,
    },
    "shift": {
        "encoder": "random_conv",
        "kid": {"value": -0.0012, "low": -0.004, "high": 0.002, "n": [40, 150]},
    },
}
"""The controls' part of metrics.json."""
FAILURE = "attack 'broken': NaN in 12 of 190 rows; lower the times"


def failed(name="broken", title="Loss at one step"):
    """An attack that gave no numbers."""
    entry = {"failed": FAILURE, "access": "scores", "reference": "split"}
    return AttackContent(name, title, "scores", entry, np.zeros(0), np.zeros(0, bool))


def bare(*attacks):
    """A report of nothing but numbers."""
    return ReportContent("An audit", metrics_of(attacks), attacks)


def full(size=8, channels=3):
    """A report with every part there is; pictures [size, size, channels]."""
    rng = np.random.default_rng(1)
    first = dataclasses.replace(
        attack(),
        diagnostics={"mean standard error (bits/dim)": 0.0712},
        notes=("fixed grid vs adaptive reference: 0.003 bits/dim on 8 images",),
    )
    scores = first.columns.values[:, 0].copy()
    second = AttackContent(
        *("likelihood", "Likelihood", "scores"),
        metrics=entry(scores, first.member),
        scores=scores,
        member=first.member,
    )
    shape = (size, size, channels)
    members = rng.integers(0, 256, (30, *shape), dtype=np.uint8)
    return dataclasses.replace(
        bare(first, second),
        members=members,
        nonmembers=rng.integers(0, 256, (12, *shape), dtype=np.uint8),
        samples=(members[:18] / 255).astype(np.float32),
        perturbed=PerturbedContent(
            rng.random((2, 5, *shape)).astype(np.float32),
            tuple(f"t = {t}\nlog-SNR 1.0" for t in STEPS),
        ),
        training=[{"step": i, "loss": 1.0 / (1 + i)} for i in range(50)],
        facts={"Run": {"seed": "17", "device": "2 x CPU"}},
        warnings=("3 near-duplicates across the split",),
    )
