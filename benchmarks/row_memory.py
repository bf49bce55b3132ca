"""What a row takes of a device's memory on Stable Diffusion 1.5, without its weights.

    python benchmarks/row_memory.py [loss] [gsa] [likelihood] [--rows=1] [--chunk=0]

The full-size network is lowered from shapes and compiled for the CPU; nothing is
allocated and nothing runs, but each program takes minutes to compile. The figures are
those of XLA's buffer assignment: what goes in, what comes out, and the most that lives
in between. Other platforms fuse otherwise and keep workspaces of their own: an
accelerator may need less (flash attention) or more (convolutions). Prints a table and
adds to benchmarks/results/row_memory.json.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

# Machine code is not looked at: no time is spent on its quality.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
)

import jax
import jax.numpy as jnp
from absl import app, flags

from score_mia.attacks import Gsa, Likelihood, Loss
from score_mia.attacks.protocol import Query, Reading
from score_mia.conditions import OWN
from score_mia.files import save_json
from score_mia.spec import parts
from score_mia.views import view

RESULT = Path(__file__).resolve().parent / "results" / "row_memory.json"

_ROWS = flags.DEFINE_integer("rows", 1, "images at once", 1)
_CHUNK = flags.DEFINE_integer("chunk", 0, "queries of attention at a time; 0 for all")
_OUTPUT = flags.DEFINE_string("output", str(RESULT), "file for the result")

SHAPE = (512, 512, 3)
SIGNALS = {
    "loss": Loss(times=(100.0,), chunk=1),
    "gsa": Gsa(times=2),
    "likelihood": Likelihood(probes=1, evaluations=4),
}
"""More times or evaluations take more time and no more memory: they are loops."""


def spec(chunk: int) -> dict[str, Any]:
    """Stable Diffusion 1.5; every default is its."""
    return {
        "network": {"name": "text_unet", "unet": {"attention_chunk": chunk}},
        "sde": {"name": "ddpm", "beta_min": 0.85, "beta_max": 12.0},
        "parameterisation": {"name": "noise"},
        "codec": {"name": "kl"},
        "shape": list(SHAPE),
    }


def measured(name: str, rows: int, chunk: int) -> dict[str, Any]:
    """Bytes of one signal's program."""
    signal, p = SIGNALS[name], parts(spec(chunk))
    tree = jax.eval_shape(p.init, jax.random.key(0))
    target = jax.eval_shape(p.target, tree)

    def row(target: Any, image: Any, tokens: Any, key: Any) -> Any:
        query = Query(image, {OWN: tokens}, key, key)
        seen = view(target, signal.access)
        return Reading(*signal(seen, query)).flat()

    program = jax.jit(jax.vmap(row, (None, 0, 0, 0)))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), rows))
    images = jax.ShapeDtypeStruct((rows, *SHAPE), jnp.float32)
    tokens = jax.ShapeDtypeStruct((rows, 77), jnp.int32)
    began = time.perf_counter()
    lowered = program.lower(target, images, tokens, keys)
    middle = time.perf_counter()
    found = lowered.compile().memory_analysis()
    weights = sum(4 * leaf.size for leaf in jax.tree.leaves(tree))
    return {
        "signal": repr(signal),
        "rows": rows,
        "attention_chunk": chunk,
        "weights": weights,
        "between": found.temp_size_in_bytes,
        "out": found.output_size_in_bytes,
        "lowering_seconds": round(middle - began, 1),
        "compiling_seconds": round(time.perf_counter() - middle, 1),
    }


def main(arguments: list[str]) -> None:
    """Print and keep the figures of the signals that are named."""
    path = Path(_OUTPUT.value)
    kept = json.loads(path.read_text()) if path.exists() else {"jax": jax.__version__}
    for name in arguments[1:] or SIGNALS:
        rows, chunk = _ROWS.value, _CHUNK.value
        made = measured(name, rows, chunk)
        kept[f"{name}, {rows} rows, chunk {chunk}"] = made
        gib = {n: made[n] / 2**30 for n in ("weights", "between", "out")}
        print(name, *(f"{n} {g:.2f} GiB" for n, g in gib.items()), sep="  ", flush=True)
        save_json(path, kept)


if __name__ == "__main__":
    app.run(main)
