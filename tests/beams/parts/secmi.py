"""SecMI's t-error (Duan et al. 2023, 2302.01316): a member comes back where it was."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from score_mia.attacks import Columns, Reading
from score_mia.check import require
from score_mia.sampling import Ddim


@dataclasses.dataclass(frozen=True)
class Secmi:
    """-|| D(D(x_t; t -> t+k); t+k -> t) - x_t ||^2, x_t by deterministic encoding.

    D is the move of deterministic DDIM. The image is taken to be x_t0, and moved up to
    t in strides of k, then once more up and down.

    Attributes:
      time, step: t and k on the process's clock.
    """

    access: ClassVar[str] = "scores"
    needs: ClassVar[tuple] = ()
    time: float = 100.0
    step: float = 10.0

    def times(self, sde):
        """t0, k, 2 k, ... t, t + k, t."""
        require(
            sde.t0 < self.time and self.time + self.step <= sde.t1,
            f"time={self.time}, step={self.step}",
            f"leave the process's {sde.t0:g} ... {sde.t1:g}",
            "give t0 < time and time + step <= t1",
        )
        upwards = np.arange(self.time, sde.t0, -self.step)[::-1]
        turn = (self.time + self.step, self.time)
        return np.asarray([sde.t0, *upwards, *turn], np.float32)

    def columns(self, model):
        return Columns(
            (f"t_error@{self.time:g}",),
            np.asarray([self.time], np.float32),
            ("network_evaluations",),
            float(len(self.times(model.sde)) - 1),
            title="SecMI",
        )

    def __call__(self, model, query, products):
        times = self.times(model.sde)
        x = model.codec.encode(query.image)
        back, on_the_way = Ddim(denoise=False).run(
            model, x, times, query.key, query.condition, lambda x, x0, t: x
        )
        error = jnp.sum((back - on_the_way[-2]) ** 2)
        return Reading(-error[None], jnp.full(1, len(times) - 1.0))
