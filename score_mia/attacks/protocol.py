"""What an attack is: signals read off a model, and a rule that turns them into one
membership score per image (or one judgement per set).

A signal is a frozen (hashable) dataclass. A `Signal` is traced on one image; the engine
vmaps, shards and resumes. A `HostSignal` is called on a batch in NumPy. Both are handed
the view of the model that their access names, and nothing more. docs/extend.md has a
whole one in forty lines.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from score_mia.arrays import Image, Key
from score_mia.conditions import OWN
from score_mia.data.split import Split
from score_mia.files import digest
from score_mia.readings import Readings
from score_mia.rules.protocol import Knowledge, Rule, SetTest
from score_mia.rules.scheme import HELD_OUT, Scheme

Access = Literal["none", "samples", "observed", "scores", "gradients"]
"""What a signal needs of the model: nothing (a blind control) < its images (black box)
< images on the way < network outputs (grey box) < parameters (white box). It is a
property of the instance."""

NETWORK_EVALUATIONS = "network_evaluations"
"""The diagnostic that counts as an attack's cost."""

QUERIES = "queries"
"""The diagnostic that counts what a service is asked for: images, or runs on one."""

GRID_ERROR = "grid_error"
"""The diagnostic by which a signal tells the error of its grid, in bits/dim."""


LATER = {"later": True}
"""Metadata of a field that a part was given when numbers of it were kept already: with
its default the part must do what it did, and these numbers stay its own."""


class Query(NamedTuple):
    """One image, as a traced signal is asked about it.

    Attributes:
      image: in [0, 1].
      conditions: name -> class label or token ids of one image; "own" is its own.
        Empty for a model that is told nothing.
      key: of this image: a function of the audit's seed and the image's id.
      common: one key for all images, for noise that they are to share.
    """

    image: Image
    conditions: Mapping[str, Any]
    key: Key
    common: Key

    @property
    def condition(self) -> Any:
        """The image's own condition, or None."""
        return self.conditions.get(OWN)


class HostQuery(NamedTuple):
    """Some images, as a host signal is asked about them.

    Attributes:
      images: [n, h, w, c] in [0, 1].
      prompts: [n] what a generator is told of each, or None.
      ids: int64 [n].
      seeds: int64 [n] in [0, 2^31): functions of the audit's seed and the ids.
    """

    images: Float[np.ndarray, "n h w c"]
    prompts: tuple[Any, ...] | None
    ids: Int[np.ndarray, " n"]
    seeds: Int[np.ndarray, " n"]


class Columns(NamedTuple):
    """What a signal measures.

    Attributes:
      names: of its K values.
      times: float32 [K] on the process's clock, where each was measured; None if that
        is no question of time.
      diagnostics: names of D further numbers that are reported, never scored. One
        called "network_evaluations" or "queries" is the attack's cost, "grid_error"
        (bits/dim) its own accuracy.
      evaluations: forward passes of the network that one image costs; None if that is
        not known beforehand.
      bytes_per_row: memory that one image needs while it is computed; None for what
        the network's own needs.
      title: how a report calls the signal; empty for the name of its class.
    """

    names: tuple[str, ...]
    times: Float[np.ndarray, " k"] | None = None
    diagnostics: tuple[str, ...] = ()
    evaluations: float | None = None
    bytes_per_row: int | None = None
    title: str = ""


def side_by_side(signals: Mapping[str, Columns]) -> Columns:
    """Columns of several signals as one, named as `readings.joined` names them."""
    (_, first), *rest = signals.items()
    if not rest:
        return first
    every = list(signals.values())
    times = [c.times for c in every if c.times is not None]
    costs = [c.evaluations for c in every if c.evaluations is not None]
    return Columns(
        tuple(
            f"{name}/{c}" for name, columns in signals.items() for c in columns.names
        ),
        np.concatenate(times) if len(times) == len(every) else None,
        (),
        sum(costs) if len(costs) == len(every) else None,
        title=" and ".join(c.title or name for name, c in signals.items()),
    )


class Reading(NamedTuple):
    """What a signal says of one image ([K] and [D]) or, on the host, of n ([n, K])."""

    values: Any
    diagnostics: Any = ()

    def flat(self) -> Float[Array, " k_plus_d"]:
        """Both in one row."""
        parts = (jnp.ravel(jnp.asarray(part, jnp.float32)) for part in self)
        return jnp.concatenate(list(parts))


@runtime_checkable
class Product(Protocol):
    """Something expensive that several signals read, computed once for every image.

    A frozen dataclass; its fields are its identity.
    """

    @property
    def access(self) -> Access:
        """The least access that suffices."""
        ...

    def batch(self, model: Any, queries: HostQuery) -> Mapping[str, np.ndarray]:
        """Named arrays [n, ...] of some images."""
        ...


@runtime_checkable
class Elsewhere(Product, Protocol):
    """A product that is what a signal says of another model, one that is kept.

    The engine reads it like the signal itself, of the same images with the same keys
    and conditions, and never calls `batch`: {"values": [n, K], "diagnostics": [n, D]}.
    """

    @property
    def signal(self) -> AnySignal:
        """What is measured."""
        ...

    @property
    def folder(self) -> str:
        """Where the other model is kept, for messages."""
        ...

    def model(self) -> Any:
        """The other model; only read once it is needed."""
        ...

    def fingerprint(self) -> str:
        """Of the other model."""
        ...


@runtime_checkable
class Fingerprinted(Protocol):
    """A signal or a product that more decides than its fields: weights, data."""

    def fingerprint(self) -> str:
        """Of all that decides it beside its own fields."""
        ...


@runtime_checkable
class Signal(Protocol):
    """K numbers about one image, **higher = more member-like**, then D diagnostics."""

    @property
    def access(self) -> Access:
        """The least access that suffices."""
        ...

    @property
    def needs(self) -> tuple[Product, ...]:
        """Products that it reads."""
        ...

    def columns(self, model: Any) -> Columns:
        """What it measures on this model, whose arrays may be abstract."""
        ...

    def __call__(
        self, model: Any, query: Query, products: tuple[Mapping[str, Array], ...]
    ) -> Reading:
        """The K values and the D diagnostics of one image.

        Must depend on its arguments only (the row law).

        Args:
          model: the view that `access` names.
          query: the image and what is known of it.
          products: this image's row of each of `needs`.
        """
        ...


@runtime_checkable
class HostSignal(Protocol):
    """A signal that is no JAX program: a service, a captioner, a classifier."""

    @property
    def access(self) -> Access:
        """The least access that suffices."""
        ...

    @property
    def needs(self) -> tuple[Product, ...]:
        """Products that it reads."""
        ...

    def columns(self, model: Any) -> Columns:
        """What it measures on this model."""
        ...

    def batch(
        self,
        model: Any,
        queries: HostQuery,
        products: tuple[Mapping[str, np.ndarray], ...],
    ) -> Reading:
        """Values [n, K] and diagnostics [n, D] of some images, each by itself."""
        ...


AnySignal = Signal | HostSignal


@runtime_checkable
class SelfChecking(Protocol):
    """A signal that can hold its numerical method against a better one."""

    @property
    def access(self) -> Access:
        """The least access that suffices."""
        ...

    def self_check(
        self,
        model: Any,
        images: Float[Array, "n h w c"],
        conditions: Mapping[str, Any],
        key: Key,
    ) -> Mapping[str, float | None] | None:
        """The method's error over some images, bits/dim; None where it has none.

        Returns:
          "mean" and "max" (None if it could not be told), "images", "evaluations"
          and "reference_evaluations" per image.
        """
        ...


@runtime_checkable
class Refinable(Protocol):
    """A signal whose last settings a first pass over reference images finds.

    It is itself a signal, of as many columns and as costly as what is found.
    """

    @property
    def coarse(self) -> AnySignal:
        """The first pass."""
        ...

    def refined(self, model: Any, known: Readings) -> AnySignal:
        """What every image is to be read by.

        Args:
          model: the view that `access` names.
          known: labelled readings of `coarse`, of reference images.

        Raises:
          UserError: these say nothing.
        """
        ...


@runtime_checkable
class Shaped(Protocol):
    """A traced signal whose columns are those of images of one shape."""

    def check_shape(self, shape: tuple[int, int, int]) -> None:
        """Refuse a model whose x has another shape [h, w, c], before it is trained."""
        ...


@runtime_checkable
class Counted(Protocol):
    """A signal whose paper counts its own way; metrics.json tells that beside ours."""

    def counted(
        self, scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]
    ) -> Mapping[str, Any]:
        """Their numbers, as JSON values, from the membership scores of an audit.

        Args:
          scores: larger = more member-like.
          member: True for members.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Attack:
    """Named signals, the rule that scores them, and what that rule may know.

    Attributes:
      name: of the attack.
      signals: name -> signal, in the order in which the rule sees their columns.
      rule: a rule, or a test of whole sets.
      knows: what the rule is fitted on.
      scheme: which images a rule is fitted on, and by which it is judged.
      shadows: which of the audit's sets of shadow models it knows, by name; "" for the
        only one.
    """

    name: str
    signals: Mapping[str, AnySignal]
    rule: Rule | SetTest
    knows: Knowledge = "none"
    scheme: Scheme = HELD_OUT
    shadows: str = ""

    @property
    def access(self) -> Access:
        """The least access that suffices for all of its signals and what they need."""
        order = get_args(Access)
        every = (p.access for s in self.signals.values() for p in (s, *s.needs))
        return max(every, key=order.index)

    @property
    def needs_reference(self) -> bool:
        """Whether what is read off reference images can have a part in its numbers.

        Not where the rule knows nothing and judges each of the others by itself; what
        several signals need is made once, of all images.
        """
        alone = self.knows == "none" and self.scheme == HELD_OUT
        shared = any(signal.needs for signal in self.signals.values())
        return shared or not (alone and isinstance(self.rule, Rule))

    def needed(self, split: Split) -> Int[np.ndarray, " n"]:
        """Ids of the images whose readings have a part in its numbers."""
        return split.ids if self.needs_reference else split.evaluation


def identity(part: Any) -> str:
    """A signal, product or prompt by its class and its fields.

    A field of `LATER` has no part in it while it has its default.
    """
    name, fields = f"{type(part).__module__}.{type(part).__qualname__}", "()"
    if dataclasses.is_dataclass(part):
        values = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
        for f in dataclasses.fields(part):
            if f.metadata.get("later") and values[f.name] == f.default:
                del values[f.name]
        fields = json.dumps(values, sort_keys=True, default=_in_words)
    return f"{name}{fields}"


def fingerprint(part: Any) -> dict[str, str]:
    """What decides a signal or a product beside its fields, as a fact of it."""
    found = part.fingerprint() if isinstance(part, Fingerprinted) else ""
    return {"of": found} if found else {}


def _in_words(value: Any) -> str:
    """An array by its digest: in words it would lose its middle and its last digits."""
    if isinstance(value, Signal | HostSignal):
        return identity(value)
    return (
        digest(np.asarray(value))
        if isinstance(value, Array | np.ndarray)
        else str(value)
    )
