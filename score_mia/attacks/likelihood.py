"""The likelihood attack: members are more likely (Hu & Pang 2023, 2301.09956, Eq. 8).

`score_mia.likelihood.log_prob` computes it, which see for the mathematics.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import stdtrit

from score_mia.arrays import Image, Key
from score_mia.attacks.protocol import Access
from score_mia.check import at_least, one_of
from score_mia.likelihood import (
    DIVERGENCES,
    PROBES,
    Adaptive,
    FixedGrid,
    Solver,
    Still,
    bits_per_dim,
    log_prob,
)
from score_mia.sde import SDE
from score_mia.target import Target


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """log p(image) by the probability-flow ODE, in nats on [0, 1]^d: one column.

    Beside it are recorded, in bits/dim, the half width of its 95 % interval (over the
    probes, by Student's t, plus the grid's error) and the grid's error alone.

    Attributes:
      probes: random directions of the divergence estimate. One has a standard
        deviation of about 0.1 bits/dim on images that the model knows; those far from
        it have several bits.
      probe: "rademacher" or "gaussian".
      divergence: "hutchinson", or "exact" for small images.
      solver: "fixed" (equal work for every image), "adaptive" (diffrax), or "still"
        (no flow: see `score_mia.likelihood.Still`).
      evaluations: of the fixed grid, or of the still one.
      method: of the fixed or adaptive solver; None for "adams" or "tsit5".
      rtol, atol, max_steps: of the adaptive solver.
      clock: of the adaptive solver: "log_sigma", or "time" as published.
      dequantise: add uniform noise below one grey level.
    """

    probes: int = 4
    probe: str = "rademacher"
    divergence: str = "hutchinson"
    solver: str = "fixed"
    evaluations: int = 64
    method: str | None = None
    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 4096
    clock: str = "log_sigma"
    dequantise: bool = False

    title: ClassVar[str] = "Likelihood"
    # The network's outputs would do for finite differences, but the divergence as
    # computed here differentiates the network, which needs the model itself.
    access: ClassVar[Access] = "gradients"
    diagnostics: ClassVar[tuple[str, ...]] = (
        "network_evaluations",
        "half_width_95",
        "grid_error",
        "bits_per_dim",
    )

    def __post_init__(self) -> None:
        at_least("probes", self.probes, 1)
        one_of("probe", self.probe, PROBES)
        one_of("divergence", self.divergence, DIVERGENCES)
        self.integrator()

    def integrator(self) -> Solver:
        """The solver that the fields describe."""
        one_of("solver", self.solver, ("fixed", "adaptive", "still"))
        if self.solver == "still":
            return Still(self.evaluations)
        if self.solver == "fixed":
            return FixedGrid(self.evaluations, self.method or "adams")
        method = self.method or "tsit5"
        return Adaptive(method, self.rtol, self.atol, self.max_steps, self.clock)

    def forwards(self, sde: SDE) -> float | None:
        """Forward passes an image: a derivative costs about one more each."""
        if self.solver == "adaptive" or self.divergence == "exact":
            return None
        return float(self.evaluations * (1 + self.probes))

    def names(self, sde: SDE) -> tuple[str, ...]:
        """One column, whatever the process."""
        return ("log_prob",)

    def __call__(
        self, target: Target, image: Image, key: Key, condition: Any = None
    ) -> Float[Array, " k_plus_d"]:
        found = log_prob(
            target.denoiser,
            image,
            key,
            probes=self.probes,
            probe=self.probe,
            divergence=self.divergence,
            solver=self.integrator(),
            dequantise=self.dequantise,
            condition=condition,
        )
        unit = image.size * float(np.log(2.0))
        grid = jnp.abs(found.grid_error) / unit
        # Few probes know their own spread badly: Student's t. What the grid does wrong
        # has no law and is added whole.
        reach = stdtrit(max(self.probes - 1, 1), 0.975) * found.standard_error / unit
        width = reach + jnp.nan_to_num(grid)
        bits = bits_per_dim(found.log_prob, image.size)
        return jnp.stack([found.log_prob, found.evaluations, width, grid, bits])
