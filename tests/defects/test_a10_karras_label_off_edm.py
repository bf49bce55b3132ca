"""Off EDM, networks with Karras et al.'s preconditioning were told log(std)/4.

They see x / alpha, whose noise level is std / alpha: VP's last third of times, with
std near 1, all looked alike to them.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.parameterisation import Karras
from score_mia.sde import SDES


@pytest.mark.parametrize("name", SDES)
def test_the_label_is_a_quarter_of_the_log_noise_level_of_the_input(name):
    sde = SDES[name]()
    for fraction in (0.3, 0.7, 0.95, 1.0):
        t = sde.t0 + fraction * (sde.t1 - sde.t0)
        told = Karras().scalars(t, sde.alpha(t), sde.std(t))
        np.testing.assert_allclose(told.label, -float(sde.log_snr(t)) / 8, rtol=1e-5)
        # The network's input is of unit variance for data of standard deviation 0.5.
        variance = (0.5 * sde.alpha(t)) ** 2 + sde.std(t) ** 2
        np.testing.assert_allclose(told.inp * jnp.sqrt(variance), 1.0, rtol=1e-5)
