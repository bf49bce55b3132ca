from __future__ import annotations

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.rules.column import Column
from score_mia.signals import Signals


def record(names):
    values = np.arange(3 * len(names)).reshape(3, -1)
    return Signals.of(values, np.arange(3) == 1, np.arange(3), names)


def test_takes_the_named_column_without_a_fit():
    scores = Column("b").score(record(("a", "b")))
    np.testing.assert_array_equal(scores, [1, 3, 5])
    assert Column("b").chosen == "b (fixed beforehand)"


def test_needs_no_name_where_there_is_no_choice():
    np.testing.assert_array_equal(Column().score(record(("only",))), [0, 1, 2])
    with pytest.raises(UserError, match=r"2 columns and none is named; .*best"):
        Column().score(record(("a", "b")))


def test_an_unknown_column_is_named():
    with pytest.raises(UserError, match=r"'c'; known: a, b"):
        Column("c").score(record(("a", "b")))
