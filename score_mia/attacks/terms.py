"""The likelihood's terms, each by itself: what attacks along log-SNR are sums of.

With y = x / alpha and s = std / alpha, the exact score of a diffused law obeys
(`score_mia.likelihood.Still`)

    log p_s0(y) = log p_s1(y) + int (div_y eps - |eps|^2 / s) ds,

and its variational bound is int E|eps_r - eps(y + s eps_r)|^2 ds / s, less a constant
(I-MMSE; Kingma et al. 2021, 2107.00630). So one pass along s records at each level

    path          -|eps|^2                       no noise: SimA's number
    divergence    v' (d eps / dx) v std          of a probe v
    error         -|eps_r - eps(x + noise)|^2    the loss

and every attack of this family weighs them: the exact likelihood, the bound, one loss
at one level, and whatever a rule learns from known images. All images share probe and
noises, so that what differs between two is the images.

On a grid (`nodes`) columns are shares of log p in nats: path, divergence and prior sum
to it. Else they are at chosen levels, for rules that weigh.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Key, Scalar
from score_mia.attacks.draws import log_size, noise_at
from score_mia.attacks.protocol import (
    NETWORK_EVALUATIONS,
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.times import check_placed, columns_of, placed, spent
from score_mia.check import at_least, one_of, require
from score_mia.likelihood import Divergence, Still
from score_mia.likelihood.coordinates import Coordinates
from score_mia.target import Denoiser, Target

KINDS = ("path", "divergence", "error")


class _Levels(NamedTuple):
    """Times, and what a path (or an error) and a divergence there count for, each [K].

    `pull` is what coordinates take from each dimension's divergence: see `Coordinates`.
    """

    times: Float[np.ndarray, " k"]
    path: Float[np.ndarray, " k"]
    divergence: Float[np.ndarray, " k"]
    pull: Float[np.ndarray, " k"]


@dataclasses.dataclass(frozen=True)
class Terms:
    """Path, divergence and error at some levels of noise, one column each.

    Attributes:
      log_snrs: levels, of x in [-1, 1]: two between which memory shows, and one of
        less noise.
      times: in their place a number of times, spread by the process's own clock, or
        the times themselves.
      nodes: in their place those of a quadrature over all levels, in nats.
      kinds: which of `KINDS`.
      draws: noises of an error, averaged; each second is minus the one before, so that
        what is odd in the noise falls out of two.
      logs: of paths and errors, for a rule that weighs: what counts is by what factor
        images differ. Sums in nats need them as they are.
    """

    log_snrs: tuple[float, ...] = (7.0, 4.0, 1.0)
    times: int | tuple[float, ...] | None = None
    nodes: int | None = None
    kinds: tuple[str, ...] = ("path", "divergence")
    draws: int = 2
    logs: bool = False

    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        check_placed(self.times, self.log_snrs)
        require(len(self.kinds) > 0, "kinds=()", "is empty", "name a kind")
        for kind in self.kinds:
            one_of("kinds", kind, KINDS)
        twice = len({*self.kinds}) < len(self.kinds)
        require(not twice, f"kinds={self.kinds}", "names one twice", "name each once")
        at_least("draws", self.draws, 1)
        if self.nodes is None:
            return
        at_least("nodes", self.nodes, 2)
        both = self.times is not None
        problem, remedy = "are given with times", "give one of the two"
        require(not both, f"nodes={self.nodes}", problem, remedy)
        problem, remedy = "has no sum in nats", "leave one of logs and nodes out"
        require(not self.logs, "logs=True", problem, remedy)

    @property
    def access(self) -> Access:
        """A divergence differentiates the network, which needs the model itself."""
        return "gradients" if "divergence" in self.kinds else "scores"

    def _levels(self, model: Denoiser) -> _Levels:
        """Where, and with which weights, float32."""
        if self.nodes is None:
            chosen = placed(model, self.times, self.log_snrs)
            one = np.ones_like(chosen)
            with jax.ensure_compile_time_eval():
                spread = jax.vmap(model.sde.std)(jnp.asarray(chosen))
            return _Levels(chosen, one, np.asarray(spread), 0 * one)
        places, weights, _ = Still(self.nodes).rule()
        with jax.ensure_compile_time_eval():
            clock = Coordinates(model)
            first, last = clock.ends()
            at = first + (last - first) * jnp.asarray(places, jnp.float32)
            nodes = jax.vmap(clock.at)(at)
            ds = (last - first) * jnp.asarray(weights, jnp.float32) * nodes.rate
            alpha = jax.vmap(model.sde.alpha)(nodes.t)
            parts = (nodes.t, ds / nodes.s, ds * alpha, ds * nodes.pull)
        return _Levels(*(np.asarray(part, np.float32) for part in parts))

    def columns(self, model: Any) -> Columns:
        """ "path@200", ..., "divergence@200", ...; on a grid "prior" comes first.

        A derivative costs about one pass more.
        """
        denoiser = _denoiser(model)
        sde, times = denoiser.sde, self._levels(denoiser).times
        if self.nodes is None:
            named = columns_of(self.kinds, sde, times)
        else:  # nodes may lie closer than names of times can tell
            counted = itertools.product(self.kinds, range(self.nodes))
            named = tuple(f"{kind}[{k}]" for kind, k in counted)
        first = () if self.nodes is None else ("prior",)
        derived = len(times) if "divergence" in self.kinds else 0
        return Columns(
            (*first, *named),
            None if first else np.tile(times, len(self.kinds)),
            (NETWORK_EVALUATIONS,),
            self._passes(len(times)) + derived,
            title=f"Likelihood's terms: {', '.join(self.kinds)}",
        )

    def _passes(self, levels: int) -> float:
        """Forward passes; one that a divergence is taken of gives the path besides."""
        still = int("divergence" in self.kinds or "path" in self.kinds)
        return float(levels * (still + self.draws * ("error" in self.kinds)))

    def __call__(self, model: Any, query: Query, products: Any = ()) -> Reading:
        """The terms of one image."""
        model = _denoiser(model)
        levels, sde = self._levels(model), model.sde
        told = model.embed(query.condition)
        # As for the likelihood, the image is what is left of y at the least noise.
        y = model.codec.encode(query.image) / sde.alpha(sde.t0)
        probe = Divergence().directions(jax.random.split(query.common)[0], y.shape)[0]

        def at(row: tuple[Array, ...]) -> Float[Array, " kinds"]:
            t, path, divergence, pull = row
            terms = {}

            def eps(x: Array) -> Array:
                return model.eps(x, t, told)

            if "divergence" in self.kinds:
                seen, pushed = jax.jvp(eps, (sde.alpha(t) * y,), (probe,))
                trace = jnp.sum(probe * pushed)
                terms["divergence"] = divergence * trace - pull * y.size
                terms["path"] = -self._size(seen, path)
            elif "path" in self.kinds:
                terms["path"] = -self._size(eps(sde.alpha(t) * y), path)
            if "error" in self.kinds:
                noises = self._noises(query.common, t, y.shape)
                left = jax.lax.map(lambda e: e - eps(sde.perturb(y, t, e)), noises)
                terms["error"] = -self._size(left, path / self.draws)
            return jnp.stack([terms[kind] for kind in self.kinds])

        # One level at a time: a scan's body is compiled once.
        values = jax.lax.map(at, tuple(map(jnp.asarray, levels))).T.ravel()
        cost = spent(self._passes(len(levels.times)))
        if self.nodes is None:
            return Reading(values, cost)
        return Reading(jnp.concatenate([_prior(model, y)[None], values]), cost)

    def _size(self, seen: Array, weight: Scalar) -> Scalar:
        size = weight * jnp.sum(seen**2)
        return log_size(size) if self.logs else size

    def _noises(self, key: Key, t: Scalar, shape: tuple[int, ...]) -> Array:
        """[draws, *shape]: pairs of a noise and minus it."""
        pairs = [noise_at(key, pair, t, shape) for pair in range(-(-self.draws // 2))]
        both = [sign * noise for noise in pairs for sign in (1.0, -1.0)]
        return jnp.stack(both[: self.draws])


def _denoiser(model: Target | Denoiser) -> Denoiser:
    return model.denoiser if isinstance(model, Target) else model


def _prior(model: Denoiser, y: Array) -> Scalar:
    """What log p of the image has besides the integrals."""
    sde, scale, clock = model.sde, model.codec.log_scale or 0.0, Coordinates(model)
    ratio = jnp.log(clock.end().scale / clock.start().scale)
    return sde.prior_log_prob(sde.alpha(sde.t1) * y) + y.size * (ratio + scale)
