"""Decision rules: signals [N, K] to one membership score per image [N].

A new rule is one file and one line here; a rule in your own package needs no line, only
`dict(name="my_package.mine:MyRule")` in a config.
"""

from __future__ import annotations

from collections.abc import Callable

from score_mia.rules.best import Best
from score_mia.rules.column import Column
from score_mia.rules.mean import Mean

RULES: dict[str, Callable] = {"column": Column, "best": Best, "mean": Mean}
"""Name in a config -> class."""
