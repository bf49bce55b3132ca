"""Schedulers of diffusers: their noise levels, predictions and samplers, as ours."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.interop.diffusers.schedulers import sections
from score_mia.registry import make
from score_mia.sampling import SAMPLERS
from score_mia.sde import SDES

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "models" / "schedulers.npz")
CONFIGS = json.loads(str(GOLDEN["configs"]))
MEANS = {
    "linear": ("ddpm", "noise", {"name": "ancestral"}),
    "large": ("ddpm", "noise", {"name": "ancestral", "variance": "forward"}),
    "steep": ("betas", "noise", {"name": "ancestral"}),
    "scaled_linear": ("betas", "noise", {"name": "ddim", "denoise": False}),
    "cosine": ("betas", "denoised", {"name": "ancestral"}),
    "cosine_short": ("betas", "noise", {"name": "ddim", "denoise": True}),
    "sigmoid": ("betas", "noise", {"name": "ancestral"}),
    "given": ("betas", "noise", {"name": "ddim", "denoise": False}),
    "zero_snr": ("betas", "noise", {"name": "ddim", "denoise": True}),
    "euler": ("betas", "velocity", {"name": "ddim", "denoise": True}),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_noise_levels_are_theirs(name):
    config, bar = CONFIGS[name], GOLDEN[name]
    told = sections(config["_class_name"], config)
    sde = make("sde", SDES, told["sde"])
    # Without signal there is no signal-to-noise ratio: the last step is left out.
    steps = len(bar) - (name == "zero_snr")
    assert sde.discrete_steps == steps
    ours = jax.jit(jax.vmap(sde.log_alpha))(np.arange(steps, dtype=np.float32))
    ours = np.exp(2.0 * np.asarray(ours, np.float64))
    np.testing.assert_allclose(ours, bar[:steps], rtol=0, atol=1e-6)
    named = tuple(told[section]["name"] for section in ("sde", "parameterisation"))
    assert (*named, told["sampler"]) == MEANS[name]
    make("sampler", SAMPLERS, told["sampler"])


def test_the_defaults_are_those_of_the_class():
    """Configs hold what was set; what is missing is what their classes assume."""
    assert sections("DDPMScheduler", {}) == sections("DDPMScheduler", CONFIGS["linear"])
    assert sections("PNDMScheduler", {})["sampler"]["denoise"] is False
    assert sections("DDIMScheduler", {})["sampler"]["denoise"] is True


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("DDPMSchedule", {}, "did you mean 'DDPMScheduler'"),
        ("ScoreSdeVeScheduler", {}, "known: .*DDIMScheduler"),
        ("DDPMScheduler", {"beta_schedule": "laplace"}, "beta_schedule='laplace'"),
        ("DDPMScheduler", {"prediction_type": "flow"}, "prediction_type='flow'"),
        ("DDPMScheduler", {"num_train_timesteps": None}, "another type"),
        ("DDPMScheduler", {"trained_betas": ["a"]}, "another type"),
        ("DDPMScheduler", {"beta_start": [1]}, "another type"),
    ],
)
def test_what_has_no_counterpart_is_named(kind, config, words):
    with pytest.raises(UserError, match=words) as caught:
        sections(kind, config)
    assert len(str(caught.value).splitlines()) == 1
