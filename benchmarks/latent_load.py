"""Time and memory of loading Stable Diffusion 1.5's shapes from half-precision files.

    python benchmarks/latent_load.py            # writes 2.1 GB below --folder, reads it

The weights are random numbers under the published names and shapes. The reading is done
in a process of its own, whose peak of resident memory is told beside the size of the
weights in memory; a second copy would double it.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from absl import app, flags
from safetensors.numpy import save_file

from score_mia.interop.diffusers import read_folder
from score_mia.interop.keys import same
from score_mia.networks.latent.unet import TextUNet
from score_mia.networks.latent.vae import AutoencoderKL
from score_mia.trees import leaf_name

TINY = Path(__file__).parents[1] / "tests" / "golden" / "models" / "sd1"
FOLDER = flags.DEFINE_string(
    "folder", None, "for the files; a temporary one by default"
)
READ = flags.DEFINE_string(
    "read", None, "read this folder, and tell (the inner process)"
)
DTYPE = flags.DEFINE_string("dtype", "float32", "of the weights in memory")
UNET = {
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "sample_size": 64,
}
VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
}
TEXT = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}


def write(folder):
    """A pipeline of these shapes, its other settings those of the tiny one."""
    random = np.random.default_rng(0)
    key = jax.random.key(0)
    whole = jax.eval_shape(TextUNet().build((64, 64, 4)).init, key)
    vae = jax.eval_shape(AutoencoderKL().init, key)
    parts = {
        "unet": ("unet/diffusion_pytorch_model", UNET, whole["unet"]),
        "text_encoder": ("text_encoder/model", TEXT, whole["text"]),
        "vae": ("vae/diffusion_pytorch_model", VAE, vae),
    }
    for file in ("model_index.json", "scheduler/scheduler_config.json"):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text((TINY / file).read_text())
    (folder / "tokenizer").mkdir()
    for file in (TINY / "tokenizer").iterdir():
        (folder / "tokenizer" / file.name).write_bytes(file.read_bytes())
    for name, (file, config, tree) in parts.items():
        (folder / name).mkdir()
        told = json.loads((TINY / name / "config.json").read_text())
        (folder / name / "config.json").write_text(json.dumps({**told, **config}))
        tensors = {}
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            shape = leaf.shape
            if leaf_name(path).endswith("kernel"):
                shape = (*shape[:-3:-1], *shape[:-2])
            numbers = random.random(shape, np.float32).astype(np.float16)
            tensors[same(leaf_name(path).replace("/", "."))] = numbers
        save_file(tensors, folder / f"{file}.safetensors")


def read(folder):
    """What one reading takes."""
    jax.devices()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    params = read_folder(folder, dtype=DTYPE.value).params
    seconds = time.perf_counter() - start
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = {
        "dtype": DTYPE.value,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "weights_gb": size / 1e9,
        "peak_gb": peak * 1024 / 1e9,
        "before_gb": before * 1024 / 1e9,
        "seconds": seconds,
    }
    print(json.dumps({k: round(v, 3) if k != "dtype" else v for k, v in told.items()}))


def main(_):
    if READ.value:
        read(Path(READ.value))
        return
    with tempfile.TemporaryDirectory(dir=FOLDER.value) as place:
        write(Path(place))
        for dtype in ("float32", "bfloat16"):
            flag = [f"--read={place}", f"--dtype={dtype}"]
            subprocess.run([sys.executable, __file__, *flag], check=True)


if __name__ == "__main__":
    app.run(main)
