"""Which numbers of a model are trained, and how they make the whole: fine-tuning.

An adaptation splits a model's tree (`target.Target.tree`) into what stays as it is and
what is trained, and joins the two again. What stays is an argument of the training
step and no constant of its program.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from score_mia.arrays import Key, Params
from score_mia.check import at_least, one_of, positive, require
from score_mia.codecs import LearnedCodec
from score_mia.spec import Parts
from score_mia.trees import leaf_name

PROJECTIONS = re.compile(
    r"(?:^|/)(to_q|to_k|to_v|to_out/0|query|key|value|out|[qkv]_proj|out_proj)"
    r"/(kernel|bias)$"
)
"""Paths of the projections of an attention, whichever network has it."""

_TEXT = re.compile(r"(?:^|/)text/")


@runtime_checkable
class Adaptation(Protocol):
    """A frozen dataclass of plain fields."""

    def split(self, tree: Params, key: Key) -> tuple[Params, Params]:
        """What stays and what is trained, the latter float32; pure."""
        ...

    def join(self, frozen: Params, trained: Params) -> Params:
        """The whole tree of both; pure."""
        ...


@dataclasses.dataclass(frozen=True)
class Whole:
    """Everything is trained; a learned codec stays as it is.

    Attributes:
      codec: whether there is one, beside the network.
      text: whether a text encoder is trained, too, if the network has one.
    """

    codec: bool = False
    text: bool = True

    def split(self, tree: Params, key: Key) -> tuple[Params, Params]:
        """The codec and the text encoder, and the network."""
        del key
        network = tree["network"] if self.codec else tree
        frozen = {"codec": tree["codec"]} if self.codec else {}
        if self.text or "text" not in network:
            return frozen, network
        trained = {name: part for name, part in network.items() if name != "text"}
        return {**frozen, "text": network["text"]}, trained

    def join(self, frozen: Params, trained: Params) -> Params:
        """All of it."""
        kept = {name: part for name, part in frozen.items() if name != "codec"}
        network = {**trained, **kept}
        return {"network": network, "codec": frozen["codec"]} if self.codec else network


@dataclasses.dataclass(frozen=True)
class AttentionOnly:
    """The projections of every attention are trained.

    Attributes:
      text: whether those of a text encoder are, too.
    """

    text: bool = False

    def split(self, tree: Params, key: Key) -> tuple[Params, Params]:
        """The tree, and path -> array of what is trained."""
        del key
        return tree, _projections(tree, self.text, ("kernel", "bias"))

    def join(self, frozen: Params, trained: Params) -> Params:
        """The tree with these arrays in their places."""

        def one(path: Any, leaf: Any) -> Any:
            new = trained.get(leaf_name(path))
            return leaf if new is None else new.astype(leaf.dtype)

        return jax.tree_util.tree_map_with_path(one, frozen)


@dataclasses.dataclass(frozen=True)
class LowRank:
    """Kernels of attention's projections plus alpha / rank down up (Hu et al. 2021).

    `up` begins at zero, so that the first step is the base model's own.

    Attributes:
      rank: of the change.
      alpha: its scale; None for the rank, which is a factor of 1.
      text: whether a text encoder is adapted, too.
    """

    rank: int = 4
    alpha: float | None = None
    text: bool = False

    def __post_init__(self) -> None:
        at_least("rank", self.rank, 1)
        if self.alpha is not None:
            positive("alpha", self.alpha)

    def split(self, tree: Params, key: Key) -> tuple[Params, Params]:
        """The tree, and path -> {"down" [i, r], "up" [r, o]}."""
        kernels, pairs = _projections(tree, self.text, ("kernel",)), {}
        for number, (path, kernel) in enumerate(kernels.items()):
            inp, out = kernel.shape
            own = jax.random.fold_in(key, number)
            down = jax.random.normal(own, (inp, self.rank)) / jnp.float32(inp) ** 0.5
            pairs[path] = {"down": down, "up": jnp.zeros((self.rank, out))}
        return tree, pairs

    def join(self, frozen: Params, trained: Params) -> Params:
        """The tree with the changes added."""
        factor = (self.alpha or self.rank) / self.rank

        def one(path: Any, leaf: Any) -> Any:
            pair = trained.get(leaf_name(path))
            if pair is None:
                return leaf
            return leaf + (factor * (pair["down"] @ pair["up"])).astype(leaf.dtype)

        return jax.tree_util.tree_map_with_path(one, frozen)


class Start(NamedTuple):
    """A model to begin with.

    Attributes:
      tree: its numbers (`target.Target.tree`); None for fresh ones.
      adapt: what of them is trained; None for the whole network.
    """

    tree: Params | None
    adapt: Adaptation | None = None

    @property
    def told(self) -> tuple[str, ...]:
        """What a run's identity says of it beside the numbers."""
        return () if self.adapt is None else (repr(self.adapt),)


KINDS = ("full", "lora", "attention")


def adaptation(
    kind: str, parts: Parts, rank: int, alpha: float | None, text: bool
) -> Adaptation:
    """The adaptation of a name, for a model of these parts."""
    one_of("target.adapt", kind, KINDS)
    if kind == "lora":
        return LowRank(rank, alpha, text)
    if kind == "attention":
        return AttentionOnly(text)
    return dataclasses.replace(whole(parts), text=text)


def whole(parts: Parts) -> Whole:
    """Training of the network, whatever its codec."""
    return Whole(isinstance(parts.codec, LearnedCodec))


def _projections(
    tree: Params, text: bool, leaves: tuple[str, ...]
) -> Mapping[str, Any]:
    """Path -> array of the projections of a tree, none of the codec's."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = leaf_name(path)
        match = PROJECTIONS.search(name)
        skipped = name.startswith("codec/") or (not text and _TEXT.search(name))
        if match and match[2] in leaves and not skipped:
            found[name] = leaf.astype(jnp.float32)
    problem = "has no attention whose projections could be trained"
    require(bool(found), "the network", problem, "say target.adapt='full'")
    return found
