"""Derive models/unet2d_*: tiny folders of diffusers' UNet2DModel, and what they say.

Run with diffusers 0.42.1, torch 2.13.0 (CPU) and safetensors 0.8.0, from the
repository's root:

    python tests/golden/derive/unet2d.py

A folder is what `save_pretrained` writes. The npz beside it holds x, times, classes,
the network's outputs, and one step of their DDIM (from 500 to 400). Weights are drawn
anew, so that every one of them matters, and the last layer is scaled so that the
output's RMS is .5.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel

MODELS = Path(__file__).parents[1] / "models"
ATTENDING = {
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}
SMALL = {
    **{"sample_size": 8, "block_out_channels": (8, 16), "layers_per_block": 1},
    **{"norm_num_groups": 4, **ATTENDING},
}
GOOGLE = {  # as google/ddpm-cifar10-32 has them
    **{"flip_sin_to_cos": False, "freq_shift": 1, "downsample_padding": 0},
    **{"attention_head_dim": None, "norm_eps": 1e-6},
}
RESNET = {
    "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
}
CASES = {
    "google": {**SMALL, **GOOGLE, "layers_per_block": 2},
    "default": {**SMALL, "attention_head_dim": 4},
    "classes": {
        **{**SMALL, "num_class_embeds": 5, "attention_head_dim": 6},
        **{"resnet_time_scale_shift": "scale_shift", "time_embedding_dim": 24},
    },
    "resnet": {
        **{**SMALL, **RESNET, "block_out_channels": (4, 8, 12)},
        **{"downsample_type": "resnet", "upsample_type": "resnet"},
        **{"attention_head_dim": 8, "add_attention": False, "in_channels": 1},
        **{"out_channels": 2, "center_input_sample": True},
    },
    "hollow": {
        **{**SMALL, **GOOGLE, "mid_block_type": None, "sample_size": (4, 8)},
        "dropout": 0.3,
    },
}
TIMES = (0, 1, 37, 500, 999)
SEED = 20


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


def outputs(model: UNet2DModel, x: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """What the network says of each row."""
    told = {"class_labels": classes} if model.class_embedding is not None else {}
    with torch.no_grad():
        return model(x, torch.tensor(TIMES), **told).sample


def main() -> None:
    """Write all folders."""
    torch.set_num_threads(1)
    for seed, (name, config) in enumerate(CASES.items(), SEED):
        model = UNet2DModel(**config).eval()
        fill(model, seed)
        draws = np.random.RandomState(seed + 1000)
        size = config["sample_size"]
        sizes = (size, size) if isinstance(size, int) else size
        shape = (len(TIMES), model.config.in_channels, *sizes)
        x = torch.from_numpy(draws.standard_normal(shape).astype(np.float32))
        classes = torch.from_numpy(draws.randint(0, 5, len(TIMES)))
        rms = float(outputs(model, x, classes).square().mean().sqrt())
        model.conv_out.weight.data *= 0.5 / rms
        model.conv_out.bias.data *= 0.5 / rms
        if name != "google":  # kept in half precision, of which the outputs are
            model = model.half().float()
        y = outputs(model, x, classes)
        folder = MODELS / f"unet2d_{name}"
        shutil.rmtree(folder, ignore_errors=True)
        stored = model if name == "google" else model.half()
        pipeline = DDPMPipeline(stored, DDPMScheduler(clip_sample=False))
        pipeline.save_pretrained(folder)
        ddim = DDIMScheduler(clip_sample=False)
        ddim.set_timesteps(10)  # from 500 to 400
        step = ddim.step(y[3:4, : shape[1]], 500, x[3:4]).prev_sample
        np.savez_compressed(
            MODELS / f"unet2d_{name}.npz",
            **{"x": x.numpy(), "times": np.asarray(TIMES), "classes": classes.numpy()},
            **{"y": y.numpy(), "ddim": step.numpy()},
        )


if __name__ == "__main__":
    main()
