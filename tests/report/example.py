"""A small made-up audit: what the report's tests are run on."""

from __future__ import annotations

import dataclasses

import numpy as np

from score_mia.metrics.copies import Copying, neighbours, summary
from score_mia.metrics.intervals import evaluate
from score_mia.readings import Readings
from score_mia.report import (
    AttackContent,
    PerturbedContent,
    ReportContent,
    Stepped,
)
from score_mia.report.curves import measure
from score_mia.report.picture import held_against
from score_mia.results import AttackResult, AuditResult, Controls, SplitCounts, Timings
from score_mia.typed import from_json

STEPS = (0, 100, 200, 400, 999)
LOG_SNR = (9.2, 2.1, 0.7, -1.4, -10.1)


def entry(scores, member, chosen="column 2", title="Loss at one step"):
    """An attack's numbers, as the audit room makes them."""
    return dataclasses.replace(
        evaluate(scores, member, replicates=100),
        chosen=chosen,
        title=title,
        access="scores",
        network_evaluations_per_image=5.0,
    )


def drawn(shift=2.5, n=(40, 150), seed=0):
    """Values [N, 5] of five columns and who is a member."""
    rng = np.random.default_rng(seed)
    member = np.arange(sum(n)) < n[0]
    gain = shift * np.exp(-0.5 * (np.arange(5) - 2.0) ** 2)
    values = rng.normal(size=(len(member), 5)) + np.outer(member, gain)
    return values.astype(np.float32), member


def stepped(values, member, chosen=2):
    """What an attack measured at `STEPS`."""
    names = tuple(f"loss@{t}" for t in STEPS)
    return Stepped(
        names=names,
        time=np.array(STEPS, np.float32),
        log_snr=np.array(LOG_SNR, np.float32),
        curves=measure(Readings.of(values, np.arange(len(values)), names, member)),
        chosen=chosen,
        time_label="diffusion step",
    )


def attack(name="loss", title="Loss at one step", shift=2.5, n=(40, 150), seed=0):
    """An attack with five columns, the third being the one it chose."""
    values, member = drawn(shift, n, seed)
    scores = values[:, 2]
    result = entry(scores, member, title=title)
    return AttackContent(name, result, scores, member, stepped(values, member))


def changed(one, **changes):
    """An attack with other numbers."""
    return dataclasses.replace(one, result=dataclasses.replace(one.result, **changes))


def metrics_of(attacks, **changes):
    """The whole result of these attacks."""
    first = attacks[0].result
    made = AuditResult(
        title="An audit",
        split=SplitCounts(first.members, first.nonmembers),
        attacks={a.name: a.result for a in attacks},
        timings=Timings({a.name: 1.25 for a in attacks}),
    )
    return dataclasses.replace(made, **changes)


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
    "repeats": {
        "images": 5,
        "exact": 3,
        "groups": 2,
        "largest": 3,
        "members": 80,
        "threshold": 0.0392,
    },
    "shift": {
        "encoder": "random_conv",
        "kid": {"value": -0.0012, "low": -0.004, "high": 0.002, "n": [40, 150]},
    },
}
"""The controls' part of metrics.json."""
FAILURE = "attack 'broken': NaN in 12 of 190 rows; lower the times"


def controls(**entries):
    """Such a part, typed."""
    return from_json(Controls, entries, "controls")


def failed(name="broken", title="Loss at one step"):
    """An attack that gave no numbers."""
    result = AttackResult("scores", "split", title, failed=FAILURE)
    return AttackContent(name, result, np.zeros(0), np.zeros(0, bool))


def bare(*attacks, **changes):
    """A report of nothing but numbers."""
    return ReportContent(metrics_of(attacks, **changes), attacks)


def full(size=8, channels=3):
    """A report with every part there is; pictures [size, size, channels]."""
    rng = np.random.default_rng(1)
    first = dataclasses.replace(
        attack(),
        diagnostics={"mean standard error (bits/dim)": 0.0712},
        notes=("fixed grid vs adaptive reference: 0.003 bits/dim on 8 images",),
    )
    values, member = drawn()
    scores = values[:, 0].copy()
    result = entry(scores, member, title="Likelihood")
    second = AttackContent("likelihood", result, scores, member)
    shape = (size, size, channels)
    members = rng.integers(0, 256, (30, *shape), dtype=np.uint8)
    samples, every = members[:18], np.arange(len(members))
    near = neighbours(samples, every, members.__getitem__, 50)
    return dataclasses.replace(
        bare(first, second),
        members=members,
        nonmembers=rng.integers(0, 256, (12, *shape), dtype=np.uint8),
        nearest=held_against(samples, near, members.__getitem__, Copying(), shown=True),
        copies=summary(near, near, Copying()),
        perturbed=PerturbedContent(
            rng.random((2, 5, *shape)).astype(np.float32),
            tuple(f"t = {t}\nlog-SNR 1.0" for t in STEPS),
        ),
        training=[{"step": i, "loss": 1.0 / (1 + i)} for i in range(50)],
        facts={"Run": {"seed": "17", "device": "2 x CPU"}},
        warnings=("3 near-duplicates across the split",),
    )
