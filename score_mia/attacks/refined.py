"""Coarse to fine: a cheap pass over known images says where draws are worth spending.

Membership shows in one band of noise, and which it is depends on the model. A sweep of
all steps pays for the others as well, and a best step chosen after it wastes what was
drawn elsewhere. Here each *reference* image is read once at some times; the times at
which its members stand out are kept; and there every image is read, with all the draws
that one can afford. What is judged never has a part in the choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float

from score_mia.attacks.nested import Nested, require_signal
from score_mia.attacks.protocol import (
    LATER,
    AnySignal,
    Columns,
    Product,
    Query,
    Reading,
    Signal,
    fingerprint,
)
from score_mia.attacks.times import Asked
from score_mia.check import at_least, require, within
from score_mia.metrics.roc import column_curves
from score_mia.readings import Readings


@runtime_checkable
class _Timed(Protocol):
    """A signal that is read at times."""

    @property
    def times(self) -> Asked: ...


@runtime_checkable
class _Drawing(Protocol):
    """A signal that draws noises at each."""

    @property
    def draws(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class Refined(Nested):
    """Another signal, at the times that a first pass over reference images finds.

    At each time the AUC of the first pass is averaged with its neighbours', since the
    largest of many is partly luck; kept are the times where that is largest.

    Attributes:
      signal: what is read there, `dict(name="loss", draws=16)`; a traced one with a
        field `times`, which is set here, and which needs nothing made beforehand.
      times: how many times the first pass tries, spread by the process's own clock,
        with one draw each.
      keep: how many of them are kept.
      found: the kept times; None until they are found.
      known: of how many images.
    """

    times: int = 20
    keep: int = 1
    found: tuple[float, ...] | None = dataclasses.field(default=None, metadata=LATER)
    known: int = dataclasses.field(default=0, metadata=LATER)

    def __post_init__(self) -> None:
        require_signal("refined", self.signal)
        kind = type(self.signal).__name__
        remedy = "give one such as dict(name='loss', draws=16)"
        ok = isinstance(self.signal, Signal) and isinstance(self.signal, _Timed)
        problem = f"{kind} is not read at times that can be chosen"
        require(ok, "refined.signal", problem, remedy)
        ok, problem = not self.signal.needs, f"{kind} reads what is made beforehand"
        require(ok, "refined.signal", problem, remedy)
        problem = "has times of its own, which are to be found"
        ok = isinstance(self.signal, _Timed) and self.signal.times is None
        require(ok, "refined.signal", problem, "leave them out")
        at_least("times", self.times, 2)
        within("keep", self.keep, 1, self.times)

    def _at(self, times: Asked, **changes: Any) -> Signal:
        part: Any = self.signal
        return dataclasses.replace(part, times=times, **changes)

    @property
    def needs(self) -> tuple[Product, ...]:
        """Nothing."""
        return ()

    @property
    def coarse(self) -> AnySignal:
        """The first pass: every time, once."""
        single = {"draws": 1} if isinstance(self.signal, _Drawing) else {}
        return self._at(self.times, **single)

    def refined(self, model: Any, known: Readings) -> Refined:
        """With the times that labelled readings of `coarse` speak for.

        Args:
          model: the view that `access` names.
          known: of reference images, members and others.
        """
        known = known.select(known.finite())
        member = np.zeros(0, bool) if known.member is None else known.member
        problem = f"{member.sum()} known members and {(~member).sum()} others"
        ok = bool(member.any() and not member.all())
        remedy = "it needs both: raise split.reference, or name the times yourself"
        require(ok, "signal 'refined'", f"has finite readings of {problem}", remedy)
        times = self.coarse.columns(model).times
        assert times is not None
        found = np.concatenate(
            [column_curves(v, member, ())["auc"] for _, v in known.matrices()]
        )
        places, order = np.unique(times, return_inverse=True)
        # Of several columns at one time, the best says what can be had there.
        power = np.array([found[order == k].max() for k in range(len(places))])
        best = np.argsort(-_smoothed(power), kind="stable")[: self.keep]
        kept = tuple(float(t) for t in np.sort(places[best]))
        return dataclasses.replace(self, found=kept, known=len(known))

    @property
    def fine(self) -> Signal:
        """What every image is read by: for want of found times, as many others."""
        return self._at(self.keep if self.found is None else self.found)

    def columns(self, model: Any) -> Columns:
        """Those of the signal at the kept times; their number is known beforehand."""
        columns = self.fine.columns(model)
        title = columns.title or type(self.signal).__name__
        title += f", at the best of {self.times} times"
        if self.keep > 1:
            title += f" ({self.keep} kept)"
        if self.known:
            title += f" on {self.known} known images"
        return columns._replace(title=title)

    def fingerprint(self) -> str:
        """That of the inner signal."""
        return fingerprint(self.signal).get("of", "")

    def __call__(
        self, model: Any, query: Query, products: tuple[Mapping[str, Array], ...]
    ) -> Reading:
        """The signal of one image at the kept times."""
        return self.fine(model, query, products)


def _smoothed(values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Half of each and a quarter of both neighbours; an end is its own neighbour."""
    padded = np.pad(values, 1, mode="edge")
    return padded[:-2] / 4 + padded[1:-1] / 2 + padded[2:] / 4
