"""What the engine costs beside the bare calls of the same program, in turn.

    python benchmarks/engine.py            # writes benchmarks/results/engine.json
    python benchmarks/engine.py --smoke

A cheap signal (one evaluation of a small mlp on 8x8 images), so that nothing hides what
is not the signal. "bare" calls the signal's own `jit(vmap)` on tiles that lie on the
device already, and waits for the last; "collect" is the whole engine: images by id,
keys, transfers, progress, files. They take turns, so that a busy machine slows both;
numbers are medians over the rounds, of wall-clock time and of the process's CPU time.
"overhead" is the median of the rounds' differences.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags
from cheap import SPEC, Cheap, Digits
from machine import machine

from score_mia import device
from score_mia.attacks.protocol import Query, Reading
from score_mia.engine import Reader, collect
from score_mia.files import save_json
from score_mia.spec import parts
from score_mia.tiles import Engine, row_key

RESULT = Path(__file__).resolve().parent / "results" / "engine.json"

_ROUNDS = flags.DEFINE_integer("rounds", 9, "timed rounds of each tile size", 1)
_ROWS = flags.DEFINE_integer("rows", 16384, "images a round", 1)
_TILES = flags.DEFINE_list("tiles", ["16", "64", "256"], "rows of a call")
_SHARD = flags.DEFINE_integer("shard", 4096, "rows of a file", 1)
_SMOKE = flags.DEFINE_bool("smoke", False, "one round of few images; writes nothing")
_OUTPUT = flags.DEFINE_string("output", str(RESULT), "file for the result")


def bare(reader: Reader, ids: np.ndarray) -> Callable[[], None]:
    """Calls the signal's program on tiles that are on the device."""

    def row(model: Any, image: Any, high: Any, low: Any, seed: Any) -> Any:
        key = row_key(seed, high, low)
        return Reading(*reader.signal(model, Query(image, {}, key, seed), ())).flat()

    program = device.jit(jax.vmap(row, in_axes=(None, 0, 0, 0, None)))
    model = jax.device_put(reader.view)
    key = jax.random.key(reader.seed)
    tiles = []
    for start in range(0, len(ids), reader.tile):
        block = ids[start : start + reader.tile]
        high, low = (block >> 32).astype(np.uint32), block.astype(np.uint32)
        tiles.append(jax.device_put((reader.source.images(block), high, low)))

    def call() -> None:
        for tile in tiles:
            last = program(model, *tile, key)
        last.block_until_ready()

    return call


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of the clock, and of the process on all cores."""
    clock, spent = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - clock, time.process_time() - spent


def measure(tile: int, rows: int, rounds: int) -> dict[str, Any]:
    """Of one tile size, microseconds a row."""
    p = parts(SPEC)
    target = p.target(p.init(jax.random.key(0)))
    engine = Engine(tile=tile, shard=_SHARD.value, devices=1)
    reader = Reader("cheap", Cheap(), target, Digits(rows), 7, engine)
    ids = np.arange(rows)
    alone, times = bare(reader, ids), []

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            collect(reader, ids, folder)

    for _ in range(rounds + 1):  # the first compiles
        times.append((timed(alone), timed(whole)))
    clock, spent = (
        [(b[k] * 1e6 / rows, w[k] * 1e6 / rows) for b, w in times[1:]] for k in (0, 1)
    )
    return {
        name: {
            "bare": round(statistics.median(b for b, _ in pairs), 2),
            "collect": round(statistics.median(w for _, w in pairs), 2),
            "overhead": round(statistics.median(w - b for b, w in pairs), 2),
            "ratio": round(statistics.median(w / b for b, w in pairs), 2),
        }
        for name, pairs in (("wall", clock), ("cpu", spent))
    }


def main(_: list[str]) -> None:
    device.cache_compilations()
    rows, rounds = (512, 1) if _SMOKE.value else (_ROWS.value, _ROUNDS.value)
    tiles = [int(tile) for tile in _TILES.value]
    result = {
        "machine": machine(),
        "case": "mlp 8x8, one evaluation a row",
        "rows": rows,
        "rounds": rounds,
        "rows_a_file": _SHARD.value,
        "microseconds_a_row": {str(t): measure(t, rows, rounds) for t in tiles},
    }
    for tile, found in result["microseconds_a_row"].items():
        print(f"tile {tile}: {found}")
    if not _SMOKE.value:
        save_json(_OUTPUT.value, result)


if __name__ == "__main__":
    app.run(main)
