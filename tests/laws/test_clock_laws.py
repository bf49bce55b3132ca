"""What the clock of every process must give: times, grids and training that see all.

The oracle is a mixture of narrow spikes on the training images: like a trained network
it knows its members at middle noise levels and at no others, so an attack whose times
miss them finds nothing.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from score_mia.attacks.loss import Loss
from score_mia.check import UserError
from score_mia.clock import (
    CLOCKS,
    Clock,
    KarrasClock,
    LogitNormalClock,
    LogSnrClock,
    spread,
)
from score_mia.device import jit
from score_mia.readings import Evidence, Readings
from score_mia.rules.best import Best
from score_mia.sampling import Ancestral, Ddim, Sampler, sample
from score_mia.sde import EDM, SDE, SDES, VP, RectifiedFlow
from score_mia.train.loss import Objective
from tests.helpers import ask
from tests.oracles import memorising_target


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Silent(SDE):
    """EDM's process as a user would write it, who says nothing of a clock."""

    t0 = 0.002
    t1 = 80.0

    def log_alpha(self, t):
        return 0.0 * jnp.asarray(t, jnp.float32)

    def std(self, t):
        return jnp.asarray(t, jnp.float32)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class SilentSteps(Silent):
    """The same with 400 steps of equal size."""

    t0 = 0.0
    t1 = 399.0
    discrete_steps = 400

    def std(self, t):
        return 0.002 + 0.2 * jnp.asarray(t, jnp.float32)


ALL = {**{name: part() for name, part in SDES.items()}, "silent": Silent()}
N = 60
IDS = np.arange(2 * N)
MEMBER = IDS < N
DIGITS = np.random.default_rng(0).permutation(
    load_digits().images.astype(np.float32)[..., None] / 16
)
COUNTS = (10, 50)


def measured(sde: SDE, models: list[np.ndarray]) -> list[dict[int, float]]:
    """For each model's images: AUC of the default loss at 10 and at 50 times.

    The rule `best` chooses on every other row and is judged on the rest.
    """
    # A column does not depend on the others, so both are read at once.
    both = np.unique(np.concatenate([sde.times(count) for count in COUNTS]))
    every = functools.partial(ask, Loss(times=tuple(both.tolist())))
    read = jit(jax.vmap(every, (None, 0, 0)))
    keys, half = jax.random.split(jax.random.key(0), 2 * N), IDS % 2 == 0
    answers = []
    for images in models:
        target = memorising_target(sde, images, width=0.1)
        rows = np.asarray(read(target, DIGITS[: 2 * N], keys))
        auc = {}
        for count in COUNTS:
            values = rows[:, np.searchsorted(both, sde.times(count))]
            names = Loss(times=count).names(sde)
            signals = Evidence(Readings.of(values, IDS, names, MEMBER))
            score = Best().fit(signals.select(half))(signals.select(~half))
            auc[count] = float(roc_auc_score(MEMBER[~half], score))
        answers.append(auc)
    return answers


@pytest.mark.parametrize("name", ALL)
def test_default_times_find_what_is_memorised_and_nothing_else(name):
    """10 or 50 times, whatever the process: no false all-clear, no false alarm."""
    theirs, strangers = measured(ALL[name], [DIGITS[:N], DIGITS[600 : 600 + N]])
    assert min(theirs.values()) >= 0.95, theirs
    # A null AUC's 99.9 % interval, N / 2 judged on each side.
    bound = stats.norm.isf(5e-4) * np.sqrt((N + 1) / (3 * N**2))
    assert all(abs(auc - 0.5) < bound for auc in strangers.values()), strangers


CENTRES = np.asarray([[0.1, 0.2], [0.5, 0.9], [0.9, 0.3]], np.float32)
COPIES, WIDTH = (11, 6, 3), 0.25


@functools.cache
def drawn_errors(name: str, sampler: Sampler) -> tuple[float, float]:
    """Of 4,000 samples of a mixture (55, 30 and 15 % at three places, of one width):
    the largest error of a share, and of a variance relative to the true one."""
    images = np.repeat(CENTRES, COPIES, axis=0)[:, None, :, None]
    target = memorising_target(ALL[name], images, width=WIDTH)
    keys = jax.random.split(jax.random.key(2), 4000)
    draw = jit(jax.vmap(lambda key: sample(target.denoiser, key, (1, 2, 1), sampler)))
    drawn = np.asarray(draw(keys)).reshape(-1, 2)
    nearest = ((drawn[:, None] - CENTRES) ** 2).sum(-1).argmin(1)
    shares = np.bincount(nearest, minlength=3) / len(drawn)
    # In [0, 1] a width is half of what it is in [-1, 1].
    variances = [
        np.var(drawn[nearest == place], axis=0).mean() / (0.5 * WIDTH) ** 2
        for place in range(3)
    ]
    return (
        float(np.abs(shares - np.divide(COPIES, 20)).max()),
        float(np.abs(np.subtract(variances, 1)).max()),
    )


@pytest.mark.parametrize(
    "sampler",
    [Ddim(steps=50), Ancestral(steps=50), Ancestral(steps=100)],
    ids=["ddim-50", "ancestral-50", "ancestral-100"],
)
@pytest.mark.parametrize("name", ["edm", "silent"])
def test_default_grids_reproduce_weights_and_widths_as_well_as_vps(name, sampler):
    share, variance = drawn_errors(name, sampler)
    usual_share, usual_variance = drawn_errors("vp", sampler)
    assert share < max(usual_share, 0.025)  # three deviations of a share are 0.024
    assert variance < usual_variance + 0.02
    assert usual_variance < 0.3


def noise_levels(sde: SDE) -> np.ndarray:
    keys = jax.random.split(jax.random.key(1), 4000)
    times = jax.jit(jax.vmap(lambda key: Objective().time(sde, key)))(keys)
    return np.asarray(jax.vmap(lambda t: -0.5 * sde.log_snr(t))(times))


def test_edm_trains_by_its_own_law():
    """Karras et al. 2022, Table 1: log sigma ~ N(-1.2, 1.2^2), so 84 % below 1."""
    log_sigma = noise_levels(EDM())
    assert stats.kstest(log_sigma, stats.norm(-1.2, 1.2).cdf).pvalue > 1e-3
    assert abs(np.mean(log_sigma < 0) - stats.norm.cdf(1.0)) < 0.02


def test_logit_normal_times_are_those_of_esser_et_al():
    """2403.03206, Section 3.1: logit(t) ~ N(0, 1) between the ends."""
    sde, law = RectifiedFlow(), Objective(time_law="logit_normal")
    keys = jax.random.split(jax.random.key(1), 4000)
    t = np.asarray(jax.jit(jax.vmap(lambda key: law.time(sde, key)))(keys), float)
    share = (t - sde.t0) / (sde.t1 - sde.t0)
    assert stats.kstest(np.log(share / (1 - share)), stats.norm.cdf).pvalue > 1e-3
    with pytest.raises(UserError, match="is not positive"):
        LogitNormalClock(std=0.0)


def test_a_process_without_a_clock_trains_at_every_noise_level_alike():
    low, high = np.log(0.002), np.log(80.0)
    law = stats.uniform(low, high - low)
    assert stats.kstest(noise_levels(Silent()), law.cdf).pvalue > 1e-3


def test_edms_grid_is_that_of_karras_et_al():
    """Eq. 5 with rho 7, for times and for samplers."""
    i = np.arange(18)
    roots = 80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))
    np.testing.assert_allclose(EDM().times(18)[::-1], roots**7, rtol=2e-5)
    np.testing.assert_array_equal(Ddim(steps=18).times(EDM()), EDM().times(18)[::-1])


def test_a_silent_models_times_are_even_in_log_snr():
    gaps = np.diff(np.log(Silent().times(50)))
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-3)
    steps = SilentSteps()
    few = steps.times(20)
    assert len(few) < 20, "steps that coincide are merged"
    assert np.all(np.diff(few) >= 1)
    np.testing.assert_array_equal(few, np.round(few))
    np.testing.assert_array_equal(steps.times(), np.arange(400))
    drawn = np.exp(noise_levels(steps))
    assert np.mean(drawn < 1) > 0.5


@pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)
@pytest.mark.parametrize("name", ALL)
def test_every_clock_spans_every_process(name, clock):
    sde = ALL[name]
    for count in (1, 2, 7):
        times = spread(sde, clock, count)
        assert len(times) == count
        assert times.dtype == np.float32
        assert times[0] == np.float32(sde.t0)
        assert np.all(np.diff(times) > 0)
        assert count == 1 or times[-1] == np.float32(sde.t1)


@pytest.mark.parametrize("name", ALL)
def test_columns_have_names_of_their_own(name):
    sde = ALL[name]
    for count in (10, 50, 1000):
        names = Loss(times=count).names(sde)
        assert len(set(names)) == count


def test_columns_of_the_published_processes_keep_their_names():
    written = {
        "vp": ("loss@0.0000", "loss@0.5000", "loss@1.0000"),
        "ve": ("loss@0.0000", "loss@0.5000", "loss@1.0000"),
        "ddpm": ("loss@0", "loss@500", "loss@999"),
        "smld": ("loss@0", "loss@500", "loss@999"),
        "edm": ("loss@0.002", "loss@2.515", "loss@80"),
    }
    for name, names in written.items():
        assert Loss(times=3).names(ALL[name]) == names


class Middle(Clock):
    """A user's own: everything at half time."""

    law: ClassVar[str] = "middle"

    def times(self, sde, count):
        return np.full(count, 0.5 * (sde.t0 + sde.t1))

    def draw(self, sde, key):
        return jnp.float32(0.5 * (sde.t0 + sde.t1))


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class OwnClock(VP):
    clock: ClassVar[Clock] = Middle()


def test_a_user_states_a_clock_in_one_line_and_a_config_overrides_it():
    sde, key = OwnClock(), jax.random.key(0)
    np.testing.assert_allclose(sde.times(3), 0.500005)
    assert float(Objective().time(sde, key)) == pytest.approx(0.500005)
    for law in CLOCKS:
        given = Objective(time_law=law).time(sde, key)
        assert float(given) == float(CLOCKS[law].draw(sde, key))
    with pytest.raises(UserError, match="time_law='even'"):
        Objective(time_law="even")


def test_a_process_without_noise_at_its_start_must_say_more():
    @dataclasses.dataclass(frozen=True)
    class Clean(Silent):
        t0 = 0.0

    with pytest.raises(UserError, match=r"log-SNR of Clean: is inf at t0=0"):
        Clean().times(5)


def test_impossible_clocks_are_refused():
    for fields in ({"rho": 0.0}, {"std": -1.0}):
        with pytest.raises(UserError, match="is not positive"):
            KarrasClock(**fields)
    assert LogSnrClock() == LogSnrClock()
