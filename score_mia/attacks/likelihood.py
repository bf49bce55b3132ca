"""The likelihood attack: members are more likely (Hu & Pang 2023, 2301.09956, Eq. 8).

`score_mia.likelihood.log_prob` computes it, which see for the mathematics.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import stdtrit

from score_mia.arrays import Key
from score_mia.attacks.protocol import (
    GRID_ERROR,
    NETWORK_EVALUATIONS,
    OWN,
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.check import one_of
from score_mia.likelihood import (
    Adaptive,
    Divergence,
    FixedGrid,
    Solver,
    Still,
    bits_per_dim,
    grid_error,
    log_prob,
)
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

    # The network's outputs would do for finite differences, but the divergence as
    # computed here differentiates the network, which needs the model itself.
    access: ClassVar[Access] = "gradients"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        _ = Divergence(self.divergence, self.probes, self.probe)
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

    def columns(self, model: Target) -> Columns:
        """One column, whatever the process. A derivative costs about one pass more.

        Where the codec has no density on pixels, it is named for what it is: latent.
        """
        known = self.solver != "adaptive" and self.divergence != "exact"
        latent = model.codec.log_scale is None
        return Columns(
            ("latent_log_prob",) if latent else ("log_prob",),
            None,
            (NETWORK_EVALUATIONS, "half_width_95", GRID_ERROR, "bits_per_dim"),
            float(self.evaluations * (1 + self.probes)) if known else None,
            title="Latent likelihood" if latent else "Likelihood",
        )

    def __call__(self, model: Target, query: Query, products: Any = ()) -> Reading:
        """The log density of one image."""
        image = query.image
        found = log_prob(
            model.denoiser,
            image,
            query.key,
            divergence=Divergence(self.divergence, self.probes, self.probe),
            solver=self.integrator(),
            dequantise=self.dequantise,
            condition=query.condition,
        )
        unit = image.size * float(np.log(2.0))
        grid = jnp.abs(found.grid_error) / unit
        # Few probes know their own spread badly: Student's t. What the grid does wrong
        # has no law and is added whole.
        reach = stdtrit(max(self.probes - 1, 1), 0.975) * found.standard_error / unit
        width = reach + jnp.nan_to_num(grid)
        bits = bits_per_dim(found.log_prob, image.size)
        return Reading(
            found.log_prob[None], jnp.stack([found.evaluations, width, grid, bits])
        )

    def self_check(
        self,
        model: Target,
        images: Float[Array, "n h w c"],
        conditions: Mapping[str, Any],
        key: Key,
    ) -> Mapping[str, float | None] | None:
        """The fixed grid against an adaptive solve with the same probe."""
        if self.solver != "fixed":
            return None
        error = grid_error(
            model.denoiser,
            images,
            key,
            solver=self.integrator(),
            reference=Adaptive(),
            condition=conditions.get(OWN),
        )
        finite = bool(np.isfinite(error.mean))
        return {
            "mean": error.mean if finite else None,
            "max": error.max if finite else None,
            "images": len(images),
            "evaluations": error.grid_evaluations,
            "reference_evaluations": error.reference_evaluations,
        }
