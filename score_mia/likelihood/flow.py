"""From an image at t0 to its latent at t1, and the divergence on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from score_mia.arrays import Scalar
from score_mia.likelihood.coordinates import Coordinates, Node
from score_mia.likelihood.methods import (
    ADAPTIVE,
    Adaptive,
    FixedGrid,
    Solver,
    Still,
    turns,
)
from score_mia.target import Denoiser


class Solution(NamedTuple):
    """The end of the path.

    gains[i] = int v_i' J v_i along it: their sum over a whole basis, or mean over
    random directions, is the integrated divergence; volume, what coordinates add;
    error, the grid's own estimate in nats.
    """

    x1: Array
    gains: Array
    volume: Scalar
    evaluations: Scalar
    error: Scalar


def solve(
    solver: Solver, model: Denoiser, x: Array, directions: Array, condition: Any
) -> Solution:
    """The path that starts at x.

    Args:
      solver: how.
      model: whose flow.
      x: at t0, in the target's space.
      directions: [n, *x.shape] of the divergence's estimate, or a whole basis.
      condition: handed to the network.
    """
    if isinstance(solver, FixedGrid):
        return _fixed(solver, model, x, directions, condition)
    if isinstance(solver, Still):
        return _still(solver, model, x, directions, condition)
    return _adaptive(solver, model, x, directions, condition)


def _flow(
    field: Callable[[Array], Array], y: Array, directions: Array
) -> tuple[Array, Array]:
    """The field at y, and v' J v for each direction v [n, ...]: one shared forward."""

    def along(v: Array) -> tuple[Array, Array]:
        value, pushed = jax.jvp(field, (y,), (v,))
        return value, jnp.sum(v * pushed)

    return jax.vmap(along, out_axes=(None, 0))(directions)


def _fixed(
    grid: FixedGrid, model: Denoiser, x: Array, directions: Array, condition: Any
) -> Solution:
    """One evaluation per turn of the scan, whatever the method.

    All turns share the one network of the loop's body (several copies would compile as
    many times as long), and nothing about the schedule is computed inside it. What a
    step's doubt dz, dgain changes in log p is dgain + dz . grad log p, whatever comes
    after it: the path that starts a little aside keeps log p of its own start. With
    grad_z log p = -spread eps / s that costs no evaluation.
    """
    coordinates, table = Coordinates(model), turns(grid)
    first, last = coordinates.ends()
    h = (last - first) / grid.steps
    nodes = jax.vmap(coordinates.at)(first + h * jnp.asarray(table.place, jnp.float32))
    slots = table.step.shape[1]

    def evaluate(carry, inputs):
        z, slopes, dots, gains, error = carry
        node, slot, reach, step, doubt = inputs
        at = z + h * _combine(reach, slopes)
        slope, dot = _flow(_field(model, node, condition), at, directions)
        slopes, dots = slopes.at[slot].set(slope), dots.at[slot].set(dot)
        eps = _eps(node, slope, at)
        aside = jnp.sum(eps * _combine(doubt, slopes)) * node.spread / node.s
        error += h * (jnp.sum(_combine(doubt, dots)) * share - aside)
        z += h * _combine(step, slopes)
        return (z, slopes, dots, gains + h * _combine(step, dots), error), None

    count = len(directions)
    share = 1.0 if count == x.size else 1.0 / count
    none = jnp.zeros((slots, *x.shape)), jnp.zeros((slots, count))
    carry = (x / coordinates.start().scale, *none, jnp.zeros(count), jnp.zeros(()))
    lists = [jnp.asarray(a, jnp.float32) for a in table[2:]]
    inputs = (nodes, jnp.asarray(table.slot), *lists)
    (z, _, _, gains, error), _ = jax.lax.scan(evaluate, carry, inputs)
    evaluations = jnp.float32(grid.evaluations)
    x1 = coordinates.end().scale * z
    return Solution(x1, gains, _rescaling(coordinates, x), evaluations, error)


def _still(
    grid: Still, model: Denoiser, x: Array, directions: Array, condition: Any
) -> Solution:
    """Each node for itself; the gain of a probe has the path's part in it."""
    coordinates = Coordinates(model)
    first, last = coordinates.ends()
    places, weights, doubts = grid.rule()
    h = last - first
    nodes = jax.vmap(coordinates.at)(first + h * jnp.asarray(places, jnp.float32))
    y = x / model.sde.alpha(model.sde.t0)
    share = 1.0 if len(directions) == x.size else 1.0 / len(directions)

    def evaluate(carry, inputs):
        gains, error, path = carry
        node, weight, doubt = inputs
        z = y / node.spread
        slope, dot = _flow(_field(model, node, condition), z, directions)
        eps = _eps(node, slope, z)
        cost = node.rate * jnp.sum(eps**2) / node.s
        error += h * doubt * (jnp.sum(dot) * share - cost)
        return (gains + h * weight * dot, error, path - h * weight * cost), None

    none = jnp.zeros(len(directions)), jnp.zeros(()), jnp.zeros(())
    rules = (jnp.asarray(w, jnp.float32) for w in (weights, doubts))
    (gains, error, path), _ = jax.lax.scan(evaluate, none, (nodes, *rules))
    volume = _rescaling(coordinates, x) + path
    x1 = model.sde.alpha(model.sde.t1) * y
    return Solution(x1, gains, volume, jnp.float32(grid.evaluations), error)


def _eps(node: Node, slope: Array, z: Array) -> Array:
    """The network's eps that made this dz/du at z: `_field` undone."""
    return node.spread * (slope / node.rate + node.pull * z)


def _field(model: Denoiser, node: Node, condition: Any) -> Callable[[Array], Array]:
    """dz/du at a node."""

    def field(z: Array) -> Array:
        eps = model.eps(node.scale * z, node.t, condition)
        return node.rate * (eps / node.spread - node.pull * z)

    return field


def _adaptive(
    control: Adaptive, model: Denoiser, x: Array, directions: Array, condition: Any
) -> Solution:
    """diffrax, with error control over the state and the log-density together."""
    import diffrax  # seconds of import that a fixed grid does not need

    sde, coordinates = model.sde, Coordinates(model)
    in_time = control.clock == "time"

    def vector_field(u, state, _):
        z, _ = state
        if in_time:
            return _flow(lambda x: model.velocity(x, u, condition), z, directions)
        return _flow(_field(model, coordinates.at(u), condition), z, directions)

    # Numbers of Python's: arrays are traced within diffrax, which would look at them by
    # a call back. A device waits for that, and the program cannot be kept.
    with jax.ensure_compile_time_eval():
        times = jnp.float32(sde.t0), jnp.float32(sde.t1)
        first, last = times if in_time else coordinates.ends()
        step = (last - first) * (1e-5 if in_time else 1e-2)
        first, last, step = float(first), float(last), float(step)
    start = x if in_time else x / coordinates.start().scale
    method = getattr(diffrax, ADAPTIVE[control.method])()
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        method,
        t0=first,
        t1=last,
        dt0=step,
        y0=(start, jnp.zeros(len(directions))),
        stepsize_controller=diffrax.PIDController(rtol=control.rtol, atol=control.atol),
        max_steps=control.max_steps,
        throw=False,
    )
    z, gains = (leaf[0] for leaf in found.ys)
    z = jnp.where(found.result == diffrax.RESULTS.successful, z, jnp.nan)
    # A method whose last stage is the next step's first needs one evaluation less.
    stages, reuse = method.tableau.num_stages, int(method.tableau.fsal)
    evaluations = found.stats["num_steps"] * (stages - reuse) + reuse
    volume = jnp.zeros(()) if in_time else _rescaling(coordinates, x)
    x1 = z if in_time else coordinates.end().scale * z
    unknown = jnp.full((), jnp.nan)
    return Solution(x1, gains, volume, evaluations.astype(jnp.float32), unknown)


def _rescaling(coordinates: Coordinates, x: Array) -> Scalar:
    """log |dx/dz| at t1 less that at t0."""
    return x.size * jnp.log(coordinates.end().scale / coordinates.start().scale)


def _combine(weights: Array, slopes: Array) -> Array:
    """sum_i w_i k_i, as sums and products: a matrix product may round to TF32."""
    return jnp.sum(weights.reshape(-1, *[1] * (slopes.ndim - 1)) * slopes, axis=0)
