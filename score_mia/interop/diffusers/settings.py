"""What a component's config says, held against what has a counterpart here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from score_mia.check import require

Config = Mapping[str, Any]


def settings(
    kind: str,
    config: Config,
    defaults: Config,
    only: Mapping[str, Collection[Any]],
    remedy: str,
) -> dict[str, Any]:
    """A config with its defaults filled in.

    Args:
      kind: the class, for messages.
      config: without what it is to be let through besides.
      defaults: all settings that are known, and what is meant by one that is not there.
      only: setting -> its values that have a counterpart.
      remedy: for messages.

    Raises:
      UserError: a setting that is unknown, or has no counterpart here, by name.
    """
    unknown = sorted(config.keys() - defaults.keys())
    require(not unknown, kind, f"its setting {unknown} is unknown", remedy)
    whole = {**defaults, **config}
    for name, known in only.items():
        values = " or ".join(map(repr, known))
        ok = whole[name] in known
        require(ok, f"{kind} {name}={whole[name]!r}", f"is not {values}", remedy)
    return whole


def plain(config: Config) -> dict[str, Any]:
    """The settings of a config, without what the library notes of itself."""
    return {k: v for k, v in config.items() if not k.startswith("_")}


def learned_variance(given: int, made: int, remedy: str) -> bool:
    """Whether a network also predicts a variance, in as many further channels."""
    problem = f"is neither in_channels={given} nor twice that"
    require(made in (given, 2 * given), f"out_channels={made}", problem, remedy)
    return made == 2 * given


OLDER = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""What the projections of attention were called before version 0.15."""


def older(name: str) -> str:
    """A weight's name in files of before version 0.15."""
    for new, old in OLDER.items():
        name = name.replace(f".{new}.", f".{old}.")
    return name
