"""What is committed under docs/results, and how a page writes it.

Read are the scores of single images (`scores/*.npz`, with the AUC and the TPR of every
column of a signal) and the numbers of audits (`metrics.json`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from score_mia.files import load_npz
from score_mia.results import AuditResult, Estimate

RESULTS = Path(__file__).parent / "results"


class Columns(NamedTuple):
    """Every column of a signal, on the images under evaluation.

    Attributes:
      names: of the columns.
      time, log_snr: [K] where each was read.
      auc: [3, K] with its interval.
      tpr: {FPR: [K]} at the rates that the non-members resolve.
      chosen: by the rule, on reference images; None if it chooses none.
    """

    names: list[str]
    time: np.ndarray
    log_snr: np.ndarray
    auc: np.ndarray
    tpr: dict[float, np.ndarray]
    chosen: int | None


@functools.cache
def kept(name: str) -> dict[str, np.ndarray]:
    """What an audit keeps of one attack, FOLDER/ATTACK."""
    folder, _, attack = name.rpartition("/")
    return load_npz(RESULTS / folder / "scores" / f"{attack}.npz", None)


def scores(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores [n] and membership [n] of the images that an attack was judged on."""
    arrays = kept(name)
    return arrays["scores"], arrays["member"]


def every() -> Iterator[str]:
    """The names of all attacks whose scores are kept."""
    for path in sorted(RESULTS.glob("**/scores/*.npz")):
        yield f"{path.parents[1].relative_to(RESULTS).as_posix()}/{path.stem}"


def columns(name: str) -> Columns | None:
    """What the columns of an attack's signal come to; None if they are not kept."""
    arrays = kept(name)
    if "time" not in arrays:
        return None
    told = json.loads(str(arrays["meta"]))["stepped"]
    rates = dict(zip(told["resolved"], arrays["tpr"][:, 0], strict=True))
    where = arrays["time"], arrays["log_snr"]
    return Columns(told["names"], *where, arrays["auc"], rates, told["chosen"])


@functools.cache
def audit(name: str) -> AuditResult:
    """The numbers of one audit; those of version 0.1 have no seal."""
    return AuditResult.load(RESULTS / name, sealed=not name.startswith("mini/"))


# How numbers are written.


def per_cent(value: float | None, places: int = 1) -> str:
    """A share."""
    return "" if value is None else f"{100 * value:.{places}f} %"


def unit(estimate: Estimate) -> str:
    """An AUC with its interval."""
    value, low, high = estimate.interval
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def signed(estimate: Estimate | None) -> str:
    """A difference with its interval."""
    value, low, high = (estimate or Estimate(None, None, None)).interval
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def rate(estimate: Estimate) -> str:
    """A share with its interval."""
    if not estimate.known:
        return "below resolution"
    value, low, high = estimate.interval
    return f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}] %"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """In Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
