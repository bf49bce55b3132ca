"""A config's numbers, texts and lists went into the parts unseen: `tile=2.5` or
`times='all'` failed hours later, as tracebacks. Parts declare their fields' types, and
these are held before anything is computed; what a part of another package declares in a
way that the house does not know passes unharmed."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional, TypeVar

import jax
import numpy as np
import pytest

from score_mia.attacks import SIGNALS
from score_mia.auditing import plan as build
from score_mia.check import UserError
from score_mia.codecs import Affine
from score_mia.data import SOURCES, SPLITS
from score_mia.encoders import ENCODERS
from score_mia.engine import Engine
from score_mia.fields import check_value, declared
from score_mia.models import MODELS
from score_mia.networks import NETWORKS
from score_mia.parameterisation import PARAMETERISATIONS, Noise
from score_mia.progress import Progress
from score_mia.registry import make, parameters
from score_mia.report.exhibits import EXHIBITS
from score_mia.rules import RULES, SETS
from score_mia.sampling import SAMPLERS
from score_mia.sde import DDPM, SDES
from score_mia.target import Target
from score_mia.train.config import Privacy, TrainConfig
from score_mia.train.loss import Objective

SECTIONS = (
    *(Engine, Affine, TrainConfig, Privacy),
    *(build.ReportConfig, build.QualityConfig),
)
FAMILIES = (
    *(SDES, NETWORKS, PARAMETERISATIONS, SIGNALS, RULES, SETS, SAMPLERS),
    *(SOURCES, SPLITS, ENCODERS, EXHIBITS, MODELS),
)
PARTS = {p.__name__: p for family in FAMILIES for p in family.values()}
PARTS |= {p.__name__: p for p in SECTIONS}


@pytest.mark.parametrize("name", PARTS)
def test_every_registered_part_declares_types_that_refuse_a_function(name):
    """`object()` is of no type that a config's value can have."""
    hints = declared(PARTS[name])
    for field in parameters(PARTS[name]):
        if field in (
            "source",
            "encoder",
            "signal",
            "train",
        ):  # given by the house, or made by it of a mapping
            continue
        with pytest.raises(UserError, match=f"{field}=<object"):
            check_value("part", field, object(), hints[field])


@pytest.mark.parametrize("name", PARTS)
def test_every_default_is_of_its_type(name):
    part, hints = PARTS[name], declared(PARTS[name])
    made = {}  # defaults that a dataclass makes anew
    if dataclasses.is_dataclass(part):
        fields = dataclasses.fields(part)
        factories = {f.name: f.default_factory for f in fields}
        made = {n: f() for n, f in factories.items() if f is not dataclasses.MISSING}
    for field, given in inspect.signature(part).parameters.items():
        if given.default is not inspect.Parameter.empty and field in hints:
            check_value("part", field, made.get(field, given.default), hints[field])


class Colour(enum.Enum):
    RED = 1


Steps = NewType("Steps", int)
T = TypeVar("T")


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, (0, -3, np.int64(2)), (True, 2.0, "3", None)),
        (float, (0.5, 3, np.float32(2)), (False, "0.5", None, (1.0,))),
        (bool, (True, False), (0, 1, "yes")),
        (str, ("", "x"), (3, None, ("x",))),
        (int | None, (None, 3), (2.5, "x")),
        (Optional[float], (None, 3), ("x", True)),  # noqa: UP045
        (Literal["a", 1], ("a", 1), ("b", True, 1.0)),
        (tuple[int, ...], ((), (1, 2), [3]), (3, ("x",), (1, True))),
        (tuple[int, str], ((1, "x"),), ((1,), ("x", 1), (1, "x", 2))),
        (tuple, ((), (1, "x")), (3, "x")),
        (list[float], ([1, 2.0], (1,)), ("x", ("x",))),
        (Sequence[int], ((1,), [1]), (1, "12")),
        (dict[str, int], ({"a": 1},), (3, "x")),
        (str | Path, ("x", Path("x")), (3, None)),
        (Annotated[int, "steps"], (3,), ("x",)),
        (int | tuple[float, ...] | None, (3, (1, 2.5), None), ("all", True, 2.5)),
        (Affine, (Affine(),), ({"low": 0.0}, 3)),
        # not known to the house: anything passes
        (Any, (3, "x", None, (1,)), ()),
        (Colour, (3, "red"), ()),
        (Steps, (3, "x"), ()),
        (T, (3, "x"), ()),
        (Callable[[int], int], (3, "x"), ()),
        (np.ndarray, ((1, 2), 3), ()),
        (frozenset[int], ((1, 2), 3), ()),
        (complex, (3, "x"), ()),
        (type[int], ("x",), ()),
        (typing.Protocol, (3,), ()),
        ("nobody knows", (3,), ()),
    ],
)
def test_values_and_types(hint, good, bad):
    for value in good:
        check_value("part", "field", value, hint)
    for value in bad:
        with pytest.raises(UserError, match=r"part: field=.* is .*; give") as caught:
            check_value("part", "field", value, hint)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63, -(2**70)])
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: (1, v), lambda v: {"a": v}])
def test_numbers_that_nothing_can_hold(value, wrap):
    with pytest.raises(UserError, match=r"field.*; give another number"):
        check_value("part", "field", wrap(value), Any)


def test_parts_of_other_packages_pass_unharmed():
    @dataclasses.dataclass(frozen=True)
    class Unknown:
        size: NoSuchName = 3  # noqa: F821
        limit: int = None

    class Plain:
        def __init__(self, size, limit: float = 2, **more):
            self.size, self.limit, self.more = size, limit, more

    table = {"unknown": Unknown, "plain": Plain, "free": lambda size: size}
    assert make("thing", table, {"name": "unknown", "size": "x"}).size == "x"
    assert make("thing", table, {"name": "unknown", "limit": None}).limit is None
    assert make("thing", table, {"name": "plain", "size": "x", "depth": 3}).more
    assert make("thing", table, {"name": "free", "size": "x"}) == "x"
    with pytest.raises(UserError, match="limit='x' is a text; give a number"):
        make("thing", table, {"name": "plain", "size": 1, "limit": "x"})


@pytest.mark.parametrize("takes", [True, False])
def test_a_network_need_not_know_of_dropout(takes):
    """The documented signature failed in training: unexpected keyword dropout_key."""

    def without(params, x, label, condition=None):
        return 0.0 * x

    def with_key(params, x, label, condition=None, *, dropout_key=None):
        assert dropout_key is not None
        return 0.0 * x

    target = Target({}, DDPM(), Noise(), with_key if takes else without)
    image = jax.numpy.full((4, 4, 1), 0.5)
    assert np.isfinite(Objective()(target, image, jax.random.key(0)))


def test_progress_drives_no_terminal(capsys):
    with Progress("read\x1b[2J", 1, "images") as progress:
        progress.note("a\x1b]0;title\x07\nb")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == r"read\x1b[2J: a\x1b]0;title\x07\nb"
