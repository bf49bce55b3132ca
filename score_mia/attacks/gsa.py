"""Gradient norms, tensor by tensor (Pang et al. 2025, PoPETs, 2308.06405: GSA).

A network that was fitted to an image has little left to learn of it: the gradient of
its denoising loss with respect to the parameters is smaller there than for an image
that it never saw. Their two variants differ in what is averaged over the K times:

    GSA_1    || d/dw  mean_k loss(t_k) ||       one gradient
    GSA_2    mean_k || d/dw  loss(t_k) ||       one for each time

for each parameter tensor w of the network. What becomes of so many columns is the
rule's, fitted on shadow models: theirs is a boosted forest of 200 trees ("boosting"),
"logistic" an honest one where few images are known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_mia.arrays import Params, Scalar
from score_mia.attacks.draws import denoising_loss, noise_at
from score_mia.attacks.protocol import (
    NETWORK_EVALUATIONS,
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.times import check_times, chosen_times, spent
from score_mia.check import positive, within
from score_mia.networks.network import unfolded
from score_mia.target import Denoiser, Target
from score_mia.trees import leaf_name

FORWARDS = 3
"""Forward passes that a loss with its gradient costs: a backward pass counts as two."""

Tensors = Sequence[Float[Array, "..."]]


@dataclasses.dataclass(frozen=True)
class Gsa:
    """Minus the norm of the loss's gradient, one column for each parameter tensor.

    What leaves the program is a number for each tensor; a gradient itself never does,
    and no more than one (GSA_2) or two (GSA_1) of an image are held at once.

    Attributes:
      times: a number of times, spread by the process's own clock, or the times
        themselves; one noise at each. Theirs are 10.
      each: GSA_2, a gradient at each time whose norms are averaged; else GSA_1, the
        gradient of the mean loss.
      share: of the tensors, the first so many in the order of their names; of the
        others no gradient is taken.
    """

    times: int | tuple[float, ...] = 10
    each: bool = False
    share: float = 1.0

    access: ClassVar[Access] = "gradients"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        check_times(self.times)
        positive("share", self.share)
        within("share", self.share, 0.0, 1.0)

    def columns(self, model: Target) -> Columns:
        """A column for each tensor, named by its path in the parameters."""
        every = jax.tree.leaves_with_path(model.params)
        leaves = every[: self._count(len(every))]
        # GSA_1 holds the sum over the times beside the gradient at one of them.
        held = (1 if self.each else 2) * sum(4 * leaf.size for _, leaf in leaves)
        return Columns(
            tuple(f"norm/{leaf_name(path)}" for path, _ in leaves),
            None,
            (NETWORK_EVALUATIONS,),
            float(FORWARDS * len(chosen_times(model.sde, self.times))),
            bytes_per_row=held,
            title=f"Gradient norms (GSA{2 if self.each else 1})",
        )

    def __call__(self, model: Target, query: Query, products: Any = ()) -> Reading:
        """Minus the norms of one image."""
        times = jnp.asarray(chosen_times(model.sde, self.times))
        x = model.codec.encode(query.image)
        leaves, tree = jax.tree.flatten(model.params)
        count = self._count(len(leaves))
        chosen, others = leaves[:count], leaves[count:]

        def loss(chosen: Tensors, t: Scalar) -> Scalar:
            params = jax.tree.unflatten(tree, [*chosen, *others])
            noise = noise_at(query.key, 0, t, x.shape)
            return denoising_loss(fitted(model, params), x, t, noise, query.condition)

        def gradient(t: Scalar) -> Tensors:
            return [g.astype(jnp.float32) for g in jax.grad(loss)(chosen, t)]

        def add(total: Tensors, t: Scalar) -> tuple[Tensors, None]:
            return [a + b for a, b in zip(total, gradient(t), strict=True)], None

        if self.each:
            norms = jax.lax.map(lambda t: tensor_norms(gradient(t)), times).mean(axis=0)
        else:
            nothing = [jnp.zeros(leaf.shape, jnp.float32) for leaf in chosen]
            norms = tensor_norms(jax.lax.scan(add, nothing, times)[0]) / len(times)
        return Reading(-norms, spent(len(times)))

    def _count(self, tensors: int) -> int:
        """How many of the tensors are looked at."""
        return max(1, round(self.share * tensors))


def fitted(model: Target, params: Params) -> Denoiser:
    """The model with parameters of which gradients of single images are taken."""
    apply = unfolded(model.apply)
    return dataclasses.replace(model, params=params, apply=apply).denoiser


def tensor_norms(tensors: Tensors) -> Float[Array, " k"]:
    """The Euclidean norm of each of K tensors, in float32."""
    squares = [jnp.sum(jnp.square(g.astype(jnp.float32))) for g in tensors]
    return jnp.sqrt(jnp.stack(squares))
