"""Schedulers of diffusers: the process, what is predicted, and a sampler.

What is read is how the model was *trained*: the noise levels and the prediction. How a
scheduler then walks through them is the sampler, of which ours is proposed:

| scheduler | sampler |
|---|---|
| DDPM | `ancestral`; variance_type "fixed_large" makes it `variance="forward"` |
| DDIM, PNDM, Euler and the other solvers | `ddim`, their first-order member |

`set_alpha_to_one=False` (the last step ends at the first noise level) is
`denoise=False`. Left aside, since no training depends on it: clip_sample and
thresholding, timestep_spacing and steps_offset (ours goes from the last time to the
first), learned variances, the order of a solver and its Karras, exponential or beta
sigmas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from score_mia.check import one_of, refusing

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
    ends = [float(config.get(k, v)) for k, v in _ENDS]
    schedule = config.get("beta_schedule", "linear")
    one_of("beta_schedule", schedule, ("linear",))
    low, high = (beta * steps for beta in ends)
    return {"name": "ddpm", "beta_min": low, "beta_max": high, "steps": steps}


_ENDS = (("beta_start", 0.0001), ("beta_end", 0.02))


def _ddpm(config: Config) -> dict[str, Any]:
    kind = config.get("variance_type", "fixed_small")
    large = str(kind).startswith("fixed_large")
    variance = {"variance": "forward"} if large else {}
    return {**discrete(config), "sampler": {"name": "ancestral", **variance}}


def _pndm(config: Config) -> dict[str, Any]:
    return discrete({"set_alpha_to_one": False, **config})


SCHEDULERS: dict[str, Callable[[Config], dict[str, Any]]] = {
    "DDPMScheduler": _ddpm,
    "PNDMScheduler": _pndm,
    **{
        f"{name}Scheduler": discrete
        for name in (
            *("DDIM", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete"),
            *("LMSDiscrete", "DPMSolverMultistep", "DPMSolverSinglestep"),
            *("UniPCMultistep", "DEISMultistep", "KDPM2Discrete"),
        )
    },
}
"""Class -> from its config to the sections; the flow-matching ones have their own."""
