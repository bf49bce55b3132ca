"""The samplers, each one update formula; see the package for what they share."""

from __future__ import annotations

import dataclasses
from typing import Any, final

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from score_mia.arrays import Image, Key, Scalar
from score_mia.check import at_least, one_of, positive, within
from score_mia.sampling.base import (
    Move,
    Observer,
    OneStep,
    Predict,
    Row,
    Sampler,
    StepSampler,
)
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
class Ancestral(OneStep):
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

    def update(self, sde: SDE, row: Row, x: Image, eps: Image, key: Key) -> Image:
        std = row.bridge[2]
        if self.variance == "forward":
            std = jnp.where(row.clean, 0.0, jnp.sqrt(row.gained))
        return _ancestral(row, x, eps, std, _gaussian(key, x))


@final
@dataclasses.dataclass(frozen=True)
class Ddim(OneStep):
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

    def update(self, sde: SDE, row: Row, x: Image, eps: Image, key: Key) -> Image:
        x0 = _denoised(row, x, eps)
        if self.eta == 0.0:
            return row.to_alpha * x0 + row.to_std * eps
        added = self.eta * row.bridge[2]
        kept = jnp.sqrt(jnp.maximum(row.to_std**2 - added**2, 0.0))
        return row.to_alpha * x0 + kept * eps + added * _gaussian(key, x)


@final
@dataclasses.dataclass(frozen=True)
class EulerMaruyama(OneStep):
    """Euler–Maruyama on the reverse-time SDE (Song et al. 2021b, Eq. 6).

    The last move denoises exactly, where score_sde takes one more Euler step without
    its noise.
    """

    def update(self, sde: SDE, row: Row, x: Image, eps: Image, key: Key) -> Image:
        return _euler_maruyama(sde, row, x, eps, _gaussian(key, x))


@final
@dataclasses.dataclass(frozen=True)
class ReverseDiffusion(OneStep):
    """The reverse-time SDE discretised as the forward one is (2021b, App. E)."""

    def update(self, sde: SDE, row: Row, x: Image, eps: Image, key: Key) -> Image:
        return _reverse_diffusion(row, x, eps, _gaussian(key, x))


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

    def move(self, network: Predict, sde: SDE, row: Row, x: Image, key: Key) -> Move:
        """Corrections at row.t, each with a new z, then the predictor."""
        first = row.index * jnp.uint32(self.corrections + 1)

        def again(k: Int[Array, ""], x: Image) -> Image:
            z = _gaussian(jax.random.fold_in(key, first + jnp.uint32(k)), x)
            return self.correct(row, x, network(x, row.t), z)

        x = jax.lax.fori_loop(0, self.corrections, again, x)
        eps = network(x, row.t)
        last = first + jnp.uint32(self.corrections)
        z = _gaussian(jax.random.fold_in(key, last), x)
        return Move(self.predict(sde, row, x, eps, z), x, eps)

    def predict(self, sde: SDE, row: Row, x: Image, eps: Image, noise: Image) -> Image:
        """The predictor's move."""
        if self.predictor == "ancestral":
            return _ancestral(row, x, eps, row.bridge[2], noise)
        if self.predictor == "euler_maruyama":
            return _euler_maruyama(sde, row, x, eps, noise)
        return _reverse_diffusion(row, x, eps, noise)

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

    def move(self, network: Predict, sde: SDE, row: Row, x: Image, key: Key) -> Move:
        """Lines 4 to 8, where dy/ds is the predicted noise."""
        y, h = x / row.alpha, row.to_std / row.to_alpha - row.std / row.alpha
        d = network(x, row.t)
        euler = y + h * d

        def corrected() -> Image:
            return y + h * 0.5 * (d + network(row.to_alpha * euler, row.to))

        y = jax.lax.cond(row.clean, lambda: euler, corrected)
        return Move(row.to_alpha * y, x, d)


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
        times: Float[ArrayLike, " n"],
        key: Key,
        condition: Any = None,
        observe: Observer | None = None,
    ) -> tuple[Image, Any]:
        import diffrax

        times = jnp.asarray(times, jnp.float32)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, x, _: model.velocity(x, t, condition)),
            diffrax.Tsit5(),
            t0=times[0],
            t1=times[-1],
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

            def look(at: tuple[Image, Scalar]) -> Any:
                return observe(at[0], model.denoised(*at, condition), at[1])

            seen = jax.lax.map(look, (states[:-1], times))
        x = states[-1]
        return (model.denoised(x, times[-1], condition) if self.denoise else x), seen


SAMPLERS = {
    "ancestral": Ancestral,
    "ddim": Ddim,
    "euler_maruyama": EulerMaruyama,
    "reverse_diffusion": ReverseDiffusion,
    "predictor_corrector": PredictorCorrector,
    "heun": Heun,
    "ode": ProbabilityFlow,
}
