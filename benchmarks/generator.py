"""Images of a text-to-image model: ours beside torch's pipeline, in turn.

    python benchmarks/generator.py --peer_python=PYTHON_WITH_DIFFUSERS

What a black-box attack asks for: images for prompts, with guidance. The peer makes a
small Stable Diffusion of random weights, writes it as diffusers does, and draws with
its own pipeline; ours reads that folder. Both draw the same prompts by as many steps of
DDIM, in turn; medians over the rounds, torch's on one thread and on all cores. Writes
benchmarks/results/generator.json.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from machine import machine
from peers import SD, TEXT, VAE, Theirs

HERE = Path(__file__).resolve().parent
TOKENS = HERE.parent / "tests" / "golden" / "models" / "sd1" / "tokenizer"

_PYTHON = flags.DEFINE_string("peer_python", None, "with diffusers", required=True)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "timed calls", 1)
_BATCH = flags.DEFINE_integer("batch", 4, "prompts of a call", 1)
_STEPS = flags.DEFINE_integer("steps", 20, "of DDIM", 2)
GUIDANCE = 7.5

MAKE = """
import json, sys, time
import torch, transformers
from diffusers import (AutoencoderKL, DDIMScheduler, StableDiffusionPipeline,
                       UNet2DConditionModel)

sd, text, vae, tokens, folder, batch, steps, guidance = json.loads(sys.stdin.readline())
torch.manual_seed(0)
words = transformers.CLIPTextConfig(**text)
pipe = StableDiffusionPipeline(
    vae=AutoencoderKL(**vae), unet=UNet2DConditionModel(**sd),
    text_encoder=transformers.CLIPTextModel(words),
    tokenizer=transformers.CLIPTokenizerFast.from_pretrained(tokens),
    scheduler=DDIMScheduler(beta_start=0.00085, beta_end=0.012, clip_sample=False,
                            beta_schedule="scaled_linear", set_alpha_to_one=False,
                            steps_offset=1),
    safety_checker=None, feature_extractor=None, requires_safety_checker=False)
pipe.set_progress_bar_config(disable=True)
pipe.save_pretrained(folder)
prompts = [f"a picture of {i}" for i in range(batch)]
print("ready", flush=True)
while (threads := sys.stdin.readline().strip()) != "stop":
    torch.set_num_threads(int(threads))
    start = time.perf_counter()
    pipe(prompts, num_inference_steps=steps, guidance_scale=guidance, output_type="np")
    print(time.perf_counter() - start, flush=True)
"""


def ours(folder: str):
    """A call that draws as many images."""
    import score_mia
    from score_mia.sampling import Ddim, Service

    target = score_mia.load(folder)
    sampler, batch = Ddim(steps=_STEPS.value), _BATCH.value
    shape = (128, 128, 3)
    service = Service(sampler, target.conditioner, shape, batch, GUIDANCE)
    prompts = [f"a picture of {i}" for i in range(batch)]
    generator = service.of(target.denoiser)
    return lambda: generator.draw(prompts, np.arange(batch))


def main(_):
    text = {**TEXT, "hidden_size": SD["cross_attention_dim"]}
    with tempfile.TemporaryDirectory() as folder:
        theirs = Theirs(_PYTHON.value, MAKE)
        how = (str(TOKENS), folder, _BATCH.value, _STEPS.value, GUIDANCE)
        assert theirs.ask(json.dumps([SD, text, VAE, *how])).strip() == "ready"
        draw = ours(folder)
        draw()
        times = {"score_mia": [], "torch, one thread": [], "torch, all cores": []}
        for _ in range(_ROUNDS.value):
            start = time.perf_counter()
            draw()
            times["score_mia"].append(time.perf_counter() - start)
            for name, threads in (("one thread", 1), ("all cores", os.cpu_count())):
                times[f"torch, {name}"].append(float(theirs.ask(str(threads))))
        theirs.ask("stop")
    medians = {name: statistics.median(t) for name, t in times.items()}
    best = min(t for name, t in medians.items() if name != "score_mia")
    told = {
        "machine": machine(),
        "images": _BATCH.value,
        "steps": _STEPS.value,
        "guidance": GUIDANCE,
        "images_per_second": {n: _BATCH.value / t for n, t in medians.items()},
        "ratio_to_best_torch": best / medians["score_mia"],
    }
    path = HERE / "results" / "generator.json"
    path.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    app.run(main)
