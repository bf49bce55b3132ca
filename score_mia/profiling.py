"""`--profile`: traces of the first steps and tiles, for the profiler's viewer.

    FOLDER/NAME/plugins/profile/TIME/    what XProf and Perfetto read; NAME is "train",
                                         "samples", or a signal's

A window begins once a program is compiled and its first call is done, and holds the
next `CALLS` calls, so that a trace stays small however long the work is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from score_mia.check import refusing
from score_mia.progress import say

CALLS = 20
"""Tiles or steps in a window."""


@dataclasses.dataclass(eq=False)
class _Profile:
    """Traces of a process: one window for each kind of work."""

    folder: Path
    done: set[str] = dataclasses.field(default_factory=set)
    open: str | None = None
    left: int = 0

    def tick(self, name: str, value: Any) -> None:
        """A call of this work is done, or will be once its value is there."""
        if self.open is not None and self.open != name:
            self.close()
        if self.open == name:
            self.left -= 1
            if self.left == 0:
                jax.block_until_ready(value)
                self.close()
        elif name not in self.done:
            jax.block_until_ready(value)
            with _refusing(self.folder):
                place = self.place(name)
                place.mkdir(parents=True, exist_ok=True)
                jax.profiler.start_trace(place, create_perfetto_trace=True)
            self.open, self.left = name, CALLS
            self.done.add(name)

    def place(self, name: str) -> Path:
        """The folder of a window."""
        return self.folder / re.sub(r"[^\w.-]+", "-", name)

    def close(self) -> None:
        """End the window, if there is one, and say where it is."""
        if self.open is None:
            return
        place, self.open = self.place(self.open), None
        with _refusing(self.folder):
            jax.profiler.stop_trace()
        say(
            "profile",
            f"{place} has a trace: xprof --logdir={place} (pip install xprof), or open "
            "its perfetto_trace.json.gz at https://ui.perfetto.dev",
        )


def _refusing(folder: Path) -> contextlib.AbstractContextManager[None]:
    remedy = "give a folder that can be written, or leave it out"
    return refusing(f"--profile={folder}: cannot trace", remedy, OSError, RuntimeError)


_NOW: list[_Profile] = []


@contextlib.contextmanager
def into(folder: str | Path | None, host: int = 0) -> Iterator[None]:
    """Trace the first calls of all work within; nothing without a folder.

    Args:
      folder: for the traces.
      host: number of this process; others than 0 write in folders of their own.
    """
    if folder is None:
        yield
        return
    place = Path(folder)
    profile = _Profile(place / f"host-{host}" if host else place)
    _NOW.append(profile)
    try:
        yield
    finally:
        _NOW.remove(profile)
        profile.close()
        if not profile.done:
            say("profile", "nothing was computed, so there is no trace")


def tick(name: str, value: Any) -> None:
    """Called after each call of a compiled program; costs nothing without a profile.

    Args:
      name: of the work: each has a window of its own.
      value: what the call gives, perhaps not yet there.
    """
    if _NOW:
        _NOW[-1].tick(name, value)
