"""A config as plain JSON values, every optional section filled in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from score_mia.check import UserError, did_you_mean, require, within
from score_mia.fields import check_value
from score_mia.models import MODELS, Described, Trained
from score_mia.registry import lookup, make
from score_mia.sde import SDE, SDES
from score_mia.spec import FAMILIES

SEEDS = (0, 2**32 - 1)
"""The first and the last seed: those of NumPy's RandomState."""

REQUIRED = ("data", "split", "attacks")
OF_TARGET = ("sde", "network", "train", "parameterisation", "codec", "conditioner")
"""Sections that belong to the target: within it, or beside it as a shorthand."""
OPTIONAL = (
    *("title", "seed", "sampler", "engine", "report", "quality", "target", "signals"),
    *("shadows", "controls", "copies"),
    *OF_TARGET,
)

CONTROLS = ("blind", "permuted", "untrained", "generated")
"""What may stand beside the attacks; the first two always do, unless left out."""


def resolve(config: Any) -> dict[str, Any]:
    """The config as plain JSON values, with every optional section filled in."""
    config = plain(config)
    for name in config:
        if name not in (*REQUIRED, *OPTIONAL):
            remedy = did_you_mean(name, (*REQUIRED, *OPTIONAL))
            raise UserError(f"config has no section {name!r}; {remedy}")
    for name, value in config.items():
        wanted = _LOOSE.get(name, Mapping)
        check_value("config", name, value, wanted)
    config = _described(_lifted(config))
    kind = config["target"].get("name", "trained")
    needed, alien = _SECTIONS.get(kind, (("sde", "network"), ("train",)))
    for name in (*REQUIRED, *needed):
        require(name in config, f"config section {name!r}", "is missing", "add it")
    for name in alien:
        problem = f"means nothing to target {kind!r}"
        require(name not in config, f"config section {name!r}", problem, "leave it out")
    resolved: dict[str, Any] = {
        "title": "Membership privacy audit",
        "seed": 0,
        **(_convention(config["sde"]) if "sde" in needed else {}),
        "sampler": {"name": "ancestral"},
        "engine": {},
        "report": {},
        **config,
    }
    within("config: seed", resolved["seed"], *SEEDS)
    return json.loads(json.dumps(resolved))


_SECTIONS = {
    "trained": (("sde", "network", "train"), ()),
    "finetuned": (("sde", "network", "train"), ()),
    "client": ((), (*OF_TARGET, "quality", "copies", "sampler")),
}
"""Sections that a kind of target needs, and those that mean nothing to it."""


def _described(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with what the target's own files say, where it leaves that open.

    A config that was resolved before says it all: the files may be gone by then.
    """
    entry = config["target"]
    kind = lookup("target", MODELS, entry.get("name", "trained"))
    own = isinstance(kind, type) and issubclass(kind, Described)
    if not own or {*FAMILIES[:4]} <= config.keys():
        return dict(config)
    given = {"train": None} if issubclass(kind, Trained) else {}
    return {**make("target", MODELS, entry, **given).sections(), **config}


def _convention(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The sections that a process's published convention fills in."""
    process = make("sde", SDES, entry)
    ok = isinstance(process, SDE)
    remedy = "let it be a score_mia.sde.SDE (docs/extend.md)"
    require(ok, f"sde {entry['name']!r}", f"made a {type(process).__name__}", remedy)
    return process.convention.sections(process)


def _lifted(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the target's sections beside it: both spellings are one."""
    target = dict(config.get("target", {}))
    within_it = {name: target.pop(name) for name in OF_TARGET if name in target}
    twice = sorted(within_it.keys() & config.keys())
    problem = "are given within `target` and beside it"
    require(not twice, f"config sections {twice}", problem, "leave one of them out")
    for name, value in within_it.items():
        check_value("config target", name, value, Mapping)
    check_value("config", "target.name", target.get("name", "trained"), str)
    if lookup("target", MODELS, target.get("name", "trained")) is Trained:
        target.pop("name", None)
        target = {"snapshot": "last", **target}
    return {**config, **within_it, "target": target}


_LOOSE = {"title": str, "seed": int, "controls": list[str]}
"""Sections that are no mapping."""


def plain(config: Any, *, as_written: bool = False) -> dict[str, Any]:
    """A config as JSON values.

    Args:
      config: a ConfigDict or a mapping.
      as_written: whether to keep the order written, which a ConfigDict tells by
        `to_json` alone; else its names are sorted.
    """
    if config is None:
        raise UserError("config: there is none; give --config=FILE.py")
    ours = isinstance(config, ConfigDict)
    try:
        given = config.to_dict() if ours and not as_written else config
        text = given.to_json() if isinstance(given, ConfigDict) else json.dumps(given)
        values = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"config: {error}; use numbers, texts, lists and dictionaries only"
        ) from error
    problem = f"is {type(given).__name__}, not a mapping"
    remedy = "let get_config return a ConfigDict"
    require(isinstance(values, dict), "config", f"{problem} from sections", remedy)
    return values
