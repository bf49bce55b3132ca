"""Which diffusion steps an exhibit shows: fixed in the config, or on reference data.

Nothing here ever sees the rows that an exhibit reports on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from score_mia.attacks.protocol import Attack, Columns
from score_mia.auditing.plan import Plan
from score_mia.check import UserError, one_of, require, within
from score_mia.engine import view
from score_mia.rules.best import Best
from score_mia.rules.column import Column
from score_mia.sde import SDE
from score_mia.target import Target

CHOSEN = "chosen"
"""In the place of a time: the step that the attack's rule chose on reference data."""


@dataclasses.dataclass(frozen=True, eq=False)
class Clock:
    """The columns of a per-step signal on its process's clock.

    Attributes:
      attack: the attack's name.
      names: [K] columns, e.g. "loss@200".
      time: [K] on the process's own clock.
      sde: the process.
    """

    attack: str
    names: tuple[str, ...]
    time: Float[np.ndarray, " k"]
    sde: SDE

    @cached_property
    def log_snr(self) -> Float[np.ndarray, " k"]:
        """ln(alpha² / std²) at each time."""
        return log_snr_at(self.sde, self.time)

    @property
    def label(self) -> str:
        """Of the time axis."""
        return "time t" if self.sde.discrete_steps is None else "diffusion step t"

    def column(self, time: float) -> int:
        """The column measured at this very time.

        Raises:
          UserError: there is none; the nearest two are named.
        """
        far = np.abs(self.time - time)
        near = int(np.argmin(far))
        ok = bool(far[near] <= 1e-6 * max(1.0, abs(time)))
        others = " and ".join(f"{self.time[k]:g}" for k in np.argsort(far)[:2])
        require(
            ok,
            f"time {time:g}",
            f"is no column of attack {self.attack!r}",
            f"put it into the attack's times, or take one of them (nearest: {others})",
        )
        return near

    def nearest(self, log_snr: float) -> int:
        """The column whose log-SNR is nearest to the one asked for."""
        return int(np.argmin(np.abs(self.log_snr - log_snr)))


@dataclasses.dataclass(frozen=True)
class Steps:
    """The steps of an exhibit, as its config says them.

    Attributes:
      times: on each process's own clock: a list for all audits, or a mapping from an
        audit's name to its list. A time may be "chosen": what the attack's rule chose
        on reference data.
      log_snr: in place of times: the nearest column to each of these, for all audits.
    """

    times: Mapping[str, Any] | tuple[Any, ...] = ()
    log_snr: tuple[float, ...] = ()

    def of(self, audit: str) -> tuple[Any, ...]:
        """The times asked of one audit, "chosen" among them."""
        if not isinstance(self.times, Mapping):
            return _listed(self.times)
        require(
            audit in self.times,
            f"times of audit {audit!r}",
            "are not given",
            f"add times[{audit!r}], or leave the audit out",
        )
        return _listed(self.times[audit])

    def check(self, audit: str, plan: Plan, attack: str) -> None:
        """Tell before training what cannot be shown.

        Raises:
          UserError: both or neither kind is given, a time that is no column, "chosen"
            for a rule that chooses none, an audit unknown to the mapping.
        """
        require(
            bool(self.times) != bool(self.log_snr),
            f"times={self.times!r}, log_snr={self.log_snr!r}",
            "are not one of the two",
            "give the steps either as times or as log_snr",
        )
        clock = clock_of(plan, attack)
        for time in self.of(audit) if self.times else ():
            if isinstance(time, str):
                one_of("times", time, (CHOSEN,))
                require(
                    isinstance(find(plan, attack).rule, Best | Column),
                    f"times={CHOSEN!r}",
                    f"the rule of attack {attack!r} chooses no single step",
                    "name the times",
                )
            else:
                clock.column(float(time))

    def columns(self, audit: str, clock: Clock, chosen: str | None) -> list[int]:
        """Columns to show, in the order asked, each once.

        Args:
          audit: the audit's name.
          clock: of its attack.
          chosen: the column its fitted rule chose, if it is such a rule.
        """
        if self.log_snr:
            found = [clock.nearest(level) for level in self.log_snr]
        else:
            found = []
            for time in self.of(audit):
                if time != CHOSEN:
                    found.append(clock.column(float(time)))
                elif chosen in clock.names:
                    found.append(clock.names.index(chosen))
        return list(dict.fromkeys(found))


def _listed(value: Any) -> tuple[Any, ...]:
    """One time without a list means a list of one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def find(plan: Plan, attack: str) -> Attack:
    """An attack of an audit by its name; `UserError` if it has none."""
    known = {a.name: a for a in plan.attacks}
    one_of("attack", attack, known)
    return known[attack]


def clock_of(plan: Plan, attack: str) -> Clock:
    """The clock of a per-step attack.

    Raises:
      UserError: the attack is unknown, or its signal tells no times.
    """
    columns = columns_of(plan, find(plan, attack))
    if columns.times is None:
        raise UserError(
            f"attack {attack!r} is not measured step by step; take one that is, such "
            "as the loss"
        )
    times = np.asarray(columns.times, np.float64)
    return Clock(attack, columns.names, times, plan.sde)


def columns_of(plan: Plan, attack: Attack) -> Columns:
    """What the first signal of an attack measures."""
    kind = plan.model
    target = Target(None, kind.sde, kind.parameterisation, _nothing, kind.codec)
    signal = next(iter(attack.signals.values()))
    return signal.columns(view(target, signal.access))


def _nothing(*_: Any) -> Any:
    raise NotImplementedError


def log_snr_at(sde: SDE, times: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """The process's log-SNR at each time."""
    found = jax.vmap(sde.log_snr)(jnp.asarray(times, jnp.float32))
    return np.asarray(found, np.float64)


def times_on(sde: SDE, steps: Steps, audit: str) -> list[float]:
    """The times of an exhibit that needs no column: any that the process has."""
    if steps.log_snr:
        exact = [float(sde.time_at(level)) for level in steps.log_snr]
        whole = sde.discrete_steps is not None
        return list(dict.fromkeys(float(round(t)) if whole else t for t in exact))
    times = []
    for time in steps.of(audit):
        require(
            not isinstance(time, str),
            f"times={time!r}",
            "is no number",
            "name the times of pictures",
        )
        # t0 and t1 may be rounded by float32, and so are the times.
        low, high = float(np.float32(sde.t0)), float(np.float32(sde.t1))
        rounded = float(np.float32(time))
        within("times", time if low <= time <= high else rounded, low, high)
        times.append(float(time))
    return times


def time_text(sde: SDE, time: float) -> str:
    """A time as people write it: a whole step, or three digits."""
    return f"{time:.0f}" if sde.discrete_steps is not None else f"{time:.3g}"
