"""Typed values as JSON, and back: frozen dataclasses, by what their fields declare.

JSON has no NaN: a number that is not there is None, and one that is not finite is
refused. A field that says nothing (None, or an empty or unknown part that is its
default) is left out.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from score_mia.check import UserError, require, short

T = TypeVar("T")
_AGAIN = "delete it and run again"


def to_json(value: Any, where: str = "") -> Any:
    """A typed value as plain JSON; fields that say nothing are left out.

    Raises:
      UserError: a number is not finite.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_json(inner, f"{where}.{field.name}")
            for field in dataclasses.fields(value)
            if not _is_silent(field, inner := getattr(value, field.name))
        }
    if isinstance(value, Mapping):
        return {_key(k): to_json(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, float):
        ok = math.isfinite(value)
        remedy = "leave out of it the images that have none"
        require(ok, f"result{where}={value}", "is no finite number", remedy)
    return value


def _is_silent(field: dataclasses.Field, value: Any) -> bool:
    """Whether the field is None or an empty or unknown part, as it is by default."""
    if field.default is dataclasses.MISSING:
        return field.default_factory is not dataclasses.MISSING and not value
    plain = value != "" and isinstance(value, int | float | str)
    return value == field.default and not plain


def _key(key: Any) -> str:
    return f"{key:g}" if isinstance(key, float) else str(key)


def from_json(
    kind: type[T], value: Any, thing: str, where: str = "", *, remedy: str = _AGAIN
) -> T:
    """The typed value that `to_json` made plain; keys it does not know are passed over.

    Args:
      kind: the dataclass.
      value: as JSON holds it.
      thing: what it is, for the message.
      where: the place within it, for the message.
      remedy: what to do about a wrong value.

    Raises:
      UserError: one line that names the place and the value.
    """
    try:
        return _typed(kind, value, where)
    except _MisfitError as error:
        raise UserError(f"{thing} is damaged: {error}; {remedy}") from error


class _MisfitError(Exception):
    """A JSON value that is not of the type, with its place."""


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _typed(hint: Any, value: Any, where: str) -> Any:
    """A JSON value as the type wants it."""
    origin, of = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is types.UnionType or origin is typing.Union:
        return _first_that_fits(of, value, where)
    if origin is Literal:
        _fits(value in of, value, where)
        return value
    if dataclasses.is_dataclass(hint):
        return _record(hint, value, where)
    if origin is tuple:
        _fits(isinstance(value, list | tuple), value, where)
        kinds = of if of[-1] is not Ellipsis else (of[0],) * len(value)
        _fits(len(kinds) == len(value), value, where)
        pairs = enumerate(zip(kinds, value, strict=True))
        return tuple(_typed(k, v, f"{where}[{i}]") for i, (k, v) in pairs)
    if origin is not None and issubclass(origin, Mapping):
        _fits(isinstance(value, Mapping), value, where)
        return {
            (float(k) if of[0] is float else k): _typed(of[1], v, f"{where}.{k}")
            for k, v in value.items()
        }
    return _plain(hint, value, where)


def _first_that_fits(kinds: Iterable[Any], value: Any, where: str) -> Any:
    problem = _MisfitError(f"{where.lstrip('.')} fits nothing")
    for kind in kinds:
        try:
            return _typed(kind, value, where)
        except _MisfitError as error:
            if kind is not type(None):
                problem = error
    raise problem


def _record(kind: Any, value: Any, where: str) -> Any:
    _fits(isinstance(value, Mapping), value, where)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        at = f"{where}.{field.name}"
        if field.name in value:
            fields[field.name] = _typed(_hints(kind)[field.name], value[field.name], at)
        elif (
            field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ):
            raise _MisfitError(f"it has no {at.lstrip('.')}")
    return kind(**fields)


def _plain(hint: Any, value: Any, where: str) -> Any:
    if hint is type(None) or hint is None:
        _fits(value is None, value, where)
    elif hint is float:
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        _fits(number and math.isfinite(value), value, where)
        return float(value)
    elif hint is int:
        _fits(isinstance(value, int) and not isinstance(value, bool), value, where)
    else:
        _fits(isinstance(value, hint), value, where)
    return value


def _fits(ok: bool, value: Any, where: str) -> None:
    if not ok:
        raise _MisfitError(f"{where.lstrip('.') or 'it'} is {short(repr(value))}")
