"""Likelihood of an image under a diffusion model, by its probability-flow ODE.

With y = x / alpha(t) and s = std(t) / alpha(t) the flow of every process is dy/ds =
eps(x, t), so one change of variables serves them all:

    log p(x_t0) = log p_t1(x_t1) + d log(alpha(t1)/alpha(t0)) + int div_y eps ds.

This is Song et al. 2021 (2011.13456), Eq. 39, which Hu & Pang 2023 (2301.09956) take
as their Eq. 8 (where the integral's sign is misprinted), in the variables of Karras et
al. 2022 (2206.00364). As published, the image is taken to be x_t0 itself, and p_t0
stands for the density of the data. Discrete models (DDPM, SMLD) are integrated along
their continuous interpolation, and the network is told fractional steps.

Everything here is for one image; callers `vmap`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Image, Key, Scalar, ScalarLike
from score_mia.check import at_least, one_of, positive
from score_mia.device import jit, size
from score_mia.target import Target

Prior = Callable[[Float[Array, "..."]], Scalar]
"""Log density in nats of x at t1, in the target's space."""

PROBES = ("rademacher", "gaussian")
DIVERGENCES = ("hutchinson", "exact")
CLOCKS = ("log_sigma", "time")

_KNEE = 0.001
"""Below this s the clock u = log(s + knee) turns from logarithmic to linear: there the
flow hardly moves, and sub-VP would spend half its grid on s < 1e-3."""


class LogProb(NamedTuple):
    """A log-likelihood and what it cost.

    Attributes:
      log_prob: nats, the density of the image on [0, 1]^d.
      standard_error: nats, over the probes of the divergence; 0 if it was exact,
        NaN if one probe leaves it unknown.
      evaluations: network evaluations, each with one derivative per probe.
    """

    log_prob: Scalar
    standard_error: Scalar
    evaluations: Scalar


class Tableau(NamedTuple):
    """An explicit Runge-Kutta method: nodes c, stages a (lower triangle), weights b."""

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]


TABLEAUS = {
    "heun": Tableau((0, 1), ((), (1,)), (1 / 2, 1 / 2)),
    "rk4": Tableau(
        (0, 1 / 2, 1 / 2, 1),
        ((), (1 / 2,), (0, 1 / 2), (0, 0, 1)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    ),
    # Dormand & Prince 1980, the fifth-order solution: without an error estimate its
    # seventh stage is not needed, which leaves six evaluations a step.
    "dopri5": Tableau(
        (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1),
        (
            (),
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        ),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
}


@dataclasses.dataclass(frozen=True)
class FixedGrid:
    """Equal steps of an explicit Runge-Kutta method on the log-sigma clock.

    Every image takes the same evaluations, so rows cannot disturb each other and
    batches are full; `grid_error` measures what the grid costs in accuracy.

    Attributes:
      steps: of the method, each as many evaluations as it has stages.
      method: a name of `TABLEAUS`.
    """

    steps: int = 8
    method: str = "dopri5"

    def __post_init__(self) -> None:
        at_least("steps", self.steps, 1)
        one_of("method", self.method, TABLEAUS)


@dataclasses.dataclass(frozen=True)
class Adaptive:
    """diffrax with error control for each image: the reference.

    Attributes:
      method: "tsit5", "dopri5", "dopri8", "heun" or "bosh3".
      rtol, atol: tolerances of the step.
      max_steps: after so many (rejected ones included) the answer is NaN.
      clock: "log_sigma", or "time" for x itself in t, as published.
    """

    method: str = "tsit5"
    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 4096
    clock: str = "log_sigma"

    def __post_init__(self) -> None:
        one_of("method", self.method, _ADAPTIVE)
        one_of("clock", self.clock, CLOCKS)
        positive("rtol", self.rtol)
        positive("atol", self.atol)
        at_least("max_steps", self.max_steps, 1)


_ADAPTIVE = {
    "tsit5": "Tsit5",
    "dopri5": "Dopri5",
    "dopri8": "Dopri8",
    "heun": "Heun",
    "bosh3": "Bosh3",
}

Solver = FixedGrid | Adaptive


def log_prob(
    target: Target,
    image: Image,
    key: Key,
    *,
    probes: int = 1,
    probe: str = "rademacher",
    divergence: str = "hutchinson",
    solver: Solver | None = None,
    dequantise: bool = False,
    prior: Prior | None = None,
    condition: Any = None,
) -> LogProb:
    """Log-likelihood of one image in [0, 1], in nats; pure, to be vmapped.

    Args:
      target: the model.
      image: [h, w, c] in [0, 1].
      key: draws the probes and, if asked for, the dequantisation noise.
      probes: directions v whose mean v' J v estimates the divergence (Hutchinson
        1990). One direction serves the whole path, as in FFJORD (1810.01367).
      probe: law of the directions, "rademacher" or "gaussian".
      divergence: "hutchinson", or "exact" for the trace itself: d derivatives per
        evaluation, for small d only.
      solver: `FixedGrid()` unless told: 48 evaluations.
      dequantise: spread the 8-bit image evenly over its grey levels, (255 image +
        u)/256, so that a density on pixels bounds a probability of bytes.
      prior: log density of x at t1; N(0, std(t1)^2 I) unless told.
      condition: handed to the network.

    Returns:
      A `LogProb`; all NaN if the solver gave up (the batch goes on).

    Raises:
      UserError: an argument is out of bounds or unknown.
    """
    at_least("probes", probes, 1)
    one_of("probe", probe, PROBES)
    one_of("divergence", divergence, DIVERGENCES)
    solver = FixedGrid() if solver is None else solver
    prior = target.sde.prior_log_prob if prior is None else prior
    probe_key, noise_key = jax.random.split(key)
    if dequantise:
        noise = jax.random.uniform(noise_key, image.shape)
        image = (255.0 * image + noise) / 256.0
    exact = divergence == "exact"
    if exact:
        directions = jnp.eye(image.size).reshape(image.size, *image.shape)
    else:
        draw = getattr(jax.random, {"gaussian": "normal"}.get(probe, probe))
        directions = draw(probe_key, (probes, *image.shape), jnp.float32)

    x = target.codec.encode(image)
    if isinstance(solver, FixedGrid):
        end = _fixed(solver, target, x, directions, condition)
    else:
        end = _adaptive(solver, target, x, directions, condition)
    gain = jnp.sum(end.gains) if exact else jnp.mean(end.gains)
    total = prior(end.x1) + gain + end.volume + image.size * target.codec.log_scale
    return LogProb(total, _standard_error(end.gains, exact), end.evaluations)


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
    target: Target,
    images: Float[Array, "n h w c"],
    key: Key,
    *,
    solver: Solver | None = None,
    reference: Solver | None = None,
    condition: Any = None,
) -> GridError:
    """How far a solver is from a tight one on these images, with the same probe.

    Args:
      target: the model.
      images: a few images in [0, 1].
      key: image i is given `fold_in(key, i)` in both.
      solver: the one under test; `FixedGrid()` unless told.
      reference: `Adaptive()` unless told.
      condition: one row per image, or None.

    Returns:
      Mean and maximum of |difference| (NaN if one of the two failed) and the mean
      network evaluations of both.
    """

    def both(target, image, key, condition):
        a = log_prob(target, image, key, solver=solver, condition=condition)
        tight = Adaptive() if reference is None else reference
        b = log_prob(target, image, key, solver=tight, condition=condition)
        return a, b

    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(images)))
    program = jit(jax.vmap(both, (None, 0, 0, 0)), parameters=size(target.params))
    a, b = program(target, images, keys, condition)
    nats = np.abs(np.asarray(a.log_prob) - np.asarray(b.log_prob))
    bits = nats / (images[0].size * np.log(2.0))
    return GridError(
        float(np.mean(bits)),
        float(np.max(bits)),
        float(np.mean(a.evaluations)),
        float(np.mean(b.evaluations)),
    )


class _Solution(NamedTuple):
    """The end of the path.

    gains[i] = int v_i' J v_i along it: their sum over a whole basis, or mean over
    random directions, is the integrated divergence; volume, what coordinates add.
    """

    x1: Array
    gains: Array
    volume: Scalar
    evaluations: Scalar


class _Node(NamedTuple):
    """One place on the log-sigma clock: its time, alpha(t), and ds/du."""

    t: Scalar
    alpha: Scalar
    rate: Scalar


def _ends(target: Target) -> tuple[Scalar, Scalar]:
    """u = log(s + knee) at t0 and t1."""
    log_snr = target.sde.log_snr
    first, last = (jnp.exp(-0.5 * log_snr(t)) for t in (target.sde.t0, target.sde.t1))
    return jnp.log(first + _KNEE), jnp.log(last + _KNEE)


def _node(target: Target, u: Scalar) -> _Node:
    s = jnp.exp(u) - _KNEE
    # Rounding may leave s at or below nought at the clean end; the clock stops at t0.
    t = target.sde.time_at(-2.0 * jnp.log(jnp.maximum(s, 1e-30)))
    return _Node(t, target.sde.alpha(t), s + _KNEE)


def _flow(
    field: Callable[[Array], Array], y: Array, directions: Array
) -> tuple[Array, Array]:
    """The field at y, and v' J v for each direction v [n, ...]: one shared forward."""

    def along(v: Array) -> tuple[Array, Array]:
        value, pushed = jax.jvp(field, (y,), (v,))
        return value, jnp.sum(v * pushed)

    return jax.vmap(along, out_axes=(None, 0))(directions)


def _fixed(
    grid: FixedGrid, target: Target, x: Array, directions: Array, condition: Any
) -> _Solution:
    """Runge-Kutta in hat-form, one evaluation per turn of the scan.

    All stages share the one network of the loop's body (six copies would compile six
    times as long), and nothing about the schedule is computed inside it.
    """
    sde, tableau = target.sde, TABLEAUS[grid.method]
    stages = len(tableau.b)
    first, last = _ends(target)
    h = (last - first) / grid.steps
    c = np.arange(grid.steps)[:, None] + np.asarray(tableau.c, np.float32)
    nodes = jax.vmap(lambda u: _node(target, u))(
        first + h * jnp.asarray(c.ravel(), jnp.float32)
    )
    a = np.zeros((stages, stages), np.float32)
    for i, row in enumerate(tableau.a):
        a[i, : len(row)] = row
    b = np.asarray(tableau.b, np.float32)
    stage = np.tile(np.arange(stages), grid.steps)

    def evaluate(carry, inputs):
        y, slopes, gains = carry
        node, i, a_row, b_i = inputs
        at = y + h * _combine(a_row, slopes)

        def field(y):
            return node.rate * target.eps(node.alpha * y, node.t, condition)

        slope, dots = _flow(field, at, directions)
        slopes = slopes.at[i].set(slope)
        y = jnp.where(i == stages - 1, y + h * _combine(jnp.asarray(b), slopes), y)
        return (y, slopes, gains + h * b_i * dots), None

    start = x / sde.alpha(sde.t0)
    carry = (start, jnp.zeros((stages, *x.shape)), jnp.zeros(len(directions)))
    inputs = (nodes, jnp.asarray(stage), jnp.asarray(a[stage]), jnp.asarray(b[stage]))
    (y, _, gains), _ = jax.lax.scan(evaluate, carry, inputs)
    evaluations = jnp.float32(stages * grid.steps)
    return _Solution(sde.alpha(sde.t1) * y, gains, _rescaling(target, x), evaluations)


def _adaptive(
    control: Adaptive, target: Target, x: Array, directions: Array, condition: Any
) -> _Solution:
    """diffrax, with error control over the state and the log-density together."""
    import diffrax  # seconds of import that a fixed grid does not need

    sde = target.sde
    in_time = control.clock == "time"

    def vector_field(u, state, _):
        y, _ = state
        if in_time:
            return _flow(lambda y: target.velocity(y, u, condition), y, directions)
        node = _node(target, u)
        field = lambda y: node.rate * target.eps(node.alpha * y, node.t, condition)  # noqa: E731
        return _flow(field, y, directions)

    ends = (jnp.float32(sde.t0), jnp.float32(sde.t1)) if in_time else _ends(target)
    start = x if in_time else x / sde.alpha(sde.t0)
    method = getattr(diffrax, _ADAPTIVE[control.method])()
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        method,
        t0=ends[0],
        t1=ends[1],
        dt0=(ends[1] - ends[0]) * (1e-5 if in_time else 1e-2),
        y0=(start, jnp.zeros(len(directions))),
        stepsize_controller=diffrax.PIDController(rtol=control.rtol, atol=control.atol),
        max_steps=control.max_steps,
        throw=False,
    )
    y, gains = (leaf[0] for leaf in found.ys)
    y = jnp.where(found.result == diffrax.RESULTS.successful, y, jnp.nan)
    # A method whose last stage is the next step's first needs one evaluation less.
    stages, reuse = method.tableau.num_stages, int(method.tableau.fsal)
    evaluations = found.stats["num_steps"] * (stages - reuse) + reuse
    volume = jnp.zeros(()) if in_time else _rescaling(target, x)
    x1 = y if in_time else sde.alpha(sde.t1) * y
    return _Solution(x1, gains, volume, evaluations.astype(jnp.float32))


def _rescaling(target: Target, x: Array) -> Scalar:
    """log |dx/dy| at t1 minus that at t0: d log(alpha(t1)/alpha(t0))."""
    sde = target.sde
    return x.size * (sde.log_alpha(sde.t1) - sde.log_alpha(sde.t0))


def _combine(weights: Array, slopes: Array) -> Array:
    """sum_i w_i k_i, as sums and products: a matrix product may round to TF32."""
    return jnp.sum(weights.reshape(-1, *[1] * (slopes.ndim - 1)) * slopes, axis=0)


def _standard_error(gains: Array, exact: bool) -> Scalar:
    if exact:
        return jnp.zeros(())
    if len(gains) == 1:
        return jnp.full((), jnp.nan)
    return jnp.std(gains, ddof=1) / np.sqrt(len(gains)).astype(np.float32)
