"""What a network's output means, as four scalars in noise form.

    eps(x, t) = skip x + out F(inp x, label)

covers networks that predict the noise, the score, v or the clean image, and EDM's
preconditioning. The label, too, is the parameterisation's affair: an affine function
of the time, the noise level, or a logarithm.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from score_mia.arrays import Scalar, ScalarLike
from score_mia.check import one_of

LABELS = ("time", "std", "log_std", "log_sigma")


class Scalars(NamedTuple):
    """eps = skip x + out F(inp x, label)."""

    skip: Scalar
    out: Scalar
    inp: Scalar
    label: Scalar


Coefficients: TypeAlias = tuple[ScalarLike, ScalarLike, ScalarLike]
"""(skip, out, inp)."""


@dataclasses.dataclass(frozen=True)
class Parameterisation(abc.ABC):
    """What F means; subclasses give (skip, out, inp).

    Attributes:
      label: what the network is told: "time", "std", "log_std" or "log_sigma", the
        natural logarithm of std/alpha.
      scale, offset: label = scale * that + offset. VP networks of score_sde are told
        999 t, SMLD ones (steps - 1) - t, VE ones std(t), EDM ones log(std/alpha)/4.
    """

    label: str = "time"
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        one_of("label", self.label, LABELS)

    @abc.abstractmethod
    def coefficients(self, alpha: Scalar, std: Scalar) -> Coefficients:
        """(skip, out, inp) at signal scale alpha and noise level std."""

    def scalars(self, t: ScalarLike, alpha: Scalar, std: Scalar) -> Scalars:
        """The four scalars at time t, where the process has (alpha, std)."""
        skip, out, inp = (jnp.asarray(c) for c in self.coefficients(alpha, std))
        label = jnp.asarray(t, jnp.float32)
        if self.label != "time":
            level = std / alpha if self.label == "log_sigma" else std
            label = level if self.label == "std" else jnp.log(level)
        return Scalars(skip, out, inp, self.scale * label + self.offset)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Noise(Parameterisation):
    """F predicts eps (Ho et al. 2020, Eq. 14)."""

    def coefficients(self, alpha: Scalar, std: Scalar) -> Coefficients:
        """eps = F."""
        return 0.0, 1.0, 1.0


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Score(Parameterisation):
    """F predicts the score, -eps / std (Song & Ermon 2019, Eq. 5)."""

    def coefficients(self, alpha: Scalar, std: Scalar) -> Coefficients:
        """eps = -std F."""
        return 0.0, -std, 1.0


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Velocity(Parameterisation):
    """F predicts v = alpha eps - std x0 (Salimans & Ho 2022, App. D).

    alpha x + ... : x = alpha x0 + std eps, hence eps = (std x + alpha v) / (alpha^2 +
    std^2); the denominator is 1 for variance-preserving processes.
    """

    def coefficients(self, alpha: Scalar, std: Scalar) -> Coefficients:
        """eps = (std x + alpha F) / (alpha^2 + std^2)."""
        total = alpha**2 + std**2
        return std / total, alpha / total, 1.0


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Flow(Parameterisation):
    """F predicts eps - x0, the velocity of rectified flow (Liu et al. 2023, Eq. 1).

    Not Salimans' v: x = alpha x0 + std eps gives eps = (x + alpha F) / (alpha + std),
    where the sum is 1 for rectified flow.

    Attributes:
      reverse: F predicts x0 - eps, as networks whose time runs from noise to image do
        (SiT; their label is 1 - t: scale -1, offset 1).
    """

    reverse: bool = False

    def coefficients(self, alpha: Scalar, std: Scalar) -> Coefficients:
        """eps = (x + alpha F) / (alpha + std), with -F for F where it is reversed."""
        total = alpha + std
        sign = -1.0 if self.reverse else 1.0
        return 1.0 / total, sign * alpha / total, 1.0


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Denoised(Parameterisation):
    """F predicts x0, so eps = (x - alpha F) / std."""

    def coefficients(self, alpha: Scalar, std: Scalar) -> Coefficients:
        """eps = (x - alpha F) / std."""
        return 1.0 / std, -alpha / std, 1.0


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Karras(Parameterisation):
    """EDM preconditioning (Karras et al. 2022, Table 1), for any (alpha, std).

    With s = std / alpha and x / alpha as EDM's input: D = c_skip x/alpha + c_out
    F(c_in x/alpha, log(s)/4), eps = (x/alpha - D) / s.

    Attributes:
      sigma_data: standard deviation of the data in the network's space.
    """

    label: str = "log_sigma"
    scale: float = 0.25
    sigma_data: float = 0.5

    def coefficients(self, alpha: Scalar, std: Scalar) -> Coefficients:
        """eps = (x/alpha - D) / s, with D of the class's formula."""
        s = std / alpha
        total = s**2 + self.sigma_data**2
        c_skip = self.sigma_data**2 / total
        c_out = s * self.sigma_data / jnp.sqrt(total)
        c_in = 1.0 / jnp.sqrt(total)
        return (1.0 - c_skip) / std, -c_out / s, c_in / alpha


PARAMETERISATIONS = {
    "noise": Noise,
    "score": Score,
    "velocity": Velocity,
    "denoised": Denoised,
    "karras": Karras,
    "flow": Flow,
}
