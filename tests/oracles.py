"""Targets whose every answer is known: what the library is measured against.

`gaussian_target`: data N(m, C) has an exact score for any process, so likelihoods,
losses and samplers have closed forms. `memorising_target`: the exact score of a finite
training set, a model that memorises perfectly without being trained; every attack must
separate its members. `mixture_target`: a mixture of Gaussians, or what memorises
up to some noise, with the density in closed form. All are ordinary `Target`s: their
network functions invert the given parameterisation, so that this, too, is under test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.special

from score_mia.codecs import Affine
from score_mia.parameterisation import Noise, Parameterisation
from score_mia.sde import SDE
from score_mia.target import Target


def gaussian_target(
    sde: SDE,
    mean: np.ndarray,
    covariance: np.ndarray,
    parameterisation: Parameterisation | None = None,
    codec: Affine | None = None,
) -> Target:
    """The exact target for data N(mean, covariance) in the target's space.

    Args:
      sde: any process.
      mean: [h, w, c].
      covariance: [d, d] with d = h w c; need not be isotropic.
      parameterisation: what the network's output is to mean; the noise by default.
      codec: image to target space; [0, 1] to [-1, 1] by default.
    """
    eigenvalues, basis = np.linalg.eigh(np.asarray(covariance, np.float64))
    params = {
        "mean": jnp.asarray(mean, jnp.float32),
        "eigenvalues": jnp.asarray(np.maximum(eigenvalues, 0.0), jnp.float32),
        "basis": jnp.asarray(basis, jnp.float32),
    }
    return _target(sde, parameterisation, codec, params, gaussian_eps)


def standard_target(sde: SDE, image: Any) -> tuple[Target, np.ndarray]:
    """The exact target of data N(0, I), and an image in its space, float64 [h, w, c].

    Its network is eps(x, t) = `seen(sde, t)` x, and most signals a few products.
    """
    target = gaussian_target(sde, np.zeros(image.shape), np.eye(image.size))
    return target, np.asarray(target.codec.encode(jnp.asarray(image)), np.float64)


def scales(sde: SDE, t: Any) -> tuple[float, float]:
    """alpha and std at one time, float64."""
    return float(sde.alpha(float(t))), float(sde.std(float(t)))


def seen(sde: SDE, t: Any) -> float:
    """std / (alpha^2 + std^2): of a process that keeps the variance, std."""
    alpha, std = scales(sde, t)
    return std / (alpha**2 + std**2)


def memorising_target(
    sde: SDE,
    images: np.ndarray,
    parameterisation: Parameterisation | None = None,
    codec: Affine | None = None,
    width: float = 0.0,
) -> Target:
    """The exact target of a finite training set: images [n, h, w, c] in [0, 1].

    With a `width`, that of an equal mixture of N(image, width^2 I) in the target's
    space: like a trained network, it tells images apart at noise from about that on
    and no lower.
    """
    codec = codec or Affine()
    params = {
        "images": codec.encode(jnp.asarray(images, jnp.float32)),
        "width": jnp.float32(width),
    }
    return _target(sde, parameterisation, codec, params, memorising_eps)


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of K Gaussians in the target's space, in float64.

    Attributes:
      mean: [K, d].
      basis, variance: [K, d, d] and [K, d], the eigenvectors (columns) and eigenvalues
        of each covariance.
      weight: [K], of sum 1.
    """

    mean: np.ndarray
    basis: np.ndarray
    variance: np.ndarray
    weight: np.ndarray

    def sample(self, count: int, seed: int) -> np.ndarray:
        """Draws [count, d]."""
        rng = np.random.default_rng(seed)
        k = rng.choice(len(self.weight), count, p=self.weight)
        z = rng.normal(size=(count, self.mean.shape[1])) * np.sqrt(self.variance[k])
        return self.mean[k] + np.einsum("nij,nj->ni", self.basis[k], z)

    def log_prob(self, x: np.ndarray, alpha: float, std: float) -> np.ndarray:
        """Log density [n] in nats of x_t at x [n, d]."""
        away = x[:, None] - alpha * self.mean
        z = np.einsum("kdi,nkd->nki", self.basis, away)
        variance = alpha**2 * self.variance + std**2
        terms = np.sum(z**2 / variance + np.log(2 * np.pi * variance), axis=2)
        return scipy.special.logsumexp(np.log(self.weight) - 0.5 * terms, axis=1)


def spikes(x: np.ndarray, width: float) -> Mixture:
    """What memorises the points x [n, d] up to noise of this standard deviation."""
    n, d = x.shape
    basis = np.broadcast_to(np.eye(d), (n, d, d))
    return Mixture(x, basis, np.full((n, d), width**2), np.full(n, 1 / n))


def random_mixture(d: int, seed: int = 0) -> Mixture:
    """Three Gaussians, none isotropic, eigenvalues from 0.003 to 0.5."""
    rng = np.random.default_rng(seed)
    basis = [np.linalg.qr(rng.normal(size=(d, d)))[0] for _ in range(3)]
    variance = [rng.permutation(np.geomspace(0.003, 0.5, d)) for _ in range(3)]
    return Mixture(
        0.4 * rng.normal(size=(3, d)),
        np.array(basis),
        np.array(variance),
        np.array([0.55, 0.3, 0.15]),
    )


def mixture_target(sde: SDE, mixture: Mixture) -> Target:
    """The exact target of a mixture, told the noise, images in [-1, 1]."""
    fields = dataclasses.asdict(mixture)
    params = {name: jnp.asarray(a, jnp.float32) for name, a in fields.items()}
    return _target(sde, None, None, params, mixture_eps)


def mixture_log_prob(target: Target, t: float) -> Callable[[Any], Any]:
    """x -> log p_t(x) in nats for a target of a mixture, in JAX."""
    alpha, std = target.sde.alpha(t), target.sde.std(t)
    return lambda x: jax.nn.logsumexp(_mixture_terms(target.params, x, alpha, std)[0])


def _mixture_terms(p, x, alpha, std):
    """Log of each component's part of p_t(x) [K], its z [K, d] and variances [K, d]."""
    away = x.ravel()[None] - alpha * p["mean"]
    z = jnp.einsum("kdi,kd->ki", p["basis"], away)
    variance = alpha**2 * p["variance"] + std**2
    terms = jnp.sum(z**2 / variance + jnp.log(2 * np.pi * variance), axis=1)
    return jnp.log(p["weight"]) - 0.5 * terms, z, variance


def mixture_eps(params, x, alpha, std):
    """std times each component's whitened distance, weighted by its responsibility."""
    terms, z, variance = _mixture_terms(params, x, alpha, std)
    each = jnp.einsum("kdi,ki->kd", params["basis"], std * z / variance)
    return (jax.nn.softmax(terms) @ each).reshape(x.shape)


def random_gaussian(
    shape: tuple[int, ...], seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(mean [*shape], covariance [d, d]) with eigenvalues from 0.05 to 1."""
    rng = np.random.default_rng(seed)
    d = int(np.prod(shape))
    basis, _ = np.linalg.qr(rng.normal(size=(d, d)))
    return 0.3 * rng.normal(size=shape), (basis * np.geomspace(0.05, 1.0, d)) @ basis.T


def marginal(
    sde: SDE, mean: np.ndarray, covariance: np.ndarray, t: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] and covariance [d, d] of x_t, float64."""
    alpha, std = float(sde.alpha(t)), float(sde.std(t))
    mean = alpha * np.asarray(mean, np.float64).ravel()
    return mean, alpha**2 * np.asarray(covariance) + std**2 * np.eye(mean.size)


def marginal_log_prob(target: Target, t: float) -> Callable[[Any], Any]:
    """x -> log p_t(x) in nats for a Gaussian target, in JAX: the exact terminal law."""
    p, alpha, std = target.params, target.sde.alpha(t), target.sde.std(t)
    variance = alpha**2 * p["eigenvalues"] + std**2

    def log_prob(x):
        z = p["basis"].T @ (x - alpha * p["mean"]).ravel()
        return -0.5 * jnp.sum(z**2 / variance + jnp.log(2 * np.pi * variance))

    return log_prob


def gaussian_eps(params, x, alpha, std):
    """E[eps | x_t = x] = std (alpha^2 C + std^2 I)^-1 (x - alpha m)."""
    z = params["basis"].T @ (x - alpha * params["mean"]).ravel()
    z = std / (alpha**2 * params["eigenvalues"] + std**2) * z
    return (params["basis"] @ z).reshape(x.shape)


def memorising_eps(params, x, alpha, std):
    """std sum_i w_i (x - alpha x_i) / v, v = std^2 + alpha^2 width^2, w the softmax."""
    distance = x[None] - alpha * params["images"]
    variance = std**2 + (alpha * params["width"]) ** 2
    logits = -0.5 * jnp.sum(distance**2, axis=(1, 2, 3)) / variance
    # Averaging the differences, not the images, keeps a member's own term exact.
    return jnp.tensordot(jax.nn.softmax(logits), distance, axes=1) * std / variance


@dataclasses.dataclass(frozen=True)
class OracleNetwork:
    """The F of eps = skip x + out F(inp x, label) for an exact eps; hashable."""

    sde: SDE
    parameterisation: Parameterisation
    exact: Callable

    def __call__(self, params, x, label, condition=None):
        return jax.vmap(self.one, (None, 0, 0))(params, x, label)

    def one(self, params, scaled, label):
        told = (label - self.parameterisation.offset) / self.parameterisation.scale
        kind = self.parameterisation.label
        if kind in ("time", "log_sigma"):
            t = told if kind == "time" else self.sde.time_at(-2.0 * told)
            std = self.sde.std(t)
        else:
            std = told if kind == "std" else jnp.exp(told)
            t = self.time_of(std)
        alpha = self.sde.alpha(t)
        c = self.parameterisation.scalars(t, alpha, std)
        x = scaled / c.inp
        return (self.exact(params, x, alpha, std) - c.skip * x) / c.out

    def time_of(self, std):
        """The time with this noise level, by bisection (std ascends in t)."""

        def halve(_, ends):
            low, high = ends
            mid = 0.5 * (low + high)
            below = self.sde.std(mid) < std
            return jnp.where(below, mid, low), jnp.where(below, high, mid)

        ends = (jnp.float32(self.sde.t0), jnp.float32(self.sde.t1))
        low, high = jax.lax.fori_loop(0, 50, halve, ends)
        return 0.5 * (low + high)


def _target(sde, parameterisation, codec, params, exact) -> Target:
    meaning = parameterisation or Noise()
    network = OracleNetwork(sde, meaning, exact)
    return Target(params, sde, meaning, network, codec or Affine())


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The epsilon of mu-Gaussian privacy at `delta` (Dong, Roth & Su, Corollary 1)."""

    def excess(epsilon: float) -> float:
        upper, lower = -epsilon / mu + mu / 2, -epsilon / mu - mu / 2
        tail = np.exp(epsilon + scipy.special.log_ndtr(lower))
        return float(scipy.special.ndtr(upper) - tail) - delta

    if mu == 0.0 or excess(0.0) <= 0:
        return 0.0
    return float(scipy.optimize.brentq(excess, 0.0, 10 * mu**2 + 100 * mu, xtol=1e-12))
