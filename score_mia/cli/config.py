"""`--config`: a file, or one that comes with the package, and its fields as flags."""

from __future__ import annotations

import ast
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from runpy import run_path
from typing import Any

from score_mia.check import UserError, did_you_mean, one_line, require
from score_mia.files import load_json

Override = tuple[str, str]
"""Dotted name of a field, and the value as it was typed."""

_NAMED = ("attacks", "signals", "audits", "exhibits")
"""Sections whose entries the user names: a flag changes those that are there."""


def shipped() -> dict[str, Path]:
    """Name -> file of the configs that come with the package, such as "mini/study"."""
    package = Path(__file__).parents[1]
    # An installed package holds them itself, in a clone they lie beside it (setup.py).
    folder = package / "configs"
    folder = folder if folder.is_dir() else package.parent / "configs"
    files = {p.relative_to(folder): p for p in sorted(folder.rglob("*.py"))}
    own = {n: p for n, p in files.items() if not n.name.startswith("_")}
    return {name.with_suffix("").as_posix(): path for name, path in own.items()}


def load(given: str, overrides: Sequence[Override] = ()) -> Any:
    """What `get_config` of a config returns, with some of its fields overridden.

    Args:
      given: FILE.py or the name of a config that comes with the package, and, after
        a colon, the text that `get_config` gets; or a workdir's config.json.
      overrides: applied in this order.

    Raises:
      UserError: there is no such file, it fails, or a field cannot be set.
    """
    name, colon, argument = given.partition(":")
    if name.endswith(".json"):
        config = load_json(name, dict)
        _override(config, overrides)
        return config
    with _told(given):
        get_config = run_path(str(_file(name))).get("get_config")
        if not callable(get_config):
            raise UserError("config: has no get_config(); define it in the file")
        config = get_config(*([argument] if colon else []))
    if config is None:
        raise UserError("config: get_config returns None; let it return the config")
    _override(config, overrides)
    return config


def separate(argv: Sequence[str]) -> tuple[list[str], list[Override]]:
    """The command line without the flags of the config's fields, and those.

    `--config.a.b=VALUE`, `--config.a.b VALUE`; `--config.a.b` alone says True and
    `--noconfig.a.b` False.
    """
    rest: list[str] = []
    overrides: list[Override] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        flag, equals, value = word.lstrip("-").partition("=")
        positive = flag.startswith("config.")
        if not word.startswith("-") or not (positive or flag.startswith("noconfig.")):
            rest.append(word)
            continue
        if not equals:
            follows = positive and words and not words[0].startswith("-")
            value = words.pop(0) if follows else str(positive)
        overrides.append((flag.partition(".")[2], value))
    return rest, overrides


def _file(name: str) -> Path:
    """The file that a name stands for."""
    if not name.endswith(".py"):
        known = shipped()
        if name not in known:
            raise UserError(
                f"--config={name}: is no FILE.py, and no config of that name comes "
                f"with score_mia; {did_you_mean(name, known)}"
            )
        return known[name]
    there = Path(name).is_file()
    require(there, f"--config={name}", "the file cannot be read", "check its path")
    return Path(name)


@contextlib.contextmanager
def _told(given: str) -> Iterator[None]:
    """A config file's own mistakes, each in one line."""
    if os.getcwd() not in sys.path:  # a config may import its neighbours
        sys.path.append(os.getcwd())
    try:
        yield
    except UserError:
        raise
    except SyntaxError as error:
        where = f"{error.filename}, line {error.lineno}"
        raise UserError(f"config {where}: {error.msg}; mend the file") from error
    except SystemExit as error:
        problem = f"config: the file ends the program (sys.exit({error.code!r}))"
        raise UserError(f"{problem}; let get_config return the config") from error
    except Exception as error:
        what = f"{type(error).__name__}: {one_line(error)}"
        raise UserError(
            f"--config={given}: {what}; check the file and what it reads"
        ) from error


def _override(config: Any, overrides: Sequence[Override]) -> None:
    """Set fields of a config, written in its file or not.

    What a field may be is for the plan to say, which knows every part's fields and
    their types; a section that the file leaves out is begun.
    """
    if not overrides:
        return
    from ml_collections import ConfigDict

    with contextlib.ExitStack() as stack:
        if isinstance(config, ConfigDict):
            stack.enter_context(config.unlocked())
            stack.enter_context(config.ignore_type())
        for path, text in overrides:
            *sections, field = path.split(".")
            holder, before = config, ""
            for name in (*sections, None):
                if not isinstance(holder, ConfigDict | dict):
                    what = (
                        f"{before or 'the config'} is {holder!r}, which has no fields"
                    )
                    raise UserError(f"--config.{path}: {what}; see docs/config.md")
                if name is None:
                    break
                if holder.get(name) is None:
                    if before in _NAMED:
                        remedy = did_you_mean(name, holder)
                        raise UserError(f"--config.{path}: no {name!r} there; {remedy}")
                    holder[name] = {}
                holder, before = holder[name], name
            holder[field] = _value(text, holder.get(field))


def _value(text: str, before: Any) -> Any:
    """What was typed, as Python reads it; a text stays one, a float too."""
    if isinstance(before, str):
        return text
    literal = text.capitalize() if text in ("true", "false") else text
    try:
        value = ast.literal_eval(literal)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        try:
            return float(text)  # nan and inf, to be told of as the numbers they are
        except ValueError:
            return text
    return float(value) if type(value) is int and type(before) is float else value
