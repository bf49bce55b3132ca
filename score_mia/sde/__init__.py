"""Noising processes, each given by two scalar functions: `alpha(t)` and `std(t)`.

    x_t = alpha(t) x_0 + std(t) eps,   eps ~ N(0, I),   t0 <= t <= t1.

Time ascends in noise for every process. Everything else (drift, diffusion, posterior
step, inverse, prior) follows from the two functions. One line more, `clock`, says how
times are spread, and another, `convention`, how published networks see the process; so
nothing here or elsewhere asks which process it has. Sources: Song
et al. 2021 (2011.13456) for VP, sub-VP and VE; Ho et al. 2020 (2006.11239) for DDPM;
Song & Ermon 2019 (1907.05600) for SMLD; Karras et al. 2022 (2206.00364) for EDM; Liu
et al. 2023 (2209.03003) for rectified flow.
"""

from score_mia.sde.base import SDE, Convention
from score_mia.sde.continuous import EDM, VE, VP, RectifiedFlow, SubVP
from score_mia.sde.discrete import DDPM, SMLD, Betas

SDES = {
    "vp": VP,
    "sub_vp": SubVP,
    "ve": VE,
    "ddpm": DDPM,
    "smld": SMLD,
    "edm": EDM,
    "betas": Betas,
    "rectified_flow": RectifiedFlow,
}

__all__ = [
    "DDPM",
    "EDM",
    "SDE",
    "SDES",
    "SMLD",
    "VE",
    "VP",
    "Betas",
    "Convention",
    "RectifiedFlow",
    "SubVP",
]
