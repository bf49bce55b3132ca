"""The blocks of benchmark.md: the leaderboards that are committed."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping

from measured import RESULTS, table

BENCHMARK = RESULTS / "benchmark"
NONE = "\N{EN DASH}"
LEVELS = {"barely": "barely", "half": "half", "memorised": "memorised"}

Rows = dict[tuple[str, str, str], dict[str, str]]
"""(level, measure, FPR) -> the row over all targets."""


def read(board: str) -> dict[str, tuple[str, Rows]]:
    """Attack -> how it is called, and what the board says of it over all targets."""
    found: dict[str, tuple[str, Rows]] = {}
    with (BENCHMARK / "exhibits" / f"{board}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            rows = found.setdefault(row["attack"], (row["title"], {}))[1]
            if not row["audit"]:
                rows[row["level"], row["measure"], row["fpr"]] = row
    return found


def _number(row: Mapping[str, str] | None) -> str:
    if row is None:
        return NONE
    value, low, high = (float(row[k]) for k in ("value", "low", "high"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _rate(row: Mapping[str, str] | None) -> str:
    if row is None:
        return NONE
    value, low, high = (100 * float(row[k]) for k in ("value", "low", "high"))
    return f"{value:.0f} % [{low:.0f}, {high:.0f}]"


def _rank(row: Mapping[str, str] | None) -> str:
    if row is None:
        return NONE
    value, low, high = (float(row[k]) for k in ("value", "low", "high"))
    return f"{value:g} [{low:g}, {high:g}]"


def _cost(rows: Rows) -> str:
    asked = rows.get(("", "evaluations_per_image", ""))
    if asked is not None:
        return f"{float(asked['value']):g}"
    asked = rows.get(("", "queries_per_image", ""))
    return NONE if asked is None else f"{float(asked['value']):g} queries"


def board(name: str, levels: Mapping[str, str]) -> str:
    """One leaderboard, the TPR of its last level."""
    last, lines = [*levels][-1], []
    for title, rows in read(name).values():
        cells = [title, _rank(rows.get(("", "rank", "")))]
        cells += [_number(rows.get((level, "auc", ""))) for level in levels]
        cells += [_rate(rows.get((last, "tpr", "0.01"))), _cost(rows)]
        lines.append(cells)
    heads = [f"AUC, {called}" if called else "AUC" for called in levels.values()]
    return table(("attack", "rank", *heads, "TPR at 1 % FPR", "evaluations"), lines)


def leaderboard() -> str:
    """Over all pixel targets."""
    return board("leaderboard", LEVELS)


def digits() -> str:
    """What shadow models add."""
    return board("digits", {"with shadows": ""})


BLOCKS: dict[str, Callable[[], str]] = {"leaderboard": leaderboard, "digits": digits}
"""What the page holds of them."""
