"""Which dimensions of a latent count (after VAE2Diffusion, Rao et al., 2511.20592).

After that paper's idea: where a decoder makes much of a dimension of a latent, the
diffusion model memorises it; the others add noise to an attack and are left out. How
much it makes of dimension i at x is the diagonal of the decoder's pullback metric

    G(x) = J(x)^T J(x),   J = d decode / d x,   G_ii = E_v (J^T v)_i^2

over random signs v, one backward pass of the decoder for each.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from score_mia.arrays import Key
from score_mia.check import at_least, positive, require, within
from score_mia.codecs import Codec

_PROBES = 0x9011
"""Folded into the key of the probes, which no noise is to share."""


@dataclasses.dataclass(frozen=True)
class Pullback:
    """Takes the dimensions of largest G_ii.

    Attributes:
      keep: the share of the dimensions that is taken.
      probes: random signs that G_ii is estimated with, the same for all images. Its
        error falls with their square root, and only the order of the dimensions counts.
    """

    keep: float = 0.5
    probes: int = 16

    def __post_init__(self) -> None:
        positive("pullback.keep", self.keep)
        within("pullback.keep", self.keep, 0.0, 1.0)
        at_least("pullback.probes", self.probes, 1)

    @property
    def words(self) -> str:
        """For a title."""
        return f"{100 * self.keep:g} % of the latent"

    def require_learned(self, codec: Codec) -> None:
        """Refuse a codec that was not learned.

        Raises:
          UserError: pixels have a density through it: it weighs all dimensions alike.
        """
        learned = codec.log_scale is None
        problem = f"has no learned decoder to look at: {type(codec).__name__} is fixed"
        remedy = "leave it out, or attack a model of latents"
        require(learned, "pullback", problem, remedy)

    def metric(
        self, codec: Codec, x: Float[Array, "..."], key: Key
    ) -> Float[Array, "..."]:
        """The estimated diagonal of G at x, of its shape."""
        image, back = jax.vjp(codec.decode, x)
        key = jax.random.fold_in(key, _PROBES)

        def squares(probe: Array) -> Float[Array, "..."]:
            own = jax.random.fold_in(key, probe)
            return back(jax.random.rademacher(own, image.shape, image.dtype))[0] ** 2

        return jnp.mean(jax.lax.map(squares, jnp.arange(self.probes)), axis=0)

    def taken(
        self, codec: Codec, x: Float[Array, "..."], key: Key
    ) -> Bool[Array, "..."]:
        """Which dimensions of x are taken, of its shape; at least one."""
        metric = self.metric(codec, x, key).ravel()
        count = max(1, round(self.keep * metric.size))
        best = jax.lax.top_k(metric, count)[1]
        return jnp.zeros(metric.shape, bool).at[best].set(True).reshape(x.shape)
