"""The dispersion of predicted noise over neighbouring levels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks import Dispersion
from score_mia.attacks.draws import noise_at
from score_mia.check import UserError
from score_mia.sde import DDPM, SMLD, VP
from tests.helpers import ask
from tests.oracles import scales, seen, standard_target

IMAGE = jnp.asarray(np.random.default_rng(2).random((2, 2, 3), np.float32))
KEY = jax.random.key(3)


def test_of_a_standard_normal():
    """The variance over s of std_s (alpha_s x + std_s z), with one z."""
    sde, signal = VP(), Dispersion(levels=(50, 200), window=3, step=20, draws=2)
    target, x = standard_target(sde, IMAGE)
    exact = []
    for across in signal.at(sde):
        spreads = []
        for draw in range(2):
            z = np.asarray(
                noise_at(KEY, draw, jnp.float32(across[0]), x.shape), np.float64
            )
            each = [
                seen(sde, t) * (scales(sde, t)[0] * x + scales(sde, t)[1] * z)
                for t in across
            ]
            spreads.append(np.mean(np.var(each, axis=0)))
        exact.append(-np.mean(spreads))
    found = np.asarray(jax.jit(ask, static_argnums=0)(signal, target, IMAGE, KEY))
    np.testing.assert_allclose(found, [*exact, 12.0], rtol=1e-3)


def test_the_columns_are_named_by_their_first_level():
    target, _ = standard_target(DDPM(), IMAGE)
    columns = Dispersion().columns(target.denoiser)
    assert columns.names == ("dispersion@10", "dispersion@50", "dispersion@100")
    assert columns.evaluations == 15
    np.testing.assert_array_equal(Dispersion().at(DDPM())[1], [50, 60, 70, 80, 90])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"window": 1}, "below 2"),
        ({"levels": (980,)}, "outside"),
        ({"levels": ()}, "is empty"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        Dispersion(**fields)


def test_steps_below_the_process_s_own_are_refused():
    with pytest.raises(UserError, match="less than one of the process's 20 steps"):
        Dispersion().at(SMLD(steps=20))
