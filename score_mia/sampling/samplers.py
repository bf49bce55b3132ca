"""The samplers, each one update formula; see the package for what they share."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.arrays import Image, Key, Scalar
from score_mia.check import at_least, one_of, positive, within
from score_mia.sampling.base import Observer, Row, Sampler, StepSampler, moves
from score_mia.sde import SDE
from score_mia.target import Denoiser


def _denoised(row: Row, x: Image, eps: Image) -> Image:
    return (x - row.std * eps) / row.alpha


def _ancestral(row: Row, x: Image, eps: Image, std: Scalar, noise: Image) -> Image:
    a, b, _ = row.bridge
    return a * _denoised(row, x, eps) + b * x + std * noise


def _reverse_diffusion(row: Row, x: Image, eps: Image, noise: Image) -> Image:
    """x - (ratio - 1) x + gained score + sqrt(gained) z (Song et al. 2021b, Eq. 46)."""
    mean = (2.0 - row.ratio) * x - row.gained / row.std * eps
    return mean + jnp.where(row.clean, 0.0, jnp.sqrt(row.gained)) * noise


def _euler_maruyama(sde: SDE, row: Row, x: Image, eps: Image, noise: Image) -> Image:
    """One Euler–Maruyama step of dx = (f x - g^2 score) dt + g dw, backwards."""
    f, g2 = sde.drift(row.t), jnp.maximum(sde.diffusion_squared(row.t), 0.0)
    step = x - row.dt * (f * x + g2 / row.std * eps) + jnp.sqrt(g2 * row.dt) * noise
    return jnp.where(row.clean, _denoised(row, x, eps), step)


def _gaussian(key: Key, x: Image) -> Image:
    return jax.random.normal(key, x.shape, jnp.float32)


@final
@dataclasses.dataclass(frozen=True)
class Ancestral(StepSampler):
    """The posterior step q(x_s | x_t, x_0) with x_0 as denoised by the network.

    Ho et al. 2020, Algorithm 2, for DDPM; Song et al. 2021b, Eq. 47, for SMLD.

    Attributes:
      variance: "posterior" (beta-tilde) or "forward" (beta) of the noise added, Ho et
        al., Section 3.2; score_sde adds the forward one for DDPM, the posterior one
        for SMLD.
    """

    variance: str = "posterior"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("variance", self.variance, ("posterior", "forward"))

    def update(self, sde, row, x, eps, key, memory):
        std = row.bridge[2]
        if self.variance == "forward":
            std = jnp.where(row.clean, 0.0, jnp.sqrt(row.gained))
        return _ancestral(row, x, eps, std, _gaussian(key, x)), memory


@final
@dataclasses.dataclass(frozen=True)
class Ddim(StepSampler):
    """Song et al. 2021a, Eq. 12: x_s = alpha_s x_0 + sqrt(std_s^2 - c^2) eps + c z.

    Attributes:
      eta: c = eta times the posterior's std; 0 is deterministic (an Euler step of the
        probability-flow ODE in x/alpha over std/alpha), 1 is ancestral sampling.
    """

    steps: int | None = 50
    eta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        within("eta", self.eta, 0.0, 1.0)

    def update(self, sde, row, x, eps, key, memory):
        x0 = _denoised(row, x, eps)
        if self.eta == 0.0:
            return row.to_alpha * x0 + row.to_std * eps, memory
        added = self.eta * row.bridge[2]
        kept = jnp.sqrt(jnp.maximum(row.to_std**2 - added**2, 0.0))
        return row.to_alpha * x0 + kept * eps + added * _gaussian(key, x), memory


@final
@dataclasses.dataclass(frozen=True)
class EulerMaruyama(StepSampler):
    """Euler–Maruyama on the reverse-time SDE (Song et al. 2021b, Eq. 6).

    The last move denoises exactly, where score_sde takes one more Euler step without
    its noise.
    """

    def update(self, sde, row, x, eps, key, memory):
        return _euler_maruyama(sde, row, x, eps, _gaussian(key, x)), memory


@final
@dataclasses.dataclass(frozen=True)
class ReverseDiffusion(StepSampler):
    """The reverse-time SDE discretised as the forward one is (2021b, App. E)."""

    def update(self, sde, row, x, eps, key, memory):
        return _reverse_diffusion(row, x, eps, _gaussian(key, x)), memory


@final
@dataclasses.dataclass(frozen=True)
class PredictorCorrector(StepSampler):
    """Langevin steps at each time, then a predictor's move (2021b, Algorithms 1–5).

    The step size is 2 ratio^2 (snr |z| / |score|)^2 with the norms of this image;
    score_sde averages both norms over the batch, by which a sample would depend on
    its neighbours.

    Attributes:
      predictor: "reverse_diffusion", "euler_maruyama" or "ancestral" (posterior).
      snr: the corrector's signal-to-noise ratio (0.16 for the paper's SMLD).
      corrections: Langevin steps per time.
    """

    predictor: str = "reverse_diffusion"
    snr: float = 0.16
    corrections: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(
            "predictor",
            self.predictor,
            ("reverse_diffusion", "euler_maruyama", "ancestral"),
        )
        positive("snr", self.snr)
        at_least("corrections", self.corrections, 1)

    def evaluations(self, sde: SDE) -> int | None:
        return (1 + self.corrections) * (len(self.times(sde)) - (not self.denoise))

    def is_main(self, count: int) -> np.ndarray:
        turn = self.corrections + 1
        return np.arange(count) % turn == turn - 1

    def rows(self, sde: SDE) -> Row:
        turn = self.corrections + 1
        rows = jax.tree.map(lambda a: jnp.repeat(a, turn), super().rows(sde))
        return rows._replace(main=jnp.asarray(self.is_main(rows.main.size)))

    def update(self, sde, row, x, eps, key, memory):
        z = _gaussian(key, x)
        if self.predictor == "ancestral":
            moved = _ancestral(row, x, eps, row.bridge[2], z)
        elif self.predictor == "euler_maruyama":
            moved = _euler_maruyama(sde, row, x, eps, z)
        else:
            moved = _reverse_diffusion(row, x, eps, z)
        return jnp.where(row.main, moved, self.correct(row, x, eps, z)), memory

    def correct(self, row: Row, x: Image, eps: Image, noise: Image) -> Image:
        """One Langevin step at row.t: x + h score + sqrt(2 h) z."""
        score = -eps / row.std
        size = jnp.sqrt(jnp.sum(noise**2) / jnp.maximum(jnp.sum(score**2), 1e-30))
        h = 2.0 * row.ratio**2 * (self.snr * size) ** 2
        return x + h * score + jnp.sqrt(2.0 * h) * noise


@final
@dataclasses.dataclass(frozen=True)
class Heun(StepSampler):
    """Karras et al. 2022, Algorithm 1: Heun's method in y = x/alpha, s = std/alpha.

    There the probability-flow ODE is dy/ds = eps. The move to the clean image is one
    Euler step, as in the paper, so n times cost 2 n - 1 evaluations.
    """

    steps: int | None = 18
    spacing: str = "karras"

    def evaluations(self, sde: SDE) -> int | None:
        return 2 * len(self.times(sde)) - (1 if self.denoise else 2)

    def is_main(self, count: int) -> np.ndarray:
        return np.arange(count) % 2 == 0

    def rows(self, sde: SDE) -> Row:
        rows = moves(sde, self.times(sde))
        # Evaluations: t_0, t_1 (corrects), t_1, t_2 (corrects), ..., t_{n-1}.
        n = rows.t.size
        standing = (np.arange(2 * n - 1) + 1) // 2
        rows = jax.tree.map(lambda a: a[standing], rows)
        rows = rows._replace(main=jnp.asarray(self.is_main(2 * n - 1)))
        return rows if self.denoise else jax.tree.map(lambda a: a[:-1], rows)

    def memory(self, x: Image) -> Any:
        return (x, jnp.zeros_like(x), jnp.float32(0.0))

    def update(self, sde, row, x, eps, key, memory):
        start, slope, s_start = memory
        s, s_to = row.std / row.alpha, row.to_std / row.to_alpha
        y = x / row.alpha
        predicted = row.to_alpha * (y + (s_to - s) * eps)
        corrected = row.alpha * (start + 0.5 * (s - s_start) * (slope + eps))
        new = (y, eps, s)
        memory = jax.tree.map(lambda a, b: jnp.where(row.main, a, b), new, memory)
        return jnp.where(row.main, predicted, corrected), memory


@final
@dataclasses.dataclass(frozen=True)
class ProbabilityFlow(Sampler):
    """The probability-flow ODE by an adaptive solver (Song et al. 2021b, Eq. 13).

    diffrax's Tsit5 on the process's clock. `steps` and `spacing` choose only the
    times an observer sees, at one further evaluation each.

    Attributes:
      rtol, atol: tolerances of the solver.
      max_steps: solver steps after which the run ends without an image (inf).
    """

    steps: int | None = 20
    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("rtol", self.rtol)
        positive("atol", self.atol)

    def evaluations(self, sde: SDE) -> int | None:
        return None

    def run(
        self,
        model: Denoiser,
        x: Image,
        key: Key,
        condition: Any = None,
        observe: Observer | None = None,
    ) -> tuple[Image, Any]:
        import diffrax

        sde, times = model.sde, jnp.asarray(self.times(model.sde))
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, x, _: model.velocity(x, t, condition)),
            diffrax.Tsit5(),
            t0=sde.t1,
            t1=sde.t0,
            dt0=None,
            y0=x,
            stepsize_controller=diffrax.PIDController(rtol=self.rtol, atol=self.atol),
            saveat=diffrax.SaveAt(t1=True, ts=None if observe is None else times),
            max_steps=self.max_steps,
            throw=False,
        )
        states = solution.ys
        seen = None
        if observe is not None:
            look = functools.partial(self._look, model, condition, observe)
            seen = jax.lax.map(look, (states[:-1], times))
        x = states[-1]
        return (model.denoised(x, sde.t0, condition) if self.denoise else x), seen

    @staticmethod
    def _look(model: Denoiser, condition: Any, observe: Observer, at: Any) -> Any:
        x, t = at
        return observe(x, model.denoised(x, t, condition), t)


SAMPLERS = {
    "ancestral": Ancestral,
    "ddim": Ddim,
    "euler_maruyama": EulerMaruyama,
    "reverse_diffusion": ReverseDiffusion,
    "predictor_corrector": PredictorCorrector,
    "heun": Heun,
    "ode": ProbabilityFlow,
}
