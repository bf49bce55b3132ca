"""The attacks of Hu & Pang 2023 (2301.09956) as their published code computes them.

Where the code (repository HailongHuPri/MIDM) departs from the training code beside it,
and only there, these differ from `Loss` and `Likelihood`. Run both in one audit to see
what changes when it is done right; docs/interop.md has the table of departures. Each is
the right attack on another target, which is how the departures are written here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from score_mia.arrays import Scalar, ScalarLike
from score_mia.attacks.loss import Loss
from score_mia.attacks.protocol import (
    NETWORK_EVALUATIONS,
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.check import require
from score_mia.likelihood import Adaptive, Prior, bits_per_dim, log_prob
from score_mia.papers.hu_pang.counting import paper_compatible
from score_mia.parameterisation import Noise, Parameterisation
from score_mia.sde import DDPM, SDE, SMLD, VE, VP
from score_mia.target import Apply, Denoiser, Target


@dataclasses.dataclass(frozen=True)
class PublishedLoss:
    """The loss attack with SMLD's noise levels as published: 50 ... 0.001.

    Their attack has these two numbers in its code, whatever the model was trained on
    (their SMLD: 90 ... 0.01). The network is asked about level k and given noise of
    another size, up to ten times less, and the loss is weighted by the wrong level
    too. For DDPM, VP and VE the code is right, and this is `Loss`.

    Times are told as they count them: for SMLD the index of the level, 0 being the
    *most* noise, else as in `Loss`. Their SMLD draws one noise for all levels, here
    each level has its own, which changes no column's law.

    Attributes:
      times, draws, chunk: see `Loss`; for SMLD, times are their indices.
      sigma_min, sigma_max: the noise levels of the attack on SMLD.
    """

    times: int | tuple[float, ...] | None = None
    draws: int = 1
    chunk: int = 10
    sigma_min: float = 0.001
    sigma_max: float = 50.0

    access: ClassVar[Access] = "scores"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        _ = Loss(self.times, self.draws, self.chunk)
        _ = SMLD(self.sigma_min, self.sigma_max)

    def _loss(self, sde: SDE) -> Loss:
        times = self.times
        if _counts_down(sde) and isinstance(times, tuple):
            times = tuple(sde.t1 - t for t in times)
        return Loss(times, self.draws, self.chunk)

    def at(self, sde: SDE) -> np.ndarray:
        """The times [K] of the columns on the process's own clock (`Loss.at`)."""
        return self._loss(sde).at(sde)

    def columns(self, model: Denoiser) -> Columns:
        """As of `Loss`."""
        sde = model.sde
        columns = self._loss(sde).columns(model)
        title = f"{columns.title}, as published"
        return columns._replace(names=self.names(sde), title=title)

    def names(self, sde: SDE) -> tuple[str, ...]:
        """As in `Loss`, for SMLD with their index: "loss@800" is our time 199."""
        if not _counts_down(sde):
            return self._loss(sde).names(sde)
        return tuple(f"loss@{sde.t1 - t:.0f}" for t in self.at(sde))

    def __call__(self, model: Denoiser, query: Query, products: Any = ()) -> Reading:
        """Minus the losses of one image."""
        sde, loss = model.sde, self._loss(model.sde)
        if _counts_down(sde):
            # What the network is told stays right; noise and weight do not.
            levels = SMLD(self.sigma_min, self.sigma_max, int(sde.t1) + 1)
            model = model.under(levels)
        return loss(model, query, products)

    def counted(
        self, scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]
    ) -> Mapping[str, Any]:
        """The numbers as the paper's tables have them (`paper_compatible`)."""
        return paper_compatible(scores, member)


@dataclasses.dataclass(frozen=True)
class PublishedLikelihood:
    """The likelihood attack with the flow of the discrete models as published.

    For VP and VE it is `Likelihood` with one Rademacher probe, an adaptive solver in
    t and the prior N(0, I) (VP) or N(0, sigma_max^2 I) (VE). DDPM and SMLD are put
    into the *continuous* process's flow, t in [1e-5, 1]:

        DDPM  score(x, t) = -F(x, 999 t) / std(floor(999 t))
        SMLD  score(x, t) = F(x, round(999 (1 - t)))

    The network is asked about a discrete level while the flow is at another, and the
    field jumps 999 times on the way.

    Attributes:
      rtol, atol: of the solver (Dormand & Prince's fifth order).
      max_steps: after so many (rejected ones included) the answer is NaN.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 4096

    access: ClassVar[Access] = "gradients"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        self.integrator()

    def integrator(self) -> Adaptive:
        """The solver that the fields describe."""
        return Adaptive("dopri5", self.rtol, self.atol, self.max_steps, clock="time")

    def columns(self, model: Target) -> Columns:
        """One column.

        Raises:
          UserError: the process is none of the paper's four.
        """
        _four(model.sde)
        diagnostics = (NETWORK_EVALUATIONS, "bits_per_dim")
        return Columns(
            ("log_prob",), diagnostics=diagnostics, title="Likelihood, as published"
        )

    def __call__(self, model: Target, query: Query, products: Any = ()) -> Reading:
        """The log density of one image along the published flow."""
        image = query.image
        found = log_prob(
            published_flow(model).denoiser,
            image,
            query.key,
            solver=self.integrator(),
            prior=published_prior(model.sde),
            condition=query.condition,
        )
        bits = bits_per_dim(found.log_prob, image.size)
        return Reading(found.log_prob[None], jnp.stack([found.evaluations, bits]))

    def counted(
        self, scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]
    ) -> Mapping[str, Any]:
        """The numbers as the paper's tables have them (`paper_compatible`)."""
        return paper_compatible(scores, member)


def published_flow(target: Target) -> Target:
    """The continuous target whose flow is the published one of this target.

    Raises:
      UserError: the process is none of the paper's four.
    """
    continuous = _four(target.sde).flow(target.sde)
    if target.sde.discrete_steps is None:
        return target
    return dataclasses.replace(
        target,
        sde=continuous,
        parameterisation=Noise(),
        apply=_Snapped(target.sde, continuous, target.parameterisation, target.apply),
    )


@dataclasses.dataclass(frozen=True)
class _Snapped:
    """The noise that the published score of a discrete model amounts to; hashable."""

    discrete: SDE
    continuous: SDE
    parameterisation: Parameterisation
    apply: Apply

    def __call__(
        self,
        params: Any,
        x: Float[Array, "b ..."],
        label: Float[Array, " b"],
        condition: Any = None,
    ) -> Float[Array, "b ..."]:
        target = Target(params, self.discrete, self.parameterisation, self.apply)

        def one(x: Array, t: Scalar, condition: Any) -> Array:
            step, level = self.places(t)
            score = -target.denoiser.eps(x, step, condition) / self.discrete.std(level)
            return -self.continuous.std(t) * score

        return jax.vmap(one)(x, label, condition)

    def places(self, t: ScalarLike) -> tuple[Scalar, Scalar]:
        """Where the network is asked, and whose noise level its answer is divided by.

        On our clock, where SMLD's index k is the step steps - 1 - k.
        """
        last = self.discrete.t1
        if _counts_down(self.discrete):
            step = last - jnp.round((1.0 - jnp.asarray(t)) * last)
            return step, step
        step = jnp.asarray(t) * last
        return step, jnp.floor(step)


def published_prior(sde: SDE) -> Prior:
    """Log density of x at t1: N(0, sigma_max^2 I) for VE and SMLD, else N(0, I)."""
    std = _four(sde).prior_std(sde)

    def log_prob(x: Float[Array, "..."]) -> Scalar:
        return jnp.sum(jax.scipy.stats.norm.logpdf(x, 0.0, std))

    return log_prob


class _Process(NamedTuple):
    """One of the paper's processes as its code sees it.

    Attributes:
      flow: the continuous process whose flow its likelihood follows.
      prior_std: the standard deviation of its prior.
      counts_down: whether its steps are counted from the most noise.
    """

    flow: Callable[[Any], SDE]
    prior_std: Callable[[Any], float] = lambda sde: 1.0
    counts_down: bool = False


_FOUR: Mapping[type[SDE], _Process] = {
    DDPM: _Process(lambda sde: VP(sde.beta_min, sde.beta_max)),
    SMLD: _Process(
        lambda sde: VE(sde.sigma_min, sde.sigma_max),
        lambda sde: sde.sigma_max,
        counts_down=True,
    ),
    VP: _Process(lambda sde: sde),
    VE: _Process(lambda sde: sde, lambda sde: sde.sigma_max),
}


def _four(sde: SDE) -> _Process:
    problem = "is none of the four that the paper attacks"
    remedy = "use the signal 'likelihood'"
    require(type(sde) in _FOUR, f"sde {type(sde).__name__}", problem, remedy)
    return _FOUR[type(sde)]


def _counts_down(sde: SDE) -> bool:
    return type(sde) in _FOUR and _FOUR[type(sde)].counts_down
