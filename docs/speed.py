"""The block of the README that says how fast: from the files of benchmarks/results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measured import table

TIMES = "\N{MULTIPLICATION SIGN}"
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
BESIDE = (
    (
        "likelihood_small",
        f"likelihood, nf=32, 16{TIMES}16 (trained 600 steps)",
    ),
    (
        "likelihood_large",
        f"likelihood, nf=64, 64{TIMES}64 (trained 150 steps)",
    ),
    (
        "train_step/ddpm nf=32 16x16 B=32",
        f"training, nf=32, 16{TIMES}16, 1.1 M weights, per image of a batch of 32",
    ),
    (
        "train_step/ddpm nf=32 32x32 B=32",
        f"training, nf=32, 32{TIMES}32, the same",
    ),
    ("sweep", f"loss at all 1,000 steps of an image, nf=32, 32{TIMES}32"),
    ("forward/ddpm nf=128 64x64 B=1", "forward pass, the paper's DDPM, batch 1"),
    ("forward/ddpm nf=128 64x64 B=8", "the same, per image of a batch of 8"),
)
"""File, or file/case -> what was done, by us and by the authors' code."""


def read(name: str) -> dict[str, Any]:
    """One result."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def _seconds(value: float) -> str:
    if value < 0.1:
        return f"{1000 * value:.1f} ms"
    digits = 0 if value >= 100 else 1 if value >= 1 else 3 if value >= 0.2 else 2
    return f"{value:.{digits}f} s"


def beside() -> list[tuple[str, ...]]:
    """Beside the authors' code, in the memory format and pages that suit it best."""
    rows = []
    for name, what in BESIDE:
        file, _, of = name.partition("/")
        cases = read(file)["cases"]
        case = cases[of] if of else next(iter(cases.values()))
        seconds, evaluations = case["seconds_per_image"], case.get("evaluations", {})
        theirs = min((k for k in seconds if "authors" in k), key=seconds.__getitem__)
        told = []
        for who in ("score_mia", theirs):
            asked = evaluations.get(who)
            counted = "" if asked is None else f" ({asked:.0f} evaluations)"
            told.append(_seconds(seconds[who]) + counted)
        faster = seconds[theirs] / seconds["score_mia"]
        rows.append((what, *told, f"{faster:.{0 if faster > 10 else 2}f}{TIMES}"))
    return rows


def alone() -> list[tuple[str, ...]]:
    """What has no counterpart there."""
    private = read("dp_step")
    plain = {k: v for k, v in private["ratio"].items() if k.startswith("microbatch")}
    best = min(plain, key=plain.__getitem__)
    ours, theirs = (private["milliseconds"][n] / 1000 for n in (best, "jax_privacy"))
    cost = {
        tile: found["wall"]["overhead"]
        for tile, found in read("engine")["microseconds_a_row"].items()
    }
    what = f"private training step (DP-SGD), {plain[best]:.2f} plain ones"
    engine = f"{cost['16']:.1f} µs at tile 16, {cost['256']:.1f} at 256"
    return [
        (
            what,
            f"{ours:.2f} s",
            f"{theirs:.2f} s, `jax_privacy`",
            f"{theirs / ours:.2f}{TIMES}",
        ),
        ("the engine's own cost of a row, whatever the attack", engine, "", ""),
    ]


def speed() -> str:
    """All of it."""
    return table(("", "score_mia", "others", ""), [*beside(), *alone()])


BLOCKS: dict[str, Callable[[], str]] = {"speed": speed}
"""What the README holds of it."""
