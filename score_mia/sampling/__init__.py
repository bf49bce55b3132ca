"""Drawing images from a model: one loop over times.

A sampler is a frozen dataclass that says on which times it stands and what one move
does to the state; the loop, the observer of intermediate states and the final
denoising are shared. Everything is written for one image and any process, from
`alpha(t)` and `std(t)` alone; callers `vmap`; `Samples` are many.

A run is given x and the times to go over, so that the front doors differ in these two
alone: `sample` starts from noise at t1, `vary` from a noised image at a lower time,
`encode` goes up, and a start of one's own goes straight to `Sampler.run`.

Drawing stands on times t1 = t_0 > t_1 > ... > t_{n-1} = t0 and moves from each to the
next; with `denoise` (the published codes' `noise_removal`) a last move goes from t0 to
the clean image (alpha 1, std 0) without adding noise.

The samplers of "Membership Inference of Diffusion Models", all with 1,000 steps:
`ancestral(variance="forward")` for DDPM, `predictor_corrector(snr=0.16)` for SMLD,
`euler_maruyama` for VP and VE.

Sources: Ho et al. 2020 (2006.11239); Song et al. 2021a, DDIM (2010.02502); Song et al.
2021b, score SDE (2011.13456); Karras et al. 2022 (2206.00364).
"""

from score_mia.sampling.base import Sampler, moves
from score_mia.sampling.draw import (
    decode,
    encode,
    sample,
    times_from,
    trajectory,
    vary,
)
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
from score_mia.sampling.served import Served, Service, Watched, guided

__all__ = [
    "SAMPLERS",
    "Ancestral",
    "Ddim",
    "EulerMaruyama",
    "Heun",
    "PredictorCorrector",
    "ProbabilityFlow",
    "ReverseDiffusion",
    "Sampler",
    "Samples",
    "Served",
    "Service",
    "Watched",
    "as_picture",
    "decode",
    "encode",
    "guided",
    "moves",
    "sample",
    "times_from",
    "trajectory",
    "vary",
]
