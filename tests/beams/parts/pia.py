"""PIA and PIAN (Kong et al. 2024, 2305.18355): the network's own noise is the probe."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from score_mia.attacks import Columns, Reading


@dataclasses.dataclass(frozen=True)
class Pia:
    """-|| eps(alpha x + std e, t) - e ||_p with e = eps(x, t0).

    Attributes:
      time: t on the process's clock.
      norm: p.
      normalise: PIAN: e is first scaled to the mean absolute value of N(0, 1).
    """

    access: ClassVar[str] = "scores"
    needs: ClassVar[tuple] = ()
    time: float = 200.0
    norm: float = 4.0
    normalise: bool = False

    def columns(self, model):
        return Columns(
            (f"{'pian' if self.normalise else 'pia'}@{self.time:g}",),
            np.asarray([self.time], np.float32),
            ("network_evaluations",),
            2.0,
            title="PIAN" if self.normalise else "PIA",
        )

    def __call__(self, model, query, products):
        x, told = model.codec.encode(query.image), model.embed(query.condition)
        first = model.eps(x, model.sde.t0, told)
        if self.normalise:
            first = first * np.sqrt(2 / np.pi) / jnp.mean(jnp.abs(first))
        x_t = model.sde.perturb(x, self.time, first)
        apart = jnp.abs(model.eps(x_t, self.time, told) - first)
        distance = jnp.sum(apart**self.norm) ** (1 / self.norm)
        return Reading(-distance[None], jnp.full(1, 2.0))
