"""Forward passes of U-Nets that others trained, ours beside torch, in turn.

    python benchmarks/foreign_unets.py --peer_python=PYTHON_WITH_DIFFUSERS

The peer's Python needs torch and diffusers; without `--peer_python` only ours is
measured. The weights are fresh: no time depends on them. Both sides have their own
process and are asked in turn, so that a busy machine slows both; numbers are medians
over the rounds, and the ratio is to the better of torch's on one thread (which suffers
least from neighbours) and on all cores. Writes benchmarks/results/foreign_unets.json.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from machine import machine

HERE = Path(__file__).resolve().parent

_PYTHON = flags.DEFINE_string("peer_python", "", "Python with torch and diffusers")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "timed calls of each case", 1)

GOOGLE = {
    **{"act_fn": "silu", "attention_head_dim": None, "downsample_padding": 0},
    **{"flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-6},
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", *["DownBlock2D"] * 2],
    "up_block_types": [*["UpBlock2D"] * 2, "AttnUpBlock2D", "UpBlock2D"],
    **{"sample_size": 32, "in_channels": 3, "out_channels": 3},
}
DEFAULT = {
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    **{"block_out_channels": [32, 64], "sample_size": 32, "in_channels": 3},
}
CASES = {
    "ddpm-cifar10-32 at a quarter of its width": {
        **GOOGLE,
        "block_out_channels": [32, 64, 64, 64],
    },
    "diffusers' defaults, 32 and 64 channels": DEFAULT,
}
BATCHES = (1, 16)

THEIRS = """
import json, sys, time, warnings
import torch
from diffusers import UNet2DModel
for line in sys.stdin:
    config, batch = json.loads(line)
    model = UNet2DModel(**config).eval()
    x = torch.randn(batch, 3, config["sample_size"], config["sample_size"])
    with torch.inference_mode():
        model(x, 3)
        print("ready", sum(p.numel() for p in model.parameters()), flush=True)
        while (threads := sys.stdin.readline().strip()) != "stop":
            torch.set_num_threads(int(threads))
            start = time.perf_counter()
            model(x, 3)
            print(time.perf_counter() - start, flush=True)
"""


class Theirs:
    """The peer's process."""

    def __init__(self, python: str):
        command = [python, "-c", THEIRS]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def ask(self, line: str) -> str:
        """The answer to one line; no answer is waited for after "stop"."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() if line != "stop" else ""


def ours(config: dict[str, Any], batch: int) -> tuple[Any, int]:
    """A call of our network, compiled, and its number of parameters."""
    import jax
    import jax.numpy as jnp

    from score_mia.device import jit
    from score_mia.interop.diffusers.unet2d import entry, shape
    from score_mia.networks import NETWORKS
    from score_mia.registry import make

    network = make("network", NETWORKS, entry(config)).build(shape(config))
    params = network.init(jax.random.key(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(batch, *shape(config))))
    given = (params, x.astype(jnp.float32), jnp.full((batch,), 3.0))
    apply = jit(network.apply)

    def call() -> float:
        start = time.perf_counter()
        jax.block_until_ready(apply(*given))
        return time.perf_counter() - start

    call()
    return call, sum(leaf.size for leaf in jax.tree.leaves(params))


def main(_: list[str]) -> None:
    """Measure and write."""
    told = machine()
    theirs = Theirs(_PYTHON.value) if _PYTHON.value else None
    results = []
    for name, config in CASES.items():
        for batch in BATCHES:
            call, count = ours(config, batch)
            row: dict[str, Any] = {"case": name, "batch": batch, "parameters": count}
            threads = {f"diffusers, {n} threads": n for n in (1, told["cores"])}
            times: dict[str, list[float]] = {k: [] for k in ("score_mia", *threads)}
            if theirs is not None:
                answer = theirs.ask(json.dumps([config, batch])).split()
                if answer[1:] != [str(count)]:
                    sys.exit(
                        f"{name}: theirs has {answer[1:]} parameters, ours {count}"
                    )
            for _ in range(_ROUNDS.value):
                times["score_mia"].append(call())
                if theirs is not None:
                    for side, count in threads.items():
                        times[side].append(float(theirs.ask(str(count))))
            medians = {k: statistics.median(v) for k, v in times.items() if v}
            row["seconds"] = {k: round(v, 5) for k, v in medians.items()}
            if theirs is not None:
                theirs.ask("stop")
                best = min(medians[side] for side in threads)
                row["ratio"] = round(best / medians["score_mia"], 2)
            results.append(row)
            print(json.dumps(row), flush=True)
    path = HERE / "results" / "foreign_unets.json"
    text = json.dumps({"machine": told, "rounds": _ROUNDS.value, "cases": results})
    path.write_text(json.dumps(json.loads(text), indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)
