"""Derive models/schedulers.npz: the noise levels of schedulers of diffusers.

Run with diffusers 0.42.1 and torch 2.13.0 (CPU), from the repository's root:

    python tests/golden/derive/schedulers.py
"""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import numpy as np

LATENT = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
CASES = {
    "linear": ("DDPMScheduler", {}),
    "large": ("DDPMScheduler", {"variance_type": "fixed_large"}),
    "steep": (
        "DDPMScheduler",
        {"num_train_timesteps": 20, "beta_start": 0.01, "beta_end": 0.5},
    ),
    "scaled_linear": ("DDIMScheduler", {**LATENT, "set_alpha_to_one": False}),
    "cosine": (
        "DDPMScheduler",
        {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample"},
    ),
    "cosine_short": (
        "DDIMScheduler",
        {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 50},
    ),
    "sigmoid": ("DDPMScheduler", {"beta_schedule": "sigmoid"}),
    "given": ("PNDMScheduler", {"trained_betas": np.geomspace(1e-4, 0.3, 40).tolist()}),
    "zero_snr": ("DDIMScheduler", {**LATENT, "rescale_betas_zero_snr": True}),
    "euler": ("EulerDiscreteScheduler", {**LATENT, "prediction_type": "v_prediction"}),
}


def main() -> None:
    """Write the file."""
    configs, arrays = {}, {}
    for name, (kind, changes) in CASES.items():
        scheduler = getattr(diffusers, kind)(**changes)
        configs[name] = {**scheduler.config, "_class_name": kind}
        arrays[name] = scheduler.alphas_cumprod.numpy()
    arrays["configs"] = np.asarray(json.dumps(configs, default=list))
    path = Path(__file__).parents[1] / "models" / "schedulers.npz"
    np.savez_compressed(path, **arrays)


if __name__ == "__main__":
    main()
