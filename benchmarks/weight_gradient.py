"""The weight gradient of a 3x3 convolution in several equal forms, on CPU.

    python benchmarks/weight_gradient.py       # writes results/weight_gradient.json

Training on CPU is bound by it (docs/performance.md). Each form is checked against the
first. They take turns in a random order, each after an untimed call, since who comes
after a form of large arrays pays for its caches; numbers are medians over the rounds,
in milliseconds.

    xla           what the house uses: XLA's own, by Eigen
    halves, 4     the batch in parts, whose gradients are added up
    swapped       image and gradient exchanged, so that the narrower one is unfolded
    by channels   input channels in two parts
    unfolded      im2col and one product
    nine          a product for each place of the kernel
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jaxtyping import Array
from machine import machine

from score_mia import device
from score_mia.files import save_json
from score_mia.networks.convolution import convolve

RESULT = Path(__file__).resolve().parent / "results" / "weight_gradient.json"
SHAPES = ((32, 32, 32), (32, 64, 32), (16, 64, 64), (16, 128, 64), (8, 64, 64))
"""Pixels a side, channels in, channels out."""

_ROUNDS = flags.DEFINE_integer("rounds", 30, "timed rounds", 1)
_BATCH = flags.DEFINE_integer("batch", 32, "images", 4)
_SMOKE = flags.DEFINE_bool("smoke", False, "one round; writes nothing")
_OUTPUT = flags.DEFINE_string("output", str(RESULT), "file for the result")

Form = Callable[[Array, Array], Array]
"""From images [b, h, w, i] and gradients [b, h, w, o] to that of the kernel."""


def xla(x: Array, g: Array) -> Array:
    """The transpose that JAX derives."""
    kernel = jnp.zeros((3, 3, x.shape[-1], g.shape[-1]))
    pull = jax.vjp(lambda k: convolve(x, k, 1, (1, 1), "direct"), kernel)[1]
    return pull(g)[0]


def parts(count: int) -> Form:
    """The sum over parts of the batch."""

    def form(x: Array, g: Array) -> Array:
        return sum(map(xla, jnp.split(x, count), jnp.split(g, count)))

    return form


def swapped(x: Array, g: Array) -> Array:
    """As the gradient of a kernel that is turned round."""
    return xla(g, x)[::-1, ::-1].transpose(0, 1, 3, 2)


def by_channels(x: Array, g: Array) -> Array:
    """Of two parts of the input channels."""
    return jnp.concatenate([xla(half, g) for half in jnp.split(x, 2, -1)], 2)


def shifted(x: Array) -> list[Array]:
    """What lies under each place of the kernel."""
    h, w = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return [padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]


def unfolded(x: Array, g: Array) -> Array:
    """One product of all that is under the kernel."""
    wide = jnp.concatenate(shifted(x), -1).reshape(-1, 9 * x.shape[-1])
    return (wide.T @ g.reshape(-1, g.shape[-1])).reshape(3, 3, x.shape[-1], -1)


def nine(x: Array, g: Array) -> Array:
    """A product for each place."""
    flat, narrow = g.reshape(-1, g.shape[-1]), x.shape[-1]
    each = [one.reshape(-1, narrow).T @ flat for one in shifted(x)]
    return jnp.stack(each).reshape(3, 3, narrow, -1)


FORMS: dict[str, Form] = {
    "xla": xla,
    "halves": parts(2),
    "4": parts(4),
    "swapped": swapped,
    "by channels": by_channels,
    "unfolded": unfolded,
    "nine": nine,
}


def measure(side: int, inside: int, outside: int, rounds: int) -> dict[str, float]:
    """Milliseconds of each form."""
    random = np.random.default_rng(0)
    shapes = [(_BATCH.value, side, side, n) for n in (inside, outside)]
    given = [jnp.asarray(random.standard_normal(s), jnp.float32) for s in shapes]
    programs = {name: device.jit(form) for name, form in FORMS.items()}
    first = np.asarray(programs["xla"](*given))
    for name, program in programs.items():
        error = np.abs(np.asarray(program(*given)) - first).max() / np.abs(first).max()
        assert error < 1e-4, (name, error)
    times: dict[str, list[float]] = {name: [] for name in FORMS}
    for _ in range(rounds):
        for name in random.permutation([*FORMS]):
            programs[name](*given).block_until_ready()  # what came before is forgotten
            start = time.perf_counter()
            programs[name](*given).block_until_ready()
            times[name].append(time.perf_counter() - start)
    return {n: round(1e3 * statistics.median(t), 2) for n, t in times.items()}


def main(_: list[str]) -> None:
    found, rounds = {}, 1 if _SMOKE.value else _ROUNDS.value
    about = {"machine": machine(), "batch": _BATCH.value, "rounds": rounds}
    for side, inside, outside in SHAPES[-1:] if _SMOKE.value else SHAPES:
        name = f"{side}x{side}, {inside} to {outside}"
        found[name] = measure(side, inside, outside, rounds)
        print(name, found[name], flush=True)
    if not _SMOKE.value:
        save_json(_OUTPUT.value, {**about, "milliseconds": found})


if __name__ == "__main__":
    app.run(main)
