"""Mistakes are told in one line that names the thing, the bound and the remedy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from score_mia import check, registry
from score_mia.check import UserError


@dataclasses.dataclass(frozen=True)
class Part:
    size: int
    beta: float = 0.5
    sizes: tuple = ()

    def __post_init__(self):
        check.positive("beta", self.beta)


def function(a, b=2):
    return a, b


TABLE = {"part": Part, "function": function}


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: check.at_least("n", 3, 4), "n=3: is below 4; give 4 or more"),
        (lambda: check.at_least("n", float("nan"), 4), "n=nan: is below 4"),
        (lambda: check.at_least("n", np.float64(3), 4), r"3\.0.*: is below 4"),
        (lambda: check.within("p", np.float64(3), 0, 1), r"3\.0.*: is outside"),
        (lambda: check.positive("rate", 0.0), "rate=0.0: is not positive"),
        (lambda: check.positive("rate", float("inf")), "rate=inf: is not positive"),
        (lambda: check.within("p", 1.5, 0, 1), r"p=1.5: is outside \[0, 1\]"),
        (lambda: check.within("p", float("nan"), 0, 1), "p=nan: is outside"),
        (lambda: check.one_of("by", "acu", ("auc", "tpr")), "did you mean 'auc'"),
        (lambda: check.existing("/nowhere/x", "folder"), "folder /nowhere/x: does not"),
        (
            lambda: check.finite("loss", np.array([1, np.nan, np.inf])),
            "loss: holds 2 NaN or infinite values",
        ),
    ],
)
def test_checks_name_value_bound_and_remedy(act, message):
    with pytest.raises(UserError, match=message) as caught:
        act()
    assert "\n" not in str(caught.value)


def test_checks_let_the_bounds_pass():
    check.at_least("n", 4, 4)
    check.at_least("n", np.float64(5), 4)
    check.within("p", 0, 0, 1)
    check.within("p", np.float64(1), 0, 1)
    check.positive("rate", 1e-300)
    check.one_of("by", "tpr", ("auc", "tpr"))
    check.finite("loss", np.zeros((2, 0)))


def test_did_you_mean_lists_all_and_suggests_only_what_is_near():
    assert check.did_you_mean("ddmp", ("vp", "ddpm")).startswith("did you mean 'ddpm'?")
    assert check.did_you_mean("zzz", ("vp", "ddpm")) == "known: ddpm, vp"


def test_make_builds_what_the_entry_names():
    spec = {"name": "part", "size": 3, "sizes": [1, [2, 3]]}
    part = registry.make("thing", TABLE, spec)
    assert part == Part(3, 0.5, (1, (2, 3)))
    hash(part)
    assert spec == {"name": "part", "size": 3, "sizes": [1, [2, 3]]}
    assert registry.make("thing", TABLE, {"name": "function", "b": 5}, a=1) == (1, 5)


def test_make_imports_a_user_s_own_part(tmp_path, monkeypatch):
    (tmp_path / "my_part_of_test.py").write_text(
        "import dataclasses\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Mine:\n    depth: int = 1\n"
    )
    monkeypatch.chdir(tmp_path)
    part = registry.make("thing", TABLE, {"name": "my_part_of_test:Mine", "depth": 4})
    assert part.depth == 4
    for name, message in (
        ("my_part_of_test:Mime", "has no 'Mime'; did you mean 'Mine'"),
        ("no_such_package.x:Y", "cannot import 'no_such_package.x'"),
    ):
        with pytest.raises(UserError, match=message):
            registry.make("thing", TABLE, {"name": name})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"size": 3}, "thing: the entry .* has no 'name'"),
        ({"name": 3}, "has no 'name'"),
        ({"name": "prat"}, "thing 'prat' is unknown; did you mean 'part'"),
        ({"name": "part", "siez": 3}, "has no field 'siez'; did you mean 'size'"),
        ({"name": "part"}, "thing 'part': .*size"),
        ({"name": "part", "size": 3, "beta": -1.0}, "beta=-1.0: is not positive"),
        ({"name": "function", "c": 1}, "no field 'c'"),
        ({"name": "function", "a": 9}, "no field 'a'"),
    ],
)
def test_mistakes_in_an_entry_are_one_line(spec, message):
    given = {"a": 1} if spec.get("name") == "function" else {}
    with pytest.raises(UserError, match=message) as caught:
        registry.make("thing", TABLE, spec, **given)
    assert "\n" not in str(caught.value)
