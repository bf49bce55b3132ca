"""Derive models/dit: a tiny folder of diffusers' DiTPipeline, and what it computes.

Run with diffusers 0.42.1, torch 2.13.0 (CPU) and safetensors 0.8.0, from the
repository's root:

    python tests/golden/derive/dit.py

The npz beside the folder holds x, times, classes and the network's outputs (the mean's
channels), one DDIM step from 500 to 400 guided by 4, and one Euler step of their
flow-matching scheduler (shift 1 and 3), the output taken for a velocity. Weights are
drawn anew, so that every one matters, in half precision; the last layer is scaled
so that the output's RMS is .5.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
)

MODELS = Path(__file__).parents[1] / "models"
TIMES = (0, 1, 37, 500, 999)
CLASSES = (0, 3, 4, 2, 5)  # the last is none
NULL = 5
SEED = 40


def fill(model: torch.nn.Module, seed: int) -> None:
    """Weights whose every entry matters, the same on every machine."""
    draws = np.random.RandomState(seed)
    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape)
        fan = max(1, int(np.prod(shape[1:])))
        value = draws.standard_normal(shape) * (fan**-0.5 if len(shape) > 1 else 0.3)
        if name.endswith("weight") and len(shape) == 1:
            value = 1.0 + value  # of a normalisation
        parameter.data = torch.from_numpy(value.astype(np.float32))


def made() -> tuple[DiTTransformer2DModel, AutoencoderKL]:
    transformer = DiTTransformer2DModel(
        sample_size=16,
        num_layers=2,
        patch_size=4,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        num_embeds_ada_norm=NULL,
        norm_eps=1e-4,
    )
    vae = AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=32,
    )
    fill(transformer, SEED)
    fill(vae, SEED + 1)
    return transformer.eval(), vae.eval()


def main() -> None:
    """Write the folder and its numbers."""
    torch.set_num_threads(1)
    transformer, vae = made()
    draws = np.random.RandomState(SEED + 2)
    x = torch.from_numpy(draws.standard_normal((5, 4, 16, 16)).astype(np.float32))
    times = torch.tensor(TIMES)

    def network(x, times, classes):
        with torch.no_grad():
            told = {"timestep": times, "class_labels": torch.tensor(classes)}
            return transformer(x, **told).sample[:, :4]

    rms = float(network(x, times, CLASSES).square().mean().sqrt())
    transformer.proj_out_2.weight.data *= 0.5 / rms
    transformer.proj_out_2.bias.data *= 0.5 / rms
    transformer.half().float()
    vae.half().float()
    y, free = network(x, times, CLASSES), network(x, times, [NULL] * 5)
    ddim = DDIMScheduler(
        beta_start=1e-4, beta_end=0.02, clip_sample=False, set_alpha_to_one=False
    )
    ddim.set_timesteps(10)
    guided = free[3:4] + 4.0 * (y[3:4] - free[3:4])
    step = ddim.step(guided, 500, x[3:4]).prev_sample
    arrays = {"x": x, "y": y, "ddim": step}
    for shift in (1, 3):
        flow = FlowMatchEulerDiscreteScheduler(shift=shift)
        flow.set_timesteps(10)
        moved = flow.step(y[3:4], flow.timesteps[4], x[3:4]).prev_sample
        arrays |= {f"flow{shift}": moved, f"sigmas{shift}": flow.sigmas}
    folder = MODELS / "dit"
    shutil.rmtree(folder, ignore_errors=True)
    DiTPipeline(transformer.half(), vae.half(), ddim).save_pretrained(folder)
    np.savez_compressed(
        MODELS / "dit.npz",
        times=np.asarray(TIMES),
        classes=np.asarray(CLASSES),
        **{name: value.numpy() for name, value in arrays.items()},
    )


if __name__ == "__main__":
    main()
