"""A flipped bit in an array's header shortened the array and nobody noticed (5 of 6,336
flips in features of samples), and JSON records took changed digits: the numbers of a
report could be other numbers than those that were measured.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.files import (
    load_json,
    load_npz,
    load_sealed,
    require_shape,
    save_json,
    save_npz,
    save_sealed,
)

ARRAYS = {
    "features": np.random.default_rng(0).random((7, 4), np.float32),
    "name": np.asarray("inception"),
}
RECORD = {
    "kid": {"value": 0.012345678901234567, "low": -1.5e-7, "n": [12, 34]},
    "chosen": "loss@200",
    "none": None,
    "ok": True,
    "text": "Fréchet",
}


def one_line(error: UserError, path, remedy: str) -> None:
    text = str(error)
    assert "\n" not in text
    assert str(path) in text
    assert remedy in text


def test_a_flip_anywhere_in_an_npz_is_noticed_or_changes_nothing(tmp_path):
    path = tmp_path / "features.npz"
    save_npz(path, **ARRAYS)
    whole = path.read_bytes()
    silent, bits = 0, np.random.default_rng(1).integers(0, 8, len(whole)).tolist()
    for place, bit in enumerate(bits):
        changed = bytearray(whole)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        try:
            arrays = load_npz(path, ARRAYS, remedy="delete it, it is made again")
        except UserError as error:
            one_line(error, path, "delete it, it is made again")
            continue
        silent += 1
        for name, array in ARRAYS.items():
            assert arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(arrays[name], array)
    assert silent < len(whole) / 3  # dates and flags of a small archive


def test_an_array_that_was_replaced_with_a_true_checksum_is_noticed(tmp_path):
    path = tmp_path / "features.npz"
    save_npz(path, **ARRAYS)
    arrays = load_npz(path, [*ARRAYS, "seal"], sealed=False)
    for name, other in (
        ("features", ARRAYS["features"][:6]),
        ("features", ARRAYS["features"].astype(np.float64)),
        ("features", ARRAYS["features"].T),
        ("name", np.asarray("inceptiom")),
        ("seal", np.asarray("{}")),
        ("seal", np.asarray("[1]")),
    ):
        np.savez(path, **{**arrays, name: other})
        with pytest.raises(UserError, match=r"features.npz.*; delete it"):
            load_npz(path, ARRAYS)


def test_an_npz_without_a_seal_is_refused_unless_it_is_of_another_program(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=np.arange(3))
    with pytest.raises(UserError, match=r"x.npz: carries no seal.*; delete it"):
        load_npz(path, ("a",))
    assert list(load_npz(path, ("a",), sealed=False)["a"]) == [0, 1, 2]


def test_a_flip_anywhere_in_sealed_json_is_noticed_or_changes_nothing(tmp_path):
    path = tmp_path / "quality.json"
    save_sealed(path, RECORD)
    assert load_sealed(path) == RECORD
    whole = path.read_bytes()
    bits = np.random.default_rng(1).integers(0, 8, len(whole)).tolist()
    for place, bit in enumerate(bits):
        changed = bytearray(whole)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        try:
            assert load_sealed(path, remedy="measure it again") == RECORD
        except UserError as error:
            one_line(error, path, "measure it again")


def test_other_digits_keys_and_laws_of_json_are_noticed(tmp_path):
    path = tmp_path / "quality.json"
    save_sealed(path, RECORD)
    sealed = json.loads(path.read_text())
    assert {k: v for k, v in sealed.items() if k != "seal"} == RECORD
    others = [
        {**sealed, "chosen": "loss@201"},
        {**sealed, "more": 1},
        {k: v for k, v in sealed.items() if k != "none"},
        {k: v for k, v in sealed.items() if k != "seal"},
        {**sealed, "seal": None},
        {**sealed, "kid": {**RECORD["kid"], "low": float("-inf")}},
    ]
    for other in others:
        path.write_text(json.dumps(other))
        with pytest.raises(UserError, match=r"quality.json.*; delete it and run again"):
            load_sealed(path)
    for text in ("[]", "7", "null", '"x"', "[" * 100_000, "1" * 5000, "", "{"):
        path.write_text(text)
        with pytest.raises(UserError, match=r"quality.json is damaged.*; delete it"):
            load_sealed(path)


SHAPE = {
    "kid": {"value": float, "n": [int]},
    "chosen": str,
    "none": float | None,
    "ok": bool,
    "absent?": dict,
}


def test_a_json_of_the_right_shape_is_read(tmp_path):
    save_json(tmp_path / "x.json", RECORD)
    assert load_json(tmp_path / "x.json", SHAPE) == RECORD
    save_sealed(tmp_path / "x.json", RECORD)
    assert load_sealed(tmp_path / "x.json", SHAPE) == RECORD
    require_shape("x", {"a": 1, "b": 2.5}, {str: float}, "mend it")
    require_shape("x", {"kind": "a", "b": 2}, {"kind": str, str: int}, "mend it")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kid": 3}, "kid is 3, not an object"),
        ({"kid": {"value": "0.1", "n": []}}, "kid.value is '0.1', not a number"),
        ({"kid": {"value": True, "n": []}}, "kid.value is True, not a number"),
        ({"kid": {"value": 1, "n": {}}}, r"kid.n is \{\}, not a list"),
        ({"kid": {"value": 1, "n": [1, 2.5]}}, r"kid.n\[1\] is 2.5, not int"),
        ({"kid": {"n": [1]}}, "kid has no 'value'"),
        ({"chosen": None}, "chosen is None, not a text"),
        ({"none": "x" * 90}, r"none is 'x+\.\.\., not float \| None"),
        ({"ok": 1}, "ok is 1, not bool"),
        ({"absent": []}, r"absent is \[\], not an object"),
    ],
)
def test_the_place_of_a_wrong_shape_is_named(tmp_path, change, problem):
    path = tmp_path / "x.json"
    save_sealed(path, {**RECORD, **change})
    for load in (load_json, load_sealed):
        with pytest.raises(UserError, match=rf"x.json is damaged: {problem}; mend it"):
            load(path, SHAPE, remedy="mend it")
