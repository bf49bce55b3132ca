"""Schedulers of diffusers: the process, what is predicted, and a sampler.

What is read is how the model was *trained*: the noise levels and the prediction. How a
scheduler then walks through them is the sampler, of which ours is proposed:

| scheduler | sampler |
|---|---|
| DDPM | `ancestral`; variance_type "fixed_large" makes it `variance="forward"` |
| FlowMatchEuler: rectified flow, its velocity, its shift | `ddim`: Euler's step |
| DDIM, PNDM, Euler and the other solvers | `ddim`, their first-order member |

`set_alpha_to_one=False` (the last step ends at the first noise level) is
`denoise=False`. Left aside, since no training depends on it: clip_sample and
thresholding, timestep_spacing and steps_offset (ours goes from the last time to the
first), learned variances, the order of a solver and its Karras, exponential or beta
sigmas, and a shift that depends on the image's size. Flows begin at the noise of .999,
not of 1, where no signal is left. With rescale_betas_zero_snr the last step has no
signal and no signal-to-noise ratio: the process ends one step before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from score_mia.check import one_of, refusing, require
from score_mia.sde import Betas

Config = Mapping[str, Any]

_PREDICTS = {"epsilon": "noise", "sample": "denoised", "v_prediction": "velocity"}
_REMEDY = "is this the scheduler that the model was trained with?"


def sections(kind: str, config: Config) -> dict[str, Any]:
    """The config sections "sde", "parameterisation" and "sampler" of a scheduler.

    Args:
      kind: its class.
      config: its scheduler_config.json.

    Raises:
      UserError: the class or a setting has no counterpart here, by name.
    """
    one_of("scheduler", kind, SCHEDULERS)
    problem = f"{kind}: a setting has a value of another type"
    with refusing(problem, _REMEDY, TypeError, ValueError, KeyError, AttributeError):
        return SCHEDULERS[kind](config)


def discrete(config: Config) -> dict[str, Any]:
    """Of the schedulers that stand on num_train_timesteps betas."""
    predicts = config.get("prediction_type", "epsilon")
    one_of("prediction_type", predicts, _PREDICTS)
    last = config.get("set_alpha_to_one", True)
    return {
        "sde": process(config),
        "parameterisation": {"name": _PREDICTS[predicts]},
        "sampler": {"name": "ddim", "denoise": bool(last)},
    }


def process(config: Config) -> dict[str, Any]:
    """The noise levels of a scheduler's betas: a spec's "sde"."""
    steps = int(config.get("num_train_timesteps", 1000))
    low, high = (float(config.get(k, v)) for k, v in _ENDS)
    given, schedule = config.get("trained_betas"), config.get("beta_schedule", "linear")
    if given is None:
        one_of("beta_schedule", schedule, _SCHEDULES)
    rescaled = bool(config.get("rescale_betas_zero_snr", False))
    if given is not None or rescaled or schedule == "sigmoid":
        betas = (
            np.asarray(given, np.float64)
            if given
            else _betas(schedule, low, high, steps)
        )
        return _given(_without_signal(betas) if rescaled else betas)
    if schedule == "squaredcos_cap_v2":
        return {"name": "betas", "schedule": "cosine", "steps": steps}
    if schedule == "linear" and high < 0.1:
        ends = {"beta_min": low * steps, "beta_max": high * steps}
        return {"name": "ddpm", **ends, "steps": steps}
    ends = {"start": low, "end": high}
    return {"name": "betas", "schedule": schedule, **ends, "steps": steps}


_ENDS = (("beta_start", 0.0001), ("beta_end", 0.02))
_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")


def _given(betas: Float[np.ndarray, " n"]) -> dict[str, Any]:
    table = [float(beta) for beta in betas]
    return {"name": "betas", "schedule": "given", "betas": table, "steps": len(table)}


def _betas(
    schedule: str, low: float, high: float, steps: int
) -> Float[np.ndarray, " n"]:
    """The betas of a schedule, where there is no name for them here."""
    if schedule == "linear":
        return np.linspace(low, high, steps)
    if schedule == "scaled_linear":
        return np.linspace(low**0.5, high**0.5, steps) ** 2
    if schedule == "sigmoid":
        return low + (high - low) / (1 + np.exp(-np.linspace(-6, 6, steps)))
    return Betas("cosine", steps=steps).table


def _without_signal(betas: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    """Rescaled so that the last step keeps no signal, less that step.

    Lin et al. 2024 (2305.08891), Algorithm 1: sqrt(alpha bar) is shifted and scaled so
    that it ends at 0. There is no signal-to-noise ratio there, so our process ends one
    step before; its other steps are those of the model.
    """
    root = np.sqrt(np.cumprod(1.0 - betas))
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    bar = root[:-1] ** 2
    return 1.0 - bar / np.append(1.0, bar[:-1])


def _ddpm(config: Config) -> dict[str, Any]:
    kind = config.get("variance_type", "fixed_small")
    large = str(kind).startswith("fixed_large")
    variance = {"variance": "forward"} if large else {}
    return {**discrete(config), "sampler": {"name": "ancestral", **variance}}


def _flow_match(config: Config) -> dict[str, Any]:
    """Rectified flow: sigma is the noise level, the network is told steps sigma.

    The shift changes where samplers stand and trainings look, and no noise level; it
    is the process's clock. An Euler step of the flow is a step of `ddim`.
    """
    steps, shift = config.get("num_train_timesteps", 1000), config.get("shift", 1.0)
    backwards = bool(config.get("invert_sigmas", False))
    problem, remedy = "runs from image to noise", "such a model has no counterpart here"
    require(not backwards, "invert_sigmas=True", problem, remedy)
    shifted = {} if shift == 1.0 else {"shift": float(shift)}
    return {
        "sde": {"name": "rectified_flow", **shifted},
        "parameterisation": {"name": "flow", "label": "std", "scale": float(steps)},
        "sampler": {"name": "ddim"},
    }


def _pndm(config: Config) -> dict[str, Any]:
    return discrete({"set_alpha_to_one": False, **config})


SCHEDULERS: dict[str, Callable[[Config], dict[str, Any]]] = {
    "DDPMScheduler": _ddpm,
    "PNDMScheduler": _pndm,
    "FlowMatchEulerDiscreteScheduler": _flow_match,
    **{
        f"{name}Scheduler": discrete
        for name in (
            *("DDIM", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete"),
            *("LMSDiscrete", "DPMSolverMultistep", "DPMSolverSinglestep"),
            *("UniPCMultistep", "DEISMultistep", "KDPM2Discrete"),
        )
    },
}
"""Class -> from its config to the sections."""
