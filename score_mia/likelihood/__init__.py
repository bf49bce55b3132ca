"""Likelihood of an image under a diffusion model, by its probability-flow ODE.

With y = x / alpha(t) and s = std(t) / alpha(t) the flow of every process is dy/ds =
eps(x, t), so one change of variables serves them all:

    log p(x_t0) = log p_t1(x_t1) + d log(alpha(t1)/alpha(t0)) + int div_y eps ds.

This is Song et al. 2021 (2011.13456), Eq. 39, which Hu & Pang 2023 (2301.09956) take
as their Eq. 8 (where the integral's sign is misprinted), in the variables of Karras et
al. 2022 (2206.00364). As published, the image is taken to be x_t0 itself, and p_t0
stands for the density of the data. Discrete models (DDPM, SMLD) are integrated along
their continuous interpolation, and the network is told fractional steps.

Everything here is for one image; callers `vmap`.
"""

from score_mia.likelihood.density import (
    DIVERGENCES,
    EXACT,
    PROBES,
    Divergence,
    GridError,
    LogProb,
    Prior,
    bits_per_dim,
    grid_error,
    log_prob,
)
from score_mia.likelihood.methods import (
    METHODS,
    Adaptive,
    FixedGrid,
    Solver,
    Still,
)

__all__ = [
    "DIVERGENCES",
    "EXACT",
    "METHODS",
    "PROBES",
    "Adaptive",
    "Divergence",
    "FixedGrid",
    "GridError",
    "LogProb",
    "Prior",
    "Solver",
    "Still",
    "bits_per_dim",
    "grid_error",
    "log_prob",
]
