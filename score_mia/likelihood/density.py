"""The density of an image, its two errors, and the check of a grid."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Image, Key, Scalar, ScalarLike
from score_mia.check import at_least, one_of
from score_mia.device import jit, precisely, size
from score_mia.likelihood.flow import solve
from score_mia.likelihood.methods import Adaptive, FixedGrid, Solver
from score_mia.target import Denoiser

Prior = Callable[[Float[Array, "..."]], Scalar]
"""Log density in nats of x at t1, in the target's space."""

PROBES = ("rademacher", "gaussian")
DIVERGENCES = ("hutchinson", "exact")


class LogProb(NamedTuple):
    """A log-likelihood and what it cost.

    Attributes:
      log_prob: nats, the density of the image on [0, 1]^d.
      standard_error: nats, over the probes of the divergence; 0 if it was exact,
        NaN if one probe leaves it unknown.
      evaluations: network evaluations, each with one derivative per probe.
      grid_error: nats, what a grid of one order less would change, an estimate of the
        grid's own error; NaN for a solver that has none.
    """

    log_prob: Scalar
    standard_error: Scalar
    evaluations: Scalar
    grid_error: Scalar


@dataclasses.dataclass(frozen=True)
class Divergence:
    """How the divergence of the flow is had.

    Attributes:
      kind: "hutchinson", or "exact" for the trace itself: d derivatives per
        evaluation, for small d only.
      probes: directions v whose mean v' J v estimates it (Hutchinson 1990). One
        direction serves the whole path, as in FFJORD (1810.01367).
      probe: law of the directions, "rademacher" or "gaussian".
    """

    kind: str = "hutchinson"
    probes: int = 1
    probe: str = "rademacher"

    def __post_init__(self) -> None:
        at_least("probes", self.probes, 1)
        one_of("probe", self.probe, PROBES)
        one_of("divergence", self.kind, DIVERGENCES)

    def directions(self, key: Key, shape: tuple[int, ...]) -> Float[Array, "p ..."]:
        """The directions in x of this shape."""
        size = math.prod(shape)
        if self.kind == "exact":
            return jnp.eye(size).reshape(size, *shape)
        draw = jax.random.normal if self.probe == "gaussian" else jax.random.rademacher
        return draw(key, (self.probes, *shape), jnp.float32)


EXACT = Divergence("exact")


def log_prob(
    model: Denoiser,
    image: Image,
    key: Key,
    *,
    divergence: Divergence = Divergence(),
    solver: Solver | None = None,
    dequantise: bool = False,
    prior: Prior | None = None,
    condition: Any = None,
) -> LogProb:
    """Log-likelihood of one image in [0, 1], in nats; pure, to be vmapped.

    Args:
      model: whose outputs are asked for.
      image: [h, w, c] in [0, 1].
      key: draws the probes and, if asked for, the dequantisation noise.
      divergence: how that of the flow is had.
      solver: `FixedGrid()` unless told: 64 evaluations.
      dequantise: spread the 8-bit image evenly over its grey levels, (255 image +
        u)/256, so that a density on pixels bounds a probability of bytes.
      prior: log density of x at t1; N(0, std(t1)^2 I) unless told.
      condition: handed to the network.

    Returns:
      A `LogProb`; all NaN if the solver gave up (the batch goes on).

    Raises:
      UserError: an argument is out of bounds or unknown.
    """
    solver = FixedGrid() if solver is None else solver
    prior = model.sde.prior_log_prob if prior is None else prior
    probe_key, noise_key = jax.random.split(key)
    if dequantise:
        noise = jax.random.uniform(noise_key, image.shape)
        image = (255.0 * image + noise) / 256.0
    exact = divergence.kind == "exact"
    # A divergence is a difference of large numbers, summed over the path: TF32's
    # roundings would be bits of the answer, whatever other signals are read in.
    with precisely("float32"):
        x = model.codec.encode(image)
        directions = divergence.directions(probe_key, x.shape)
        end = solve(solver, model, x, directions, condition)
    gain = jnp.sum(end.gains) if exact else jnp.mean(end.gains)
    scale = model.codec.log_scale or 0.0  # none: a density on the model's own space
    total = prior(end.x1) + gain + end.volume + image.size * scale
    error = _standard_error(end.gains, exact)
    return LogProb(total, error, end.evaluations, end.error)


def bits_per_dim(log_prob: ScalarLike, dimensions: int) -> ScalarLike:
    """Nats of an image on [0, 1]^d to bits per 8-bit value: 8 - log2 p / d.

    The 8 turns the density into the mass of a cell of width 1/256 (Theis et al. 2016,
    1511.01844), which makes numbers comparable with published ones.
    """
    return 8.0 - log_prob / (dimensions * float(np.log(2.0)))


class GridError(NamedTuple):
    """Distance of a grid from its reference over some images, in bits/dim."""

    mean: float
    max: float
    grid_evaluations: float
    reference_evaluations: float


def grid_error(
    model: Denoiser,
    images: Float[Array, "n h w c"],
    key: Key,
    *,
    solver: Solver | None = None,
    reference: Solver | None = None,
    condition: Any = None,
) -> GridError:
    """How far a solver is from a tight one on these images, with the same probe.

    Args:
      model: whose outputs are asked for.
      images: a few images in [0, 1].
      key: image i is given `fold_in(key, i)` in both.
      solver: the one under test; `FixedGrid()` unless told.
      reference: `Adaptive()` unless told.
      condition: one row per image, or None.

    Returns:
      Mean and maximum of |difference| (NaN if one of the two failed) and the mean
      network evaluations of both.
    """

    def both(model, image, key, condition):
        a = log_prob(model, image, key, solver=solver, condition=condition)
        tight = Adaptive() if reference is None else reference
        b = log_prob(model, image, key, solver=tight, condition=condition)
        return a, b

    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(images)))
    program = jit(jax.vmap(both, (None, 0, 0, 0)), parameters=size(model))
    a, b = program(model, images, keys, condition)
    nats = np.abs(np.asarray(a.log_prob) - np.asarray(b.log_prob))
    bits = nats / (images[0].size * np.log(2.0))
    return GridError(
        float(np.mean(bits)),
        float(np.max(bits)),
        float(np.mean(a.evaluations)),
        float(np.mean(b.evaluations)),
    )


def _standard_error(gains: Array, exact: bool) -> Scalar:
    if exact:
        return jnp.zeros(())
    if len(gains) == 1:
        return jnp.full((), jnp.nan)
    return jnp.std(gains, ddof=1) / np.sqrt(len(gains)).astype(np.float32)
