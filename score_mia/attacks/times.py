"""At which times a signal looks, and how its columns are called.

Papers count times out of 1,000, as DDPM's steps are. Such a *level* is a place on the
process's own clock, whatever that is: 0 is nearly clean, 999 the most noise. So a
published setting has a meaning for every process, and is DDPM's own step for DDPM.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from score_mia.attacks.protocol import NETWORK_EVALUATIONS, Columns
from score_mia.check import require, within
from score_mia.codecs import half_range
from score_mia.sde import SDE
from score_mia.target import Denoiser

LEVELS = 1000
"""Levels of noise are counted out of so many."""

Asked = int | tuple[float, ...] | None
"""A number of times spread by the process's clock, the times themselves, or the
signal's usual ones."""


def check_times(times: Asked) -> None:
    """Refuse an empty tuple; the times in it are checked where the process is known."""
    if isinstance(times, tuple):
        require(len(times) > 0, "times=()", "is empty", "name a time")


def check_levels(levels: tuple[int, ...]) -> None:
    """Refuse levels that are none, or none of the 1,000."""
    require(len(levels) > 0, "levels=()", "is empty", "name a level")
    for level in levels:
        within("levels", level, 0, LEVELS - 1)


def check_placed(times: Asked, log_snrs: tuple[float, ...]) -> None:
    """`check_times`, and refuse log-SNRs that are none, or no numbers."""
    check_times(times)
    require(len(log_snrs) > 0, "log_snrs=()", "is empty", "name a level")
    ok = bool(np.isfinite(log_snrs).all())
    require(ok, f"log_snrs={log_snrs}", "is not finite", "give numbers, as 4.0")


def at_levels(sde: SDE, levels: Sequence[int]) -> Float[np.ndarray, " n"]:
    """Levels out of 1,000 as times of the process, float32."""
    whole = sde.times(min(LEVELS, sde.discrete_steps or LEVELS))
    places = np.rint(np.asarray(levels) * len(whole) / LEVELS).astype(int)
    return whole[np.minimum(places, len(whole) - 1)]


def at_log_snr(model: Denoiser, log_snrs: Sequence[float]) -> Float[np.ndarray, " n"]:
    """The times at which x in [-1, 1] would have these log-SNRs, float32.

    Where x has another range, the noise is the same share of it. A discrete model's
    are its nearest steps; places beyond its ends are its ends, and two of them one.
    """
    own = np.asarray(log_snrs, np.float32) - 2 * np.log(half_range(model.codec))
    return _found(model.sde, tuple(own.tolist()))


@functools.lru_cache(maxsize=256)
def _found(sde: SDE, log_snrs: tuple[float, ...]) -> Float[np.ndarray, " n"]:
    """Ascending times of a process at log-SNRs of its own, float32, read-only.

    Kept, since each search is compiled anew, and signals ask for it many times.
    """
    with jax.ensure_compile_time_eval():  # which times is no question of the program
        asked = jnp.asarray(np.asarray(log_snrs, np.float32))
        times = np.asarray(jax.vmap(sde.time_at)(asked))
    times = np.unique(times if sde.discrete_steps is None else np.rint(times))
    times.flags.writeable = False
    return times


def strided(
    sde: SDE, levels: Int[np.ndarray, "..."], step: int
) -> Float[np.ndarray, "..."]:
    """The times of levels that are `step` apart along the last axis, float32.

    Raises:
      UserError: the step is shorter than the process's own, so that two are one.
    """
    times = at_levels(sde, levels.ravel().tolist()).reshape(levels.shape)
    ok = bool((np.diff(times, axis=-1) > 0).all())
    problem = f"is less than one of the process's {sde.discrete_steps} steps"
    require(ok, f"step={step}", problem, "give a longer one")
    return times


def chosen_times(
    sde: SDE, times: Asked, usual: tuple[int, ...] | None = None
) -> Float[np.ndarray, " k"]:
    """The times that a signal's field names, float32, ascending as given.

    Args:
      sde: the process.
      times: of the field.
      usual: levels that None stands for; without them it stands for all steps of a
        discrete model and 1,000 times of a continuous one.

    Raises:
      UserError: a time lies outside the process, or is no step of a discrete model.
    """
    if times is None and usual is not None:
        return at_levels(sde, usual)
    if not isinstance(times, tuple):
        return sde.times(times)
    found = np.asarray(times, np.float32)
    # t0 and t1 may be rounded by float32, and so are the times.
    low, high = float(np.float32(sde.t0)), float(np.float32(sde.t1))
    for given, t in zip(times, found, strict=True):
        within("times", float(t) if low <= t <= high else float(given), low, high)
        ok = sde.discrete_steps is None or float(t).is_integer()
        remedy = f"give whole numbers from 0 to {high:.0f}"
        require(ok, f"times={given}", "is no step of this discrete model", remedy)
    return found


def placed(
    model: Denoiser, times: Asked, log_snrs: Sequence[float]
) -> Float[np.ndarray, " k"]:
    """The times that are named, or else those of log-SNRs, float32.

    Raises:
      UserError: see `chosen_times`.
    """
    if times is None:
        return at_log_snr(model, log_snrs)
    return chosen_times(model.sde, times)


def columns_of(
    kinds: Sequence[str], sde: SDE, times: Float[np.ndarray, " k"]
) -> tuple[str, ...]:
    """A column of each kind at each time, kind by kind; see `column_names`."""
    return tuple(name for kind in kinds for name in column_names(kind, sde, times))


def column_names(
    what: str, sde: SDE, times: Float[np.ndarray, " k"]
) -> tuple[str, ...]:
    """ "loss@200" for a step, "loss@0.2100" for a continuous time.

    Four decimals where the process's clock is even in t, else four significant digits
    ("loss@0.003341", "loss@80").

    Raises:
      UserError: two times share a name.
    """
    digits = ".4g" if sde.discrete_steps is None else ".0f"
    if sde.discrete_steps is None and sde.clock.even:
        digits = ".4f"
    found = tuple(f"{what}@{t:{digits}}" for t in times)
    problem = "are so close that columns share a name of four digits"
    asked = f"times={tuple(times.tolist())!r}"
    require(len(set(found)) == len(found), asked, problem, "give fewer times")
    return found


def columns_at(
    what: str, sde: SDE, times: Float[np.ndarray, " k"], evaluations: float, title: str
) -> Columns:
    """One column for each time, of a signal that costs so many evaluations an image."""
    names = column_names(what, sde, times)
    return Columns(names, times, (NETWORK_EVALUATIONS,), evaluations, title=title)


def spent(evaluations: float) -> Float[Array, " 1"]:
    """The diagnostic that goes with `columns_at`."""
    return jnp.full((1,), evaluations, jnp.float32)
