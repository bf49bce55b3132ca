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
from collections.abc import Callable, Collection, Mapping
from typing import Any, get_args

from score_mia.check import UserError, did_you_mean, require
from score_mia.fields import check_value, declared


@dataclasses.dataclass(frozen=True, eq=False)
class Family:
    """Says of a field what a config's mapping becomes there: a part of this family.

    `encoder: Annotated[Encoder, Family("encoder", ENCODERS)]` takes
    `dict(name="vit", folder=...)`.

    Attributes:
      name: what the table holds, for messages.
      table: name -> class or function.
    """

    name: str
    table: Mapping[str, Callable]


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
    except SyntaxError as error:
        where = f"{error.filename}, line {error.lineno}"
        raise UserError(f"{what} {path!r}: {error.msg} in {where}; mend it") from error
    except SystemExit as error:
        raise UserError(
            f"{what} {path!r}: importing {module_name!r} ends the program "
            f"(sys.exit({error.code!r})); move that under `if __name__ == '__main__'`"
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        names = [n for n in dir(module) if not n.startswith("_")]
        problem = f"{what} {path!r}: {module_name!r} has no {attribute!r}"
        raise UserError(f"{problem}; {did_you_mean(attribute, names)}") from error


def lookup(family: str, table: Mapping[str, Any], name: str) -> Any:
    """The table's entry, or the imported object when the name holds a colon."""
    if ":" in name:
        return load(name, family)
    if name not in table:
        own = 'name it as "module:Name"'
        remedy = did_you_mean(name, table) if table else own
        raise UserError(f"{family} {name!r} is unknown; {remedy}")
    return table[name]


def make(family: str, table: Mapping[str, Callable], spec: Any, **given: Any) -> Any:
    """Build the part that a config entry names.

    Args:
      family: what the table holds, for messages ("sde", "network", ...).
      table: name -> class or function.
      spec: mapping with "name" and the part's own fields (tuples for lists, a mapping
        for a field that is declared to be a dataclass, or a part of a `Family`).
      given: further keyword arguments that the caller, not the config, supplies.

    Raises:
      UserError: no or unknown name, unknown or missing field, a wrong value.
    """
    if not isinstance(spec, Mapping):
        raise UserError(f"{family}: {spec!r} is no entry; give dict(name=..., ...)")
    fields = {k: freeze(v) for k, v in spec.items()}
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise UserError(f"{family}: the entry {dict(spec)!r} has no 'name'; add one")
    part = lookup(family, table, name)
    owner = f"{family} {name!r}"
    if not callable(part):
        raise UserError(f"{owner} is {part!r}; name a class or a function")
    try:
        inspect.signature(part)
    except ValueError as error:
        raise UserError(
            f"{owner} does not say what it takes; name one that is written in Python"
        ) from error
    fields = _checked(owner, part, fields, given)
    try:
        return part(**fields, **given)
    except TypeError as error:
        raise UserError(f"{owner}: {error}; check its fields") from error


def _checked(
    owner: str, part: Callable, fields: dict[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields, each known and of the type that the part declares, none missing."""
    known = [k for k in parameters(part) if k not in given]
    arguments = inspect.signature(part).parameters
    anything = any(a.kind is a.VAR_KEYWORD for a in arguments.values())
    for field in fields:
        if field not in known and not anything:
            remedy = did_you_mean(field, known)
            raise UserError(f"{owner} has no field {field!r}; {remedy}")
    hints = declared(part)
    checked = {}
    for field, value in fields.items():
        hint = hints.get(field, Any)
        checked[field] = _nested(owner, hint, field, value)
        # None is often a default where the annotation forgets to say so.
        optional = field in arguments and arguments[field].default is None
        if value is not None or not optional:
            check_value(owner, field, checked[field], hint)
    return checked


def section(
    family: str, name: str, part: Callable, fields: Mapping[str, Any], **given: Any
) -> Any:
    """Build the one part that a section of a config can be; see `make`.

    Raises:
      UserError: an unknown or missing field ("name" among them), a wrong value.
    """
    if "name" in fields:
        known = [k for k in parameters(part) if k not in given]
        remedy = did_you_mean("name", known)
        raise UserError(f"{family} {name!r} has no field 'name'; {remedy}")
    return make(family, {name: part}, {**fields, "name": name}, **given)


def _nested(owner: str, hint: Any, field: str, value: Any) -> Any:
    """A mapping as the part that the field is declared to hold, if it is."""
    for kind in (hint, *get_args(hint)):
        if isinstance(kind, Family) and isinstance(value, Mapping | str | int | float):
            return make(f"{owner}: {kind.name}", kind.table, value)
        part = isinstance(kind, type) and dataclasses.is_dataclass(kind)
        if part and isinstance(value, Mapping):
            return section(owner, field, kind, value)
    return value


def require_has(what: str, part: Any, needed: Collection[str]) -> None:
    """Require what a part from a user's own package must have."""
    known = set(dir(part))
    missing = [name for name in needed if name not in known]
    thing = f"{what}: {type(part).__name__}"
    require(not missing, thing, f"has no {', '.join(missing)}", "see docs/extend.md")


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
