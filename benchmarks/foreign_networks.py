"""Forward passes of networks that others trained, ours beside torch, in turn.

    python benchmarks/foreign_networks.py --peer_python=PYTHON_WITH_DIFFUSERS

The peer's Python needs torch, diffusers and transformers; without `--peer_python` only
ours is measured. The weights are fresh: no time depends on them. Both sides have their
own process and are asked in turn, so that a busy machine slows both; numbers are
medians over the rounds, and the ratio is to the better of torch's on one thread (which
suffers least from neighbours) and on all cores. Each family is a small one of its
kind. Writes benchmarks/results/foreign_networks.json.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from machine import machine
from peers import CLIP, DDPM, DIT, SD, TEXT, VAE, Theirs

HERE = Path(__file__).resolve().parent

_PYTHON = flags.DEFINE_string("peer_python", "", "Python with torch and diffusers")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "timed calls of each case", 1)
_ONLY = flags.DEFINE_list("only", [], "families; all if none is named")

CASES: dict[str, dict[str, Any]] = {
    "UNet2DModel": DDPM,
    "UNet2DConditionModel": SD,
    "CLIPTextModel": TEXT,
    "AutoencoderKL": VAE,
    "DiTTransformer2DModel": DIT,
    "CLIPVisionModel": CLIP,
}
"""The class of the peer -> its config; of the autoencoder, decoding is timed."""

BATCHES = (1, 16)

THEIRS = """
import json, sys, time
import diffusers, torch, transformers

def made(kind, config, folder):
    if kind.startswith("CLIP"):
        settings = getattr(transformers, kind.replace("Model", "Config"))(**config)
        model = getattr(transformers, kind)(settings)
        model.save_pretrained(folder)
        return model
    return getattr(diffusers, kind)(**config)

def given(kind, config, n):
    side = config.get("sample_size", 32)
    x = torch.randn(n, config.get("in_channels", 3), side, side)
    t = torch.full((n,), 3.0)
    if kind == "UNet2DModel":
        return lambda m: m(x, t)
    if kind == "UNet2DConditionModel":
        context = torch.randn(n, 77, config["cross_attention_dim"])
        return lambda m: m(x, t, context)
    if kind == "DiTTransformer2DModel":
        return lambda m: m(x, t.long(), torch.zeros(n, dtype=torch.long))
    if kind == "AutoencoderKL":
        latent = torch.randn(n, 4, 16, 16)
        return lambda m: m.decode(latent)
    if kind == "CLIPTextModel":
        tokens = torch.randint(3, 1000, (n, 77))
        return lambda m: m(tokens)
    pixels = torch.randn(n, 3, *[config["image_size"]] * 2)
    return lambda m: m(pixels)

for line in sys.stdin:
    kind, config, batch, folder = json.loads(line)
    model, call = made(kind, config, folder).eval(), given(kind, config, batch)
    with torch.inference_mode():
        call(model)
        print("ready", sum(p.numel() for p in model.parameters()), flush=True)
        while (threads := sys.stdin.readline().strip()) != "stop":
            torch.set_num_threads(int(threads))
            start = time.perf_counter()
            call(model)
            print(time.perf_counter() - start, flush=True)
"""


def _numbers(*shape: int) -> Any:
    import jax.numpy as jnp

    values = np.random.default_rng(0).standard_normal(shape)
    return jnp.asarray(values, jnp.float32)


def _network(entry: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[Any, Any]:
    import jax

    from score_mia.networks import NETWORKS
    from score_mia.registry import make

    network = make("network", NETWORKS, entry).build(shape)
    return network, network.init(jax.random.key(0))


def _unet2d(config: dict[str, Any], n: int, folder: str) -> tuple[Any, ...]:
    from score_mia.interop.diffusers.unet2d import entry, shape

    network, params = _network(entry(config), shape(config))
    return network.apply, params, _numbers(n, *shape(config)), _numbers(n)


def _unet(config: dict[str, Any], n: int, folder: str) -> tuple[Any, ...]:
    from score_mia.interop.diffusers.latent import text, told, unet

    words = text({**TEXT, "hidden_size": config["cross_attention_dim"]})
    network, params = _network(told(unet(config), words), (32, 32, 4))
    context = _numbers(n, 77, config["cross_attention_dim"])

    def apply(unet: Any, x: Any, t: Any, context: Any) -> Any:
        return network.apply({**params, "unet": unet}, x, t, context)

    return apply, params["unet"], _numbers(n, 32, 32, 4), _numbers(n), context


def _text(config: dict[str, Any], n: int, folder: str) -> tuple[Any, ...]:
    import jax.numpy as jnp

    from score_mia.interop.diffusers.latent import text, told, unet

    network, params = _network(told(unet(SD), text(config)), (32, 32, 4))

    def apply(words: Any, tokens: Any) -> Any:
        return network.embed({**params, "text": words}, tokens)

    return apply, params["text"], jnp.full((n, 77), 7, jnp.int32)


def _vae(config: dict[str, Any], n: int, folder: str) -> tuple[Any, ...]:
    import jax

    from score_mia.interop.diffusers.latent import vae
    from score_mia.registry import make
    from score_mia.spec import CODECS

    codec = make("codec", CODECS, vae(config))
    decode = jax.vmap(codec.decode, in_axes=(None, 0))
    return decode, codec.init(jax.random.key(0)), _numbers(n, 16, 16, 4)


def _dit(config: dict[str, Any], n: int, folder: str) -> tuple[Any, ...]:
    import jax.numpy as jnp

    from score_mia.interop.diffusers.dit import entry

    network, params = _network(entry(config), (32, 32, 4))
    labels = jnp.zeros(n, jnp.int32)
    return network.apply, params, _numbers(n, 32, 32, 4), _numbers(n), labels


def _vit(config: dict[str, Any], n: int, folder: str) -> tuple[Any, ...]:
    import jax
    import jax.numpy as jnp

    from score_mia.encoders import ViT

    encoder = ViT(folder)
    params = jax.tree.map(jnp.asarray, encoder.params(3))
    side = config["image_size"]
    return encoder.encoded, params, _numbers(n, side, side, 3)


OURS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "UNet2DModel": _unet2d,
    "UNet2DConditionModel": _unet,
    "CLIPTextModel": _text,
    "AutoencoderKL": _vae,
    "DiTTransformer2DModel": _dit,
    "CLIPVisionModel": _vit,
}


def ours(kind: str, batch: int, folder: str) -> tuple[Callable[[], float], int]:
    """A call of our network, compiled, and its number of parameters."""
    import jax

    from score_mia.device import jit

    apply, *given = OURS[kind](CASES[kind], batch, folder)
    program = jit(apply)

    def call() -> float:
        start = time.perf_counter()
        jax.block_until_ready(program(*given))
        return time.perf_counter() - start

    call()
    return call, sum(leaf.size for leaf in jax.tree.leaves(given[0]))


def main(_: list[str]) -> None:
    """Measure and write."""
    told = machine()
    theirs = Theirs(_PYTHON.value, THEIRS) if _PYTHON.value else None
    results = []
    for kind in _ONLY.value or CASES:
        for batch in BATCHES:
            with tempfile.TemporaryDirectory() as folder:
                results.append(measured(kind, batch, folder, theirs, told["cores"]))
            print(json.dumps(results[-1]), flush=True)
    path = HERE / "results" / "foreign_networks.json"
    text = json.dumps({"machine": told, "rounds": _ROUNDS.value, "cases": results})
    path.write_text(json.dumps(json.loads(text), indent=2) + "\n")


def measured(
    kind: str, batch: int, folder: str, theirs: Theirs | None, cores: int
) -> dict[str, Any]:
    """Medians of one case, and the ratio."""
    threads = {f"torch, {n} threads": n for n in (1, cores)}
    times: dict[str, list[float]] = {k: [] for k in ("score_mia", *threads)}
    answer = []
    if theirs is not None:  # first: it writes the folder
        asked = json.dumps([kind, CASES[kind], batch, folder])
        answer = theirs.ask(asked).split()
    call, count = ours(kind, batch, folder)
    row: dict[str, Any] = {"case": kind, "batch": batch, "parameters": count}
    if answer and answer[1:] != [str(count)]:
        sys.exit(f"{kind}: theirs has {answer[1:]} parameters, ours {count}")
    for _ in range(_ROUNDS.value):
        times["score_mia"].append(call())
        if theirs is not None:
            for side, number in threads.items():
                times[side].append(float(theirs.ask(str(number))))
    medians = {k: statistics.median(v) for k, v in times.items() if v}
    row["seconds"] = {k: round(v, 5) for k, v in medians.items()}
    if theirs is not None:
        theirs.ask("stop")
        best = min(medians[side] for side in threads)
        row["ratio"] = round(best / medians["score_mia"], 2)
    return row


if __name__ == "__main__":
    app.run(main)
