"""Signals around a signal: what is measured of another's columns.

Such a one is as the inner signal is, traced or on the host, so each is two classes, and
a function that chooses by what it is given is what a config names.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
from jaxtyping import Array, Float

from score_mia.attacks.protocol import (
    Access,
    AnySignal,
    Columns,
    HostQuery,
    HostSignal,
    Product,
    Query,
    Reading,
    Refinable,
    Shaped,
    Signal,
    fingerprint,
)
from score_mia.check import require
from score_mia.registry import Family

NESTED: dict[str, Callable] = {}
"""What `attacks.SIGNALS` holds: these parts are in it, and cannot import it."""

ASignal = Annotated[AnySignal, Family("signal", NESTED)]
"""A field that a config fills with `dict(name="loss", ...)`."""

Values = Float[Array, " k"] | Float[np.ndarray, "n k"]
"""The columns of one image, or on the host of n."""


@dataclasses.dataclass(frozen=True)
class Nested:
    """A signal that reads another.

    Attributes:
      signal: the inner one.
    """

    signal: ASignal

    @property
    def access(self) -> Access:
        """That of the inner signal."""
        return self.signal.access

    def inner(self, model: Any) -> tuple[Columns, str]:
        """The inner signal's columns, and how a report calls it."""
        columns = self.signal.columns(model)
        return columns, columns.title or type(self.signal).__name__

    def check_shape(self, shape: tuple[int, int, int]) -> None:
        """Refuse what the inner signal refuses."""
        if isinstance(self.signal, Shaped):
            self.signal.check_shape(shape)


@dataclasses.dataclass(frozen=True)
class Around(Nested, abc.ABC):
    """A signal, and what becomes of its columns by one more product.

    Attributes:
      signal: the inner one; its names, times, diagnostics and cost stay.
    """

    @property
    def needs(self) -> tuple[Product, ...]:
        """What the inner signal needs, and the one product."""
        return (*self.signal.needs, self.product)

    @property
    @abc.abstractmethod
    def product(self) -> Product:
        """What the columns are held against."""

    @abc.abstractmethod
    def titled(self, title: str) -> str:
        """How a report calls it, where it calls the inner signal by this title."""

    @abc.abstractmethod
    def changed(self, values: Values, row: Mapping[str, Any]) -> Values:
        """The columns, from the inner ones and the product's arrays.

        Args:
          values: of one image, or of n.
          row: the product's arrays [m] of that image, or [n, m].
        """

    def columns(self, model: Any) -> Columns:
        """Those of the inner signal, under another title."""
        inner, title = self.inner(model)
        return inner._replace(title=self.titled(title))

    def fingerprint(self) -> str:
        """Of the inner signal and of the product."""
        parts = (
            fingerprint(part).get("of", "") for part in (self.signal, self.product)
        )
        return " ".join(filter(None, parts))


class AroundTraced(Around):
    """Around a traced signal."""

    def __call__(
        self, model: Any, query: Query, products: tuple[Mapping[str, Array], ...]
    ) -> Reading:
        """The changed columns of one image, and the inner signal's diagnostics."""
        assert isinstance(self.signal, Signal)
        *inner, row = products
        values, diagnostics = self.signal(model, query, tuple(inner))
        return Reading(self.changed(values, row), diagnostics)


class AroundHost(Around):
    """Around a host signal."""

    def batch(
        self,
        model: Any,
        queries: HostQuery,
        products: tuple[Mapping[str, np.ndarray], ...],
    ) -> Reading:
        """The changed columns of some images, and the inner signal's diagnostics."""
        assert isinstance(self.signal, HostSignal)
        *inner, row = products
        values, diagnostics = self.signal.batch(model, queries, tuple(inner))
        return Reading(self.changed(np.asarray(values), row), diagnostics)


def require_signal(name: str, part: Any) -> None:
    """Refuse what is no signal in the place of one."""
    kind = type(part).__name__
    ok = isinstance(part, Signal | HostSignal)
    problem, remedy = f"is a {kind}, and no signal", "give signal=dict(name=...)"
    require(ok, f"{name}.signal", problem, remedy)
    problem = f"{kind} is first to be found on reference images, which is done for an"
    remedy = "put it around this one"
    ok = not isinstance(part, Refinable)
    require(ok, f"{name}.signal", f"{problem} attack's own signal only", remedy)
