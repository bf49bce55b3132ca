"""From a config entry to an object: `{"name": "vp", "beta_max": 20.0}` -> `VP(...)`.

A family of exchangeable parts (SDEs, networks, signals, rules, sources, ...) is one
plain dict from name to class or function. A name with a colon, such as
`"my_package.mine:MySignal"`, is imported instead, so that a user's own part needs no
line here.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

from score_mia.check import UserError, did_you_mean


def load(path: str, what: str = "object") -> Any:
    """Import `"package.module:Name"`; modules beside the working directory count."""
    module_name, _, attribute = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(
            f"{what} {path!r}: cannot import {module_name!r} ({error}); install it or "
            "run from the folder that holds it"
        ) from error
    if not hasattr(module, attribute):
        names = [n for n in dir(module) if not n.startswith("_")]
        raise UserError(
            f"{what} {path!r}: {module_name!r} has no {attribute!r}; "
            + did_you_mean(attribute, names)
        )
    return getattr(module, attribute)


def lookup(family: str, table: Mapping[str, Any], name: str) -> Any:
    """The table's entry, or the imported object when the name holds a colon."""
    if ":" in name:
        return load(name, family)
    if name not in table:
        raise UserError(f"{family} {name!r} is unknown; {did_you_mean(name, table)}")
    return table[name]


def make(family: str, table: Mapping[str, Callable], spec: Any, **given: Any) -> Any:
    """Build the part that a config entry names.

    Args:
      family: what the table holds, for messages ("sde", "network", ...).
      table: name -> class or function.
      spec: mapping with "name" and the part's own fields (tuples for lists, a mapping
        for a field that is declared to be a dataclass).
      given: further keyword arguments that the caller, not the config, supplies.

    Raises:
      UserError: no or unknown name, unknown or missing field, a wrong value.
    """
    fields = {k: freeze(v) for k, v in dict(spec).items()}
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise UserError(f"{family}: the entry {dict(spec)!r} has no 'name'; add one")
    part = lookup(family, table, name)
    known = [k for k in parameters(part) if k not in given]
    for field in fields:
        if field not in known:
            remedy = did_you_mean(field, known)
            raise UserError(f"{family} {name!r} has no field {field!r}; {remedy}")
    for field in fields:
        fields[field] = _nested(f"{family} {name!r}", part, field, fields[field])
    try:
        return part(**fields, **given)
    except TypeError as error:
        raise UserError(f"{family} {name!r}: {error}; check its fields") from error


def _nested(owner: str, part: Callable, field: str, value: Any) -> Any:
    """A mapping as the dataclass that the field is declared to hold, if it is."""
    if not isinstance(value, Mapping) or not dataclasses.is_dataclass(part):
        return value
    try:
        hint = get_type_hints(part)[field]
    except NameError:  # declared under names that are not there to be looked up
        return value
    for kind in (hint, *get_args(hint)):
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            return make(owner, {field: kind}, {**value, "name": field})
    return value


def parameters(part: Callable) -> tuple[str, ...]:
    """Names of the keyword arguments that a class or function takes."""
    if dataclasses.is_dataclass(part):
        return tuple(f.name for f in dataclasses.fields(part) if f.init)
    return tuple(inspect.signature(part).parameters)


def freeze(value: Any) -> Any:
    """Lists become tuples, so that frozen dataclasses stay hashable."""
    if isinstance(value, list | tuple):
        return tuple(freeze(v) for v in value)
    return value
