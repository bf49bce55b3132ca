"""Our networks against score_sde_pytorch's, on the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from score_mia.interop.score_sde_torch import params_from_state_dict
from score_mia.networks import DDPMNet, NCSNpp
from tests.golden.derive_networks import CASES, weights

GOLDEN = Path(__file__).parents[1] / "golden"


def spec_of(case: dict) -> DDPMNet | NCSNpp:
    """Our specification of a configuration of theirs."""
    common = {
        "features": case["nf"],
        "multipliers": tuple(case["ch_mult"]),
        "blocks": case["num_res_blocks"],
        "attention": tuple(case["attn_resolutions"]),
        "dropout": case["dropout"],
        "resample_with_conv": case["resamp_with_conv"],
        "conditional": case["conditional"],
        "scale_by_sigma": case["scale_by_sigma"],
        "sigma_min": case["sigma_min"],
        "sigma_max": case["sigma_max"],
        "sigma_steps": case["num_scales"],
        "nonlinearity": case["nonlinearity"],
        "centered": case["centered"],
    }
    if case["name"] == "ddpm":
        return DDPMNet(**common)
    return NCSNpp(
        **common,
        block=case["resblock_type"],
        fir=case["fir"],
        fir_kernel=tuple(case["fir_kernel"]),
        skip_rescale=case["skip_rescale"],
        progressive=case["progressive"],
        progressive_input=case["progressive_input"],
        progressive_combine=case["progressive_combine"],
        embedding=case["embedding_type"],
        fourier_scale=case["fourier_scale"],
        init_scale=case["init_scale"],
    )


def load(name: str):
    with np.load(GOLDEN / f"networks_{name}.npz") as file:
        data = dict(file)
    case = json.loads(str(data["case"]))
    shapes = json.loads(str(data["shapes"]))
    state = {f"module.{k}": weights(k, tuple(s)) for k, s in shapes.items()}
    state["module.sigmas"] = data["sigmas"]
    return spec_of(case), state, data


@pytest.mark.parametrize("name", CASES)
def test_equals_score_sde_pytorch(name):
    spec, state, data = load(name)
    shape = data["x"].shape[1:]
    params = params_from_state_dict(spec, state, shape)
    y = jax.jit(spec.build(shape).apply)(params, data["x"], data["labels"])
    # Images divided by sigma = 0.01 are large, others of order 1.
    scale = np.abs(data["y"]).max(axis=(1, 2, 3), keepdims=True)
    error = np.abs(np.asarray(y) - data["y"]) / np.maximum(scale, 1.0)
    print(name, error.max())
    assert error.max() < 2e-5
