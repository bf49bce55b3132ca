"""Derives networks_*.npz: outputs of score_sde_pytorch's networks, to compare ours to.

Run in an environment with torch, ml_collections and numpy:

    python tests/golden/derive_networks.py PATH_TO_A_SCORE_SDE_PYTORCH_CHECKOUT

A file holds no weights: names and shapes of the state dict, from which `weights` makes
them anew (NumPy's RandomState never changes its numbers), the inputs and the outputs.
"""

from __future__ import annotations

import json
import math
import sys
import types
import zlib
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent

DDPM = {
    "name": "ddpm",
    "nf": 32,
    "ch_mult": (1, 2),
    "num_res_blocks": 1,
    "attn_resolutions": (8,),
    "scale_by_sigma": False,
    "resamp_with_conv": True,
    "conditional": True,
    "dropout": 0.1,
    "nonlinearity": "swish",
    "normalization": "GroupNorm",
    "sigma_min": 0.01,
    "sigma_max": 50.0,
    "num_scales": 10,
    "centered": True,
    "image_size": 8,
    "channels": 3,
    "labels": "positional",
}
NCSNPP = {
    **DDPM,
    "name": "ncsnpp",
    "nf": 16,
    "fir": False,
    "fir_kernel": (1, 3, 3, 1),
    "skip_rescale": True,
    "resblock_type": "biggan",
    "progressive": "none",
    "progressive_input": "none",
    "progressive_combine": "sum",
    "init_scale": 0.0,
    "embedding_type": "positional",
    "fourier_scale": 16.0,
}
FOURIER = {
    **NCSNPP,
    "labels": "fourier",
    "embedding_type": "fourier",
    "fir": True,
    "scale_by_sigma": True,
}
CASES = {
    # the discrete DDPM of the paper, its SMLD, and a net without convolutions
    # between the levels, with three levels and an odd number of features
    "ddpm": {**DDPM, "image_size": 16, "attn_resolutions": (16,)},
    "ddpm_smld": {**DDPM, "scale_by_sigma": True, "centered": False},
    "ddpm_plain": {
        **DDPM,
        "ch_mult": (1, 1, 2),
        "resamp_with_conv": False,
        "attn_resolutions": (),
        "nonlinearity": "elu",
        "channels": 1,
    },
    # the paper's continuous VP and VE, which is told sigma as a position
    "ncsnpp_vp": {**NCSNPP, "num_res_blocks": 2},
    "ncsnpp_ve": {**NCSNPP, "centered": False, "labels": "sigma", "num_scales": 50},
    # score_sde's own VE network
    "ncsnpp_fourier": {**FOURIER, "progressive_input": "residual"},
    "ncsnpp_output_skip": {
        **FOURIER,
        "progressive": "output_skip",
        "progressive_input": "input_skip",
        "ch_mult": (1, 2, 2),
        "fir_kernel": (1, 2, 4, 1),
    },
    "ncsnpp_cat": {
        **NCSNPP,
        "progressive": "output_skip",
        "progressive_input": "input_skip",
        "progressive_combine": "cat",
        "nonlinearity": "relu",
        "scale_by_sigma": True,
    },
    "ncsnpp_ddpm_blocks": {
        **NCSNPP,
        "resblock_type": "ddpm",
        "progressive": "residual",
        "progressive_input": "residual",
        "skip_rescale": False,
        "nonlinearity": "lrelu",
    },
    "ncsnpp_ddpm_fir": {
        **FOURIER,
        "resblock_type": "ddpm",
        "resamp_with_conv": False,
        "fir_kernel": (1, 2, 1),
        "scale_by_sigma": False,
    },
    "ncsnpp_unconditional": {**NCSNPP, "conditional": False, "nf": 8},
}
# Parameter counts of the networks of Hu & Pang's configurations at 64x64x3.
PAPER = {
    "ddpm": {**DDPM, "nf": 128, "ch_mult": (1, 2, 2, 2), "num_res_blocks": 2},
    "ncsnpp": {**NCSNPP, "nf": 128, "ch_mult": (1, 2, 2, 2), "num_res_blocks": 4},
}


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Float32 weights for an entry of a state dict, the same everywhere.

    Convolutions keep variance, biases and gains vary: no layer is nearly zero, as
    fresh ones are.
    """
    draws = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) > 1:
        return (draws / math.sqrt(math.prod(shape) / shape[0])).astype(np.float32)
    base = 1.0 if name.endswith("weight") else 0.0
    return (base + 0.3 * draws).astype(np.float32)


def inputs(case: dict) -> tuple[np.ndarray, np.ndarray]:
    """Three images [3, h, w, c] and their labels [3]."""
    random = np.random.RandomState(0)
    shape = (3, case["image_size"], case["image_size"], case["channels"])
    labels = {
        "positional": [0.0, 3.0, 9.0],
        "sigma": [0.01, 1.5, 49.0],
        "fourier": [0.02, 1.5, 49.0],
    }[case["labels"]]
    return random.standard_normal(shape).astype(np.float32), np.float32(labels)


def configuration(case: dict):
    """The ConfigDict that score_sde_pytorch's networks read."""
    import ml_collections

    fields = dict(case)
    data = {
        "image_size": fields.pop("image_size"),
        "num_channels": fields.pop("channels"),
        "centered": fields.pop("centered"),
    }
    training = {"continuous": fields.pop("labels") != "positional"}
    config = {"model": fields, "data": data, "training": training}
    return ml_collections.ConfigDict(config)


def network_class(name: str):
    """The torch class, from the checkout on sys.path.

    Their CUDA extensions are not compiled (the CPU needs none), and NCSN++'s doubling
    without a filter, which raises because it gives the mode as the scale factor, is
    given what it means. Its doubling by a convolution with a filter raises, too, and
    is left so: torch indexes by no negative step.
    """
    import importlib

    import torch.utils.cpp_extension

    torch.utils.cpp_extension.load = lambda *args, **kwargs: None
    layers = importlib.import_module("models.layerspp")
    layers.F = types.SimpleNamespace(**vars(torch.nn.functional))
    layers.F.interpolate = lambda x, size, mode: torch.nn.functional.interpolate(
        x, size, mode=mode
    )
    importlib.import_module(f"models.{name}")
    from models.utils import get_model

    return get_model(name)


def derive(case: dict) -> dict[str, np.ndarray]:
    """Names and shapes of the state dict, inputs, and the network's outputs."""
    import torch

    model = network_class(case["name"])(configuration(case)).eval()
    state = model.state_dict()
    shapes = {k: list(v.shape) for k, v in state.items()}
    made = {k: torch.from_numpy(weights(k, tuple(v.shape))) for k, v in state.items()}
    made["sigmas"] = state["sigmas"]
    model.load_state_dict({k: v.to(state[k].dtype) for k, v in made.items()})
    x, labels = inputs(case)
    labels = torch.from_numpy(labels)
    labels = labels.long() if case["labels"] == "positional" else labels
    with torch.no_grad():
        y = model(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), labels)
    return {
        "case": np.array(json.dumps(case)),
        "shapes": np.array(json.dumps(shapes)),
        "sigmas": state["sigmas"].numpy(),
        "x": x,
        "labels": labels.numpy().astype(np.float32),
        "y": y.numpy().transpose(0, 2, 3, 1).astype(np.float32),
    }


def paper_counts() -> dict[str, np.ndarray]:
    """Number of parameters of the paper's two networks."""
    counts = {}
    for name, case in PAPER.items():
        case = {**case, "image_size": 64, "attn_resolutions": (16,)}
        model = network_class(name)(configuration(case))
        counts[name] = np.array(sum(p.numel() for p in model.parameters()))
    return counts


def main(checkout: str) -> None:
    sys.path.insert(0, checkout)
    for name, case in CASES.items():
        arrays = derive(case)
        np.savez_compressed(HERE / f"networks_{name}.npz", **arrays)
        print(name, arrays["y"].std())
    np.savez_compressed(HERE / "networks_paper_counts.npz", **paper_counts())


if __name__ == "__main__":
    main(sys.argv[1])
