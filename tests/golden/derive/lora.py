"""Writes tests/golden/models/lora: adapters of sd1 under four kinds of names.

    python tests/golden/derive/lora.py

Run with torch 2.13.0, diffusers 0.42.1, peft 0.21.2. All files say the same change.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parents[1] / "models"
OUT = HERE / "lora"
RANK, ALPHA = 2, 3


def main():
    torch.manual_seed(5)
    OUT.mkdir(exist_ok=True)
    unet = UNet2DConditionModel.from_pretrained(HERE / "sd1" / "unet").float().eval()
    config = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        init_lora_weights=False,
        target_modules=["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "conv1"],
    )
    numbers = np.load(HERE / "sd1.npz")
    x, t, context = (torch.tensor(numbers[k]) for k in ("x", "t", "context"))
    x = x.movedim(-1, 1)
    adapted = get_peft_model(unet, config)
    for name, p in adapted.named_parameters():
        if "lora_" in name:
            p.data = 0.3 * torch.randn(p.shape)
    with torch.no_grad():
        out = adapted(x, t, context).sample.movedim(1, -1).numpy()
    np.savez_compressed(HERE / "lora.npz", unet=out)
    adapted.save_pretrained(OUT / "peft")
    for extra in (OUT / "peft").glob("README*"):
        extra.unlink()
    state = get_peft_model_state_dict(adapted)
    plain = {k.removeprefix("base_model.model."): v for k, v in state.items()}
    with tempfile.TemporaryDirectory() as folder:
        StableDiffusionPipeline.save_lora_weights(
            folder, unet_lora_layers=plain, unet_lora_adapter_metadata=config.to_dict()
        )
        theirs = load_file(f"{folder}/pytorch_lora_weights.safetensors")
        print(sorted(theirs)[:3])
        from safetensors import safe_open

        with safe_open(f"{folder}/pytorch_lora_weights.safetensors", "pt") as file:
            about = file.metadata()
    told = json.loads(about["lora_adapter_metadata"])
    slim = {
        k: v for k, v in told.items() if k.rpartition(".")[2] in ("r", "lora_alpha")
    }
    about = {"format": "pt", "lora_adapter_metadata": json.dumps(slim)}
    save_file(theirs, OUT / "diffusers.safetensors", metadata=about)
    kohya = {}
    for name, tensor in plain.items():
        module, _, end = name.rpartition(".lora_")
        flat = "lora_unet_" + module.replace(".", "_")
        kohya[f"{flat}.lora_{'down' if end[0] == 'A' else 'up'}.weight"] = tensor
        kohya[f"{flat}.alpha"] = torch.tensor(float(ALPHA))
    save_file(kohya, OUT / "kohya.safetensors")
    # No alpha in the oldest: the factor is in `up` itself. It knew attention only.
    old = {}
    for name, tensor in plain.items():
        module, _, end = name.rpartition(".lora_")
        side = "down" if end[0] == "A" else "up"
        tensor = tensor * (ALPHA / RANK if side == "up" else 1.0)
        head, _, layer = module.removesuffix(".0").rpartition(".")
        new = f"{module}.lora.{side}.weight"
        if layer.startswith("to_"):
            new = f"{head}.processor.{layer}_lora.{side}.weight"
        old[f"unet.{new}"] = tensor.contiguous()
    save_file(old, OUT / "old.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
