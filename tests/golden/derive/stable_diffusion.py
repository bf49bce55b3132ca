"""Writes tests/golden/models/{sd1,sd2} and their numbers, with diffusers.

    python tests/golden/derive/stable_diffusion.py

Run with torch 2.13.0, diffusers 0.42.1, transformers 5.24.0, and the vocabulary of
clip-anytorch 2.6.0. Weights are random, enlarged until every output counts.
"""

import gzip
import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

OUT = Path(__file__).parents[1] / "models"
PROMPTS = ["A photo of a cat!", "two  dogs,\ton the beach; it's 10 o'clock", ""]
MERGES = 486


def tokenizer(folder, pad):
    """CLIP's vocabulary, cut after its first merges: 1,000 tokens."""
    package = importlib.util.find_spec("clip").submodule_search_locations[0]
    with gzip.open(Path(package) / "bpe_simple_vocab_16e6.txt.gz", "rt") as file:
        merges = file.read().split("\n")[1 : 1 + MERGES]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(rest))]
    words = [*letters, *(c + "</w>" for c in letters)]
    words += ["".join(m.split()) for m in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"pad_token": pad, "unk_token": "<|endoftext|>"})
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "CLIPTokenizer",
                "model_max_length": 77,
                "pad_token": pad,
                "bos_token": "<|startoftext|>",
                "eos_token": "<|endoftext|>",
                "unk_token": "<|endoftext|>",
            }
        )
    )
    made = CLIPTokenizer.from_pretrained(str(folder))
    assert made.vocab_size == 1000, made.vocab_size
    return made


def enlarge(module, seed):
    """Random weights of a size at which no layer's output is lost."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.ndim > 1:
                p.copy_(noise * 1.2 / np.sqrt(p[0].numel()))
            elif name.endswith("weight"):
                p.copy_(1 + 0.2 * noise)
            else:
                p.copy_(0.2 * noise)
            p.copy_(p.half().float())
    return module.eval()


def pipeline(kind, folder):
    torch.manual_seed(0)
    two = kind == "sd2"
    unet = dict(
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        cross_attention_dim=8,
        attention_head_dim=2,
    )
    text = dict(hidden_size=8, intermediate_size=16, num_attention_heads=2)
    text |= dict(num_hidden_layers=2)
    if two:
        unet = dict(
            block_out_channels=(16, 32),
            layers_per_block=2,
            norm_num_groups=8,
            cross_attention_dim=16,
            attention_head_dim=(2, 4),
            use_linear_projection=True,
        )
        text = dict(hidden_size=16, intermediate_size=21, num_attention_heads=4)
        text |= dict(num_hidden_layers=3, hidden_act="gelu", projection_dim=32)
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        **unet,
    )
    vae = AutoencoderKL(
        block_out_channels=(4, 8),
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=2,
        scaling_factor=0.3 if two else 0.18215,
    )
    with tempfile.TemporaryDirectory() as place:
        tokens = tokenizer(Path(place), "!" if two else "<|endoftext|>")
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=1000,
            bos_token_id=998,
            eos_token_id=999,
            pad_token_id=0 if two else 999,
            max_position_embeddings=77,
            **text,
        )
    )
    for seed, module in enumerate((unet, vae, encoder)):
        enlarge(module, seed)
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction" if two else "epsilon",
    )
    pipe = StableDiffusionPipeline(
        vae, encoder, tokens, unet, scheduler, None, None, requires_safety_checker=False
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    # Files in half precision, as published ones are; the numbers are exact in it.
    for part in (unet, vae, encoder):
        name = {id(unet): "unet", id(vae): "vae"}.get(id(part), "text_encoder")
        part.half().save_pretrained(folder / name, safe_serialization=True)
        part.float()
    return pipe


def numbers(pipe):
    random = np.random.default_rng(3)

    def draw(*shape):
        return torch.tensor(random.standard_normal(shape), dtype=torch.float32)

    out = {}
    ids = pipe.tokenizer(
        PROMPTS, padding="max_length", max_length=77, truncation=False
    ).input_ids
    out["tokens"] = np.asarray(ids)
    context = pipe.text_encoder(torch.tensor(ids))[0]
    out["context"] = context
    x, t = draw(3, 4, 16, 16), torch.tensor([3.0, 400.0, 950.0])
    out |= {"x": x, "t": t, "unet": pipe.unet(x, t, context).sample}
    image = torch.tensor(random.random((2, 3, 32, 32)), dtype=torch.float32)
    law = pipe.vae.encode(2 * image - 1).latent_dist
    out |= {"image": image, "mean": law.mean, "logvar": law.logvar}
    latent = draw(2, 4, 16, 16)
    out |= {"latent": latent, "decoded": pipe.vae.decode(latent).sample}
    # One guided DDIM step (7.5) of the first prompt, from t = 401 with 10 steps.
    pipe.scheduler.set_timesteps(10)
    step = pipe.scheduler.timesteps[5]
    known = pipe.unet(x[:1], step, context[:1]).sample
    free = pipe.unet(x[:1], step, context[2:]).sample
    guided = free + 7.5 * (known - free)
    out["ddim_t"] = np.asarray([int(v) for v in pipe.scheduler.timesteps])
    out["ddim_step"] = pipe.scheduler.step(guided, step, x[:1]).prev_sample
    # Losses of one noise, per step.
    noise, times = draw(1, 4, 16, 16), torch.tensor([10, 300, 700])
    clean = law.mean[:1] * pipe.vae.config.scaling_factor
    noisy = pipe.scheduler.add_noise(clean.repeat(3, 1, 1, 1), noise, times)
    said = pipe.unet(noisy, times, context[:1].repeat(3, 1, 1)).sample
    if pipe.scheduler.config.prediction_type == "epsilon":
        wanted = noise
    else:
        wanted = pipe.scheduler.get_velocity(clean.repeat(3, 1, 1, 1), noise, times)
    out |= {"noise": noise, "times": times}
    out["losses"] = ((said - wanted) ** 2).mean((1, 2, 3))
    start = draw(1, 4, 16, 16)
    out["start"] = start
    out["generated"] = pipe(
        PROMPTS[0],
        height=32,
        width=32,
        num_inference_steps=10,
        guidance_scale=7.5,
        latents=start.clone(),
        output_type="latent",
    ).images
    return {
        k: np.moveaxis(a, 1, -1) if a.ndim == 4 else a
        for k, a in ((k, np.asarray(v)) for k, v in out.items())
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for kind in sys.argv[1:] or ("sd1", "sd2"):
        with torch.no_grad():
            made = numbers(pipeline(kind, OUT / kind))
        np.savez_compressed(OUT / f"{kind}.npz", **made)
        for name, array in made.items():
            print(
                kind,
                name,
                array.shape,
                float(np.sqrt((array.astype(float) ** 2).mean())),
            )
