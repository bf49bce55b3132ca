from __future__ import annotations

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.readings import Evidence, Readings
from score_mia.rules.column import Column


def record(names):
    values = np.arange(3.0 * len(names)).reshape(3, -1)
    return Evidence(Readings.of(values, np.arange(3), names))


def test_takes_the_named_column_without_a_fit():
    evidence = record(("a", "b"))
    scorer = Column("b").fit(evidence)
    np.testing.assert_array_equal(scorer(evidence), [1, 3, 5])
    assert scorer.about == "b (fixed beforehand)"
    assert scorer.fitted_on == 0


def test_needs_no_name_where_there_is_no_choice():
    evidence = record(("only",))
    np.testing.assert_array_equal(Column().fit(evidence)(evidence), [0, 1, 2])
    with pytest.raises(UserError, match=r"2 columns and none is named; .*best"):
        Column().fit(record(("a", "b")))


def test_an_unknown_column_is_named():
    with pytest.raises(UserError, match=r"rule.column='c'.*a, b"):
        Column("c").fit(record(("a", "b")))
