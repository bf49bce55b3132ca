"""CLiD: how much a member's caption helps (Zhai et al. 2024, 2405.14800, NeurIPS).

"Membership Inference on Text-to-Image Diffusion Models via Conditional Likelihood
Discrepancy". A model that was trained on an image with its caption denoises the image
better for being told that caption, by more than it does for other pairs. What is
measured is the loss with less of the caption, less that with all of it.

The paper scores a weighted sum of robustly scaled columns, or a classifier on all of
them; both are a rule's, fitted on what the attacker knows. Its reduced captions drop
the most important words first (`order`); cut from its end, a caption asks nothing
further of the model. That the signal is largely the model's memory of captions shows in
the same attack with `prompt=` (docs/models.md).
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from score_mia.attacks.draws import chunked, denoising_loss, noise_at
from score_mia.attacks.protocol import (
    LATER,
    NETWORK_EVALUATIONS,
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.times import check_times, chosen_times, columns_of, spent
from score_mia.check import UserError, at_least, one_of, require
from score_mia.conditions import NULL
from score_mia.sde import SDE
from score_mia.target import Denoiser

USUAL = (140,)
"""A level of 1,000 at which the losses are taken where no time is named."""


@dataclasses.dataclass(frozen=True)
class Clid:
    """What the condition is worth at each time, and the loss itself.

        clid-k@t = L_t(x, c*_k) - L_t(x, c),  clid-null@t = L_t(x, nothing) - L_t(x, c)
        loss@t   = -L_t(x, c)

    with the loss L_t in noise form, averaged over noises that all conditions share, and
    c*_k the caption without a share of its tokens. Of models that are told classes,
    `cuts` is empty: the label is held against the one that stands for none.

    Attributes:
      times: a number of times, spread by the process's own clock, or the times
        themselves; None for level 140 of 1,000.
      cuts: shares of a caption's tokens that are replaced by padding, ascending; a
        column each. Nothing at all is always compared with.
      order: which tokens go first: the last ones ("end"), or those without which the
        network's own embedding of the caption changes most ("importance"): one
        embedding a token, and no evaluation of the network.
      draws: noises per time, shared by all conditions.
      chunk: bound on memory: evaluations made at once for each image.
    """

    times: int | tuple[float, ...] | None = None
    cuts: tuple[float, ...] = ()
    draws: int = 3
    chunk: int = 10
    order: str = dataclasses.field(default="end", metadata=LATER)

    access: ClassVar[Access] = "scores"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        check_times(self.times)
        one_of("order", self.order, ("end", "importance"))
        at_least("draws", self.draws, 1)
        at_least("chunk", self.chunk, 1)
        ok = all(0 < cut < 1 for cut in self.cuts)
        ok = ok and all(a < b for a, b in itertools.pairwise(self.cuts))
        remedy = "give numbers between 0 and 1, ascending; nothing is compared anyway"
        require(ok, f"cuts={self.cuts!r}", "are no growing shares of a caption", remedy)

    def at(self, sde: SDE) -> Float[np.ndarray, " k"]:
        """The times of the losses, float32.

        Raises:
          UserError: see `attacks.times.chosen_times`.
        """
        return chosen_times(sde, self.times, USUAL)

    def columns(self, model: Denoiser) -> Columns:
        """A column for each reduced condition at each time, then the losses."""
        times = self.at(model.sde)
        reduced = (*(f"clid-{k + 1}" for k in range(len(self.cuts))), "clid-null")
        kinds = (*reduced, "loss")
        return Columns(
            columns_of(kinds, model.sde, times),
            np.tile(times, len(kinds)),
            (NETWORK_EVALUATIONS,),
            float(len(times) * self.draws * len(kinds)),
            title="CLiD",
        )

    def __call__(self, model: Denoiser, query: Query, products: Any = ()) -> Reading:
        """The discrepancies and minus the losses of one image.

        Raises:
          UserError: the model is told nothing, knows no condition that says nothing, or
            is told what has no tokens to be cut.
        """
        times, told = self.at(model.sde), self._told(model, query)
        x = model.codec.encode(query.image)

        def loss(row: tuple[Array, Array, Array]) -> Array:
            t, draw, which = row
            noise = noise_at(query.key, draw, t, x.shape)
            condition = jax.tree.map(lambda leaf: leaf[which], told)
            return denoising_loss(model, x, t, noise, condition)

        shape = (len(self.cuts) + 2, len(times), self.draws)
        which, time, draw = (a.ravel() for a in np.indices(shape))
        rows = tuple(map(jnp.asarray, (times[time], draw, which)))
        losses = chunked(loss, rows, self.chunk).reshape(shape).mean(axis=2)
        own, reduced = losses[-1], losses[:-1]
        values = jnp.concatenate([reduced - own[None], -own[None]])
        return Reading(values.ravel(), spent(float(np.prod(shape))))

    def _told(self, model: Denoiser, query: Query) -> Any:
        """The conditions as the network takes them, the image's own last, stacked."""
        own, nothing = query.condition, query.conditions.get(NULL)
        if own is None or nothing is None:
            what = "is told nothing" if own is None else "has no condition for nothing"
            raise UserError(
                f"clid: the model {what}, so no condition can be held against none; "
                "attack it by its loss"
            )
        weight = None
        if self.cuts and self.order == "importance":
            weight = importance(model, own, nothing)
        cut = [shortened(own, nothing, share, weight) for share in self.cuts]
        each = [model.embed(one) for one in (*cut, nothing, own)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)


def shortened(
    own: Any, nothing: Any, share: float, weight: Float[Array, " l"] | None = None
) -> Any:
    """Token ids [l] of a caption of which a share of its tokens is padding.

    A caption's tokens are those that an empty caption does not have: not the padding,
    with which that one ends, nor what marks a beginning and an end.

    Args:
      own, nothing: the caption, and the empty one.
      share: of the caption's tokens, rounded up.
      weight: of each; the heaviest go. None for the last ones.

    Raises:
      UserError: a condition that is no row of tokens.
    """
    caption = _caption(own, nothing)
    count = jnp.sum(caption)
    # A whole number stays one: 0.3 of 50 is a little more than 15 in float32.
    cut = jnp.ceil(share * count.astype(jnp.float32) - 1e-4)
    kept = count - cut.astype(count.dtype)
    place = jnp.cumsum(caption)
    if weight is not None:
        # Of equal ones the later goes first, as where nothing is weighed.
        order = jnp.argsort(jnp.where(caption, weight, jnp.inf), stable=True)
        place = jnp.argsort(order) + 1
    return jnp.where(caption & (place > kept), nothing[-1], own)


def importance(model: Denoiser, own: Any, nothing: Any) -> Float[Array, " l"]:
    """How far the network's embedding of a caption moves without each of its tokens.

    Args:
      model: whose text encoder is asked.
      own, nothing: token ids [l] of the caption, and of the empty one.

    Raises:
      UserError: a condition that is no row of tokens, or a network that has no
        embedding apart from itself.
    """
    caption = _caption(own, nothing)
    whole = model.embed(own)
    numbers = [leaf.dtype for leaf in jax.tree.leaves(whole)]
    if not numbers or not all(jnp.issubdtype(n, jnp.floating) for n in numbers):
        raise UserError(
            "clid: order='importance': the network embeds no captions by itself, so "
            "none can be told to be important; say order='end'"
        )

    def moved(place: Array) -> Array:
        without = model.embed(jnp.asarray(own).at[place].set(nothing[-1]))
        away = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), without, whole)
        return sum(jax.tree.leaves(away), start=jnp.zeros(()))

    weights = jax.lax.map(moved, jnp.arange(len(own)))
    return jnp.where(caption, weights, 0.0)


def _caption(own: Any, nothing: Any) -> Bool[Array, " l"]:
    """Which of its tokens are those of a caption."""
    if not isinstance(own, Array | np.ndarray) or own.ndim != 1:
        raise UserError(
            "clid: cuts=: the model is told no tokens that could be cut off; "
            "give cuts=()"
        )
    return ~jnp.isin(own, nothing)
