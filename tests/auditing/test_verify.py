"""Published audits whose scores are kept give the numbers that are published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from score_mia.auditing.verify import verify

ROOT = Path(__file__).parents[2]
KEPT = sorted(p.parent for p in (ROOT / "docs" / "results").rglob("scores"))


def test_some_are_kept():
    assert {p.name for p in KEPT} >= {"ddpm", "smld", "vpsde", "vesde"}


@pytest.mark.many
@pytest.mark.parametrize("folder", KEPT, ids=lambda p: p.name)
def test_the_scores_give_the_published_numbers(folder):
    verdict = verify(folder)
    assert verdict.differing == []
    attacks = json.loads((folder / "metrics.json").read_text())["attacks"]
    assert verdict.numbers >= 20 * len(attacks) > 0  # each its areas, rates, intervals
    assert verdict.unchecked == ["target", "controls"]
