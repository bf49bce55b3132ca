"""The loss attack refused a process's own first time, and let through no other.

`Loss(times=(0.002,))` on EDM ended with "times=0.002 is outside [0.0020000000949...".
"""

from __future__ import annotations

import numpy as np
import pytest

from score_mia.attacks.loss import Loss
from score_mia.check import UserError
from score_mia.sde import EDM, SDES, VP


@pytest.mark.parametrize("name", SDES)
def test_both_ends_may_be_named(name):
    sde = SDES[name]()
    times = Loss(times=(sde.t0, sde.t1)).at(sde)
    np.testing.assert_array_equal(times, np.float32([sde.t0, sde.t1]))


@pytest.mark.parametrize(
    ("sde", "time"), [(EDM(), 0.0019), (EDM(), 80.1), (VP(), -0.1), (VP(), np.nan)]
)
def test_times_beyond_the_ends_are_refused_as_they_were_given(sde, time):
    with pytest.raises(UserError, match=f"times={time}: is outside"):
        Loss(times=(time,)).at(sde)
