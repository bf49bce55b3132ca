"""Whether a config's values are of the types that a part declares for its fields.

A config holds numbers, texts, truth values, lists and mappings. A wrong one is told
before anything is computed, in one line with the field, its value and what to give. An
annotation that this room does not know is no reason to refuse: parts of other packages
declare what they like.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal, Union, get_args, get_origin

from score_mia.check import UserError, short

_MOST = 2**63 - 1  # what NumPy and JAX can hold


def declared(part: Callable) -> dict[str, Any]:
    """Types of a class's fields or a function's arguments, as far as they are known."""
    plain_class = isinstance(part, type) and not dataclasses.is_dataclass(part)
    owner: Any = part.__init__ if plain_class else part
    try:
        return typing.get_type_hints(owner, include_extras=True)
    except Exception:  # whatever the annotations of another package make it raise
        return {
            name: given.annotation
            for name, given in inspect.signature(part).parameters.items()
            if not isinstance(given.annotation, str | type(inspect.Parameter.empty))
        }


def check_value(owner: str, field: str, value: Any, hint: Any) -> None:
    """Require that a config's value is of the declared type.

    A whole number serves where a number is wanted, never a truth value; a list or a
    tuple serves where either is. No number may be NaN, infinite, or longer than 64
    bits.

    Args:
      owner: whose field it is, for the message.
      field: its name.
      value: as the config gives it (tuples for lists).
      hint: the declared type.

    Raises:
      UserError: it is not, in one line with the value and what to give.
    """
    for name, number, problem in _beyond(field, value):
        raise UserError(f"{owner}: {name}={number!r} {problem}; give another number")
    if not _fits(value, hint):
        shown = f"{field}={short(repr(value), 60)}"
        raise UserError(f"{owner}: {shown} is {_kind(value)}; give {_wanted(hint)}")


def _beyond(name: str, value: Any) -> Iterator[tuple[str, Any, str]]:
    """Numbers that nothing here can hold, within lists and mappings too.

    Yields:
      Dotted name, value, and what is wrong with it.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _beyond(f"{name}.{key}", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _beyond(name, inner)
    elif isinstance(value, bool) or not isinstance(value, numbers.Real):
        return
    elif isinstance(value, numbers.Integral):
        if abs(int(value)) > _MOST:
            yield name, value, "does not fit into 64 bits"
    elif not math.isfinite(value):
        yield name, value, "is no finite number"


def _fits(value: Any, hint: Any) -> bool:
    """Whether the value is of the type; True for a type that is not known here."""
    origin, of = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return _fits(value, of[0])
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in of)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in of)
    if hint is None or hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if hint in (bool, str):
        return isinstance(value, hint)
    family = origin or hint
    if not isinstance(family, type):
        return True
    if issubclass(family, tuple):
        return _fits_tuple(value, of)
    if family is list or family is Sequence:
        return isinstance(value, list | tuple) and all(
            _fits(v, of[0] if of else Any) for v in value
        )
    if issubclass(family, Mapping):
        return isinstance(value, Mapping)
    if issubclass(family, PurePath):
        return isinstance(value, str | PurePath)
    return not dataclasses.is_dataclass(family) or isinstance(value, family)


def _fits_tuple(value: Any, of: tuple[Any, ...]) -> bool:
    if not isinstance(value, list | tuple):
        return False
    if not of:
        return True
    if len(of) == 2 and of[1] is Ellipsis:
        return all(_fits(v, of[0]) for v in value)
    return len(value) == len(of) and all(map(_fits, value, of))


_KINDS = (
    (type(None), "nothing"),
    (bool, "a truth value"),
    (numbers.Integral, "a whole number"),
    (numbers.Real, "a number"),
    (str, "a text"),
    ((list, tuple), "a list"),
    (Mapping, "a mapping"),
)


def _kind(value: Any) -> str:
    """What a value is, in words."""
    names = (name for kind, name in _KINDS if isinstance(value, kind))
    return next(names, f"a {type(value).__name__}")


_WANTED: dict[Any, str] = {
    **{None: "None", type(None): "None", bool: "True or False"},
    **{int: "a whole number", float: "a number", str: "a text"},
}


def _wanted(hint: Any) -> str:
    """What to give, in words."""
    origin, of = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_wanted, of)))
    if origin is Literal:
        return " or ".join(map(repr, of))
    if origin is typing.Annotated:
        return _wanted(of[0])
    family = origin or hint
    if not isinstance(family, type):
        return str(hint)
    if family in _WANTED:
        return _WANTED[family]
    if issubclass(family, tuple) or family in (list, Sequence):
        return _wanted_list(family, of)
    if issubclass(family, PurePath):
        return "a path"
    if issubclass(family, Mapping) or dataclasses.is_dataclass(family):
        return "dict(...)"
    return family.__name__


def _wanted_list(family: type, of: tuple[Any, ...]) -> str:
    if not of:
        return "a list"
    if issubclass(family, tuple) and of[-1] is not Ellipsis:
        return f"a list of {', '.join(map(_wanted, of))}"
    return f"a list, each of its entries {_wanted(of[0])}"
