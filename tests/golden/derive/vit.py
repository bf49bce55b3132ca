"""Writes tests/golden/models/vit/*: tiny image encoders, with transformers.

    python tests/golden/derive/vit.py

Run with torch 2.13.0, transformers 5.24.0. Weights are random and large enough.
"""

from pathlib import Path

import numpy as np
import torch
from transformers import (
    BeitConfig,
    BeitModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    DeiTConfig,
    DeiTModel,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTModel,
)

OUT = Path(__file__).parents[1] / "models"
SIZES = {
    "hidden_size": 12,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "image_size": 16,
    "patch_size": 4,
}
MADE = {
    "clip": (
        CLIPVisionModelWithProjection,
        CLIPVisionConfig(**SIZES, intermediate_size=20, projection_dim=10),
    ),
    "vit": (ViTModel, ViTConfig(**SIZES, intermediate_size=20)),
    "deit": (DeiTModel, DeiTConfig(**SIZES, intermediate_size=20)),
    "dinov2": (Dinov2Model, Dinov2Config(**SIZES, mlp_ratio=2)),
    "dinov2_gated": (
        Dinov2Model,
        Dinov2Config(**SIZES, mlp_ratio=2, use_swiglu_ffn=True),
    ),
    # As microsoft/beit-base-patch16-224 is: a table in each layer, the patches' mean.
    "beit": (
        BeitModel,
        BeitConfig(**SIZES, intermediate_size=20, use_relative_position_bias=True),
    ),
    "beit_shared": (
        BeitModel,
        BeitConfig(
            **SIZES,
            intermediate_size=20,
            use_shared_relative_position_bias=True,
            use_absolute_position_embeddings=True,
            use_mean_pooling=False,
            layer_scale_init_value=0.0,
        ),
    ),
}


def main():
    x = torch.tensor(np.random.default_rng(0).standard_normal((3, 3, 16, 16)))
    numbers = {"x": x.float().movedim(1, -1).numpy()}
    for name, (kind, config) in MADE.items():
        torch.manual_seed(1)
        model = kind(config).eval()
        with torch.no_grad():
            for key, p in model.named_parameters():
                noise = torch.randn(p.shape)
                one = (key.endswith("weight") and p.ndim == 1) or "lambda" in key
                wide = (
                    noise * 1.2 / np.sqrt(p[0].numel()) if p.ndim > 1 else 0.2 * noise
                )
                p.copy_(1 + 0.2 * noise if one else wide)
            out = model(pixel_values=x.float(), output_hidden_states=True)
        states = out.last_hidden_state
        numbers[f"{name}_states"] = states.numpy()
        if name == "clip":
            numbers["clip_pooled"] = out.image_embeds.numpy()
        if name.startswith("beit"):
            numbers[f"{name}_pooled"] = out.pooler_output.numpy()
        model.save_pretrained(OUT / "vit" / name, safe_serialization=True)
        print(name, float(states.std()))
    np.savez_compressed(OUT / "vit.npz", **numbers)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
