"""What every source must do, registered or of a paper."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.data import Source
from score_mia.data.source import COLUMNS
from tests.data.makers import MAKERS, make


@pytest.fixture(scope="module", params=list(MAKERS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def root(tmp_path_factory, name):
    return tmp_path_factory.mktemp(name)


@pytest.fixture(scope="module")
def source(name, root):
    return make(name, root)


def test_it_is_a_source_with_ascending_ids(source):
    assert isinstance(source, Source)
    assert source.ids.dtype == np.int64
    assert np.all(np.diff(source.ids) > 0)


def test_images_are_float32_in_the_unit_interval_and_not_all_alike(source):
    x = source.images(source.ids)
    assert x.dtype == np.float32
    assert x.shape == (len(source.ids), *source.shape)
    assert x.min() >= 0
    assert x.max() <= 1
    assert len(np.unique(x.reshape(len(x), -1), axis=0)) == len(x)
    assert x.max() > 0.9  # scaled to the interval, not to a corner of it


def test_rows_come_in_the_order_asked_with_repeats(source):
    x, known = source.images(source.ids), source.columns(source.ids, COLUMNS)
    rows = np.random.RandomState(0).randint(0, len(x), 2 * len(x))
    np.testing.assert_array_equal(source.images(source.ids[rows]), x[rows])
    again = source.columns(source.ids[rows], COLUMNS)
    assert again.keys() == known.keys()
    for name, column in known.items():
        np.testing.assert_array_equal(again[name], column[rows])
    np.testing.assert_array_equal(known["image"], x)
    assert "label" not in known or known["label"].dtype == np.int64
    assert source.columns(source.ids, ()) == {}


def test_a_second_opening_is_the_same(source, name, tmp_path):
    again = make(name, tmp_path)
    np.testing.assert_array_equal(again.ids, source.ids)
    np.testing.assert_array_equal(again.images(again.ids), source.images(source.ids))
    assert again.digest == source.digest


def test_the_digest_sees_one_changed_value(source, name, root):
    changed = make(name, root, change=True)
    difference = changed.images(changed.ids) != source.images(source.ids)
    assert np.sum(difference) == 1
    assert changed.digest != source.digest


def test_pickled_it_is_the_same(source):
    source.images(source.ids[:1])  # threads and files that reading opens stay behind
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.images(copy.ids), source.images(source.ids))
    assert copy.digest == source.digest


@pytest.mark.parametrize("wrong", [-1, 10**9])
def test_an_unknown_id_is_refused(source, wrong):
    with pytest.raises(UserError, match=f"no image with id {wrong}"):
        source.images(np.asarray([source.ids[0], wrong]))


def test_the_callers_changes_do_not_reach_the_data(source):
    first = source.ids[:1]
    before = source.images(first)
    source.images(first)[...] = 0.123
    np.testing.assert_array_equal(source.images(first), before)
