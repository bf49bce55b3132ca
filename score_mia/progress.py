"""Progress of long work: a live bar on a terminal, an occasional line elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from score_mia.check import printable

_LINE_SECONDS = 15.0


class Progress:
    """Shows `done/total unit`, figures the caller adds, the rate and an estimate.

    Work that an earlier run did counts as done but not for the rate.

    Args:
      label: what is being done, e.g. "train".
      total: how many units there are in all.
      unit: name of one unit in the plural, e.g. "steps".
      done: units that were already done.
      quiet: of work that ends before the first line is due, nothing is said.
    """

    def __init__(
        self, label: str, total: int, unit: str, done: int = 0, *, quiet: bool = False
    ) -> None:
        self.label, self.total, self.unit = printable(label), total, unit
        self.done = self._already = done
        self._start = self._printed = time.monotonic()
        self._bar: Any = _bar(self.label, total, done) if sys.stderr.isatty() else None
        self._figures: dict[str, str] = {}
        self._quiet = quiet

    def __enter__(self) -> Progress:
        self.start_clock()
        if self._bar is not None and not self._quiet:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif kind is None and not self._quiet:
            self.note(f"{self._text()}, {duration(self.elapsed)}")

    @property
    def elapsed(self) -> float:
        """Seconds since the work started."""
        return time.monotonic() - self._start

    def start_clock(self) -> None:
        """Count the rate from now: after a compilation, say."""
        self._start = self._printed = time.monotonic()

    def note(self, text: str) -> None:
        """Print one line above the bar; nothing in it can drive the terminal."""
        text = printable(text)
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            say(self.label, text)

    def advance(self, count: int, **figures: str) -> None:
        """`count` units more are done; figures such as loss="0.031" are shown."""
        self.done += count
        self._figures.update(figures)
        now = time.monotonic()
        due = now - self._printed > _LINE_SECONDS and self.done < self.total
        if self._quiet and due:
            self._quiet = False
            if self._bar is not None:
                self._bar.start()
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=self.done, text=self._text(True))
        elif due:
            self._printed = now
            self.note(self._text(True))

    def _text(self, estimate: bool = False) -> str:
        fresh = self.done - self._already
        rate = fresh / max(self.elapsed, 1e-9)
        parts = [f"{self.done}/{self.total} {self.unit}"]
        if fresh:
            parts.append(f"{rate:.3g} {self.unit}/s")
        parts += [f"{name.replace('_', ' ')} {v}" for name, v in self._figures.items()]
        if estimate and fresh:
            parts.append(f"{duration((self.total - self.done) / rate)} left")
        return ", ".join(parts)


def say(label: str, text: str) -> None:
    """One line about some work, on standard error."""
    print(printable(f"{label}: {text}"), file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 7 min, 2.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _bar(label: str, total: int, done: int) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[text]}"),
        console=Console(stderr=True),
        transient=False,
    )
    bar.add_task(label, total=total, completed=done, text="")
    return bar
