"""Finished audits of made-up scores, for exhibits that rank attacks."""

from __future__ import annotations

import csv
import io

import numpy as np

from score_mia.report.exhibits.base import Audit
from score_mia.results import AttackResult, AuditResult, SplitCounts, Timings

IDS = np.arange(400)
MEMBER = IDS % 4 == 0


class MadeUp(Audit):
    """An audit that has scores and no folder."""

    def __init__(self, name, judged, **about):
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "label", name)
        object.__setattr__(self, "judged", judged)
        entries = {}
        for attack, (_, _, member) in judged.items():
            entries[attack] = AttackResult(
                access="scores",
                title=attack.title(),
                members=int(member.sum()),
                nonmembers=int((~member).sum()),
                **{"network_evaluations_per_image": 12.0, **about.get(attack, {})},
            )
        seconds = dict.fromkeys(judged, 80.0)
        result = AuditResult(
            split=SplitCounts(100, 300, 400),
            attacks=entries,
            timings=Timings(seconds),
        )
        object.__setattr__(self, "result", result)

    def ids(self, attack):
        return self.judged[attack][0]

    def scores(self, attack, column=None):
        return self.judged[attack][1]

    def member(self, attack):
        return self.judged[attack][2]


def made(name="a", order=None, seed=0, about=None, **shifts):
    """An audit whose attacks move members by so much."""
    rng = np.random.default_rng(seed)
    order = np.arange(len(IDS)) if order is None else order
    judged = {}
    for attack, shift in shifts.items():
        scores = rng.normal(size=len(IDS)) + shift * MEMBER
        judged[attack] = (IDS[order], scores[order], MEMBER[order])
    return MadeUp(name, judged, **(about or {}))


def lines(built, **where):
    found = csv.DictReader(io.StringIO(built.csv))
    return [r for r in found if all(r[k] == v for k, v in where.items())]
