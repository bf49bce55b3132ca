"""Drawing images from a target: one loop, one network evaluation a turn.

A sampler is a frozen dataclass that says on which times it stands and what one network
evaluation does to the state; the loop, the observer of intermediate states and the
final denoising are shared. Everything is written for one image and any process, from
`alpha(t)` and `std(t)` alone; callers `vmap`, and `generate` does so for many.

A run stands on times t1 = t_0 > t_1 > ... > t_{n-1} = t0 and moves from each to the
next; with `denoise` (the published codes' `noise_removal`) a last move goes from t0 to
the clean image (alpha 1, std 0) without adding noise.

The samplers of "Membership Inference of Diffusion Models", all with 1,000 steps:
`ancestral(variance="forward")` for DDPM, `predictor_corrector(snr=0.16)` for SMLD,
`euler_maruyama` for VP and VE.

Sources: Ho et al. 2020 (2006.11239); Song et al. 2021a, DDIM (2010.02502); Song et al.
2021b, score SDE (2011.13456); Karras et al. 2022 (2206.00364).
"""

from score_mia.sampling.base import Observer, Row, Sampler, StepSampler, moves
from score_mia.sampling.draw import decode, encode, generate, sample, trajectory
from score_mia.sampling.kept import Samples, as_picture
from score_mia.sampling.samplers import (
    SAMPLERS,
    Ancestral,
    Ddim,
    EulerMaruyama,
    Heun,
    PredictorCorrector,
    ProbabilityFlow,
    ReverseDiffusion,
)

__all__ = [
    "SAMPLERS",
    "Ancestral",
    "Ddim",
    "EulerMaruyama",
    "Heun",
    "Observer",
    "PredictorCorrector",
    "ProbabilityFlow",
    "ReverseDiffusion",
    "Row",
    "Sampler",
    "Samples",
    "StepSampler",
    "as_picture",
    "decode",
    "encode",
    "generate",
    "moves",
    "sample",
    "trajectory",
]
