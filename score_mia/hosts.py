"""Processes that share one workdir: who does what, who lives, and who has failed.

    failed-00001.json    left by a host whose stage, or whose rows of one folder, failed

Hosts meet in files only. A part belongs to a host by its number; whoever waits for a
part whose owner no longer holds its lease computes it himself, since equal parts may be
computed twice. What is not row by row is done by host 0, and the others wait for its
files. Whoever waits ends with the reason of a host that failed, in one line; a host
that was killed leaves none, and is replaced.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from score_mia.check import Incomplete, UserError, one_line, require
from score_mia.files import load_sealed, save_sealed
from score_mia.lease import Holder, holder
from score_mia.progress import say
from score_mia.storage import ObjectPath, there

POLL = 0.5
"""Seconds between two looks for what another host writes."""

POLL_BUCKET = 5.0
"""The same in a bucket, where each look is a request that is paid for."""

PATIENCE = 600.0
"""Seconds that hosts wait for a host 0 that does not run: it may be started late."""


def poll(folder: Path) -> float:
    """Seconds to wait before a file of another host is looked for again."""
    return POLL_BUCKET if isinstance(folder, ObjectPath) else POLL


class TaskError(UserError):
    """What is computed is itself at fault: no file, and no other work, is concerned."""


class HostFailed(UserError):
    """Another host failed, and what it was to write will not come."""


@dataclasses.dataclass(frozen=True)
class Host:
    """One of the processes that share a run.

    Attributes:
      number: 0 ... count - 1.
      count: how many they are.
      workdir: where each of them holds the lease of its number; None for one alone.
    """

    number: int = 0
    count: int = 1
    workdir: Path | None = None

    def __post_init__(self) -> None:
        ok = 0 <= self.number < self.count
        problem = "is no number among so many"
        remedy = "count from 0: 0/2 and 1/2 are two"
        require(ok, f"--host={self.number}/{self.count}", problem, remedy)

    @staticmethod
    def of(text: str) -> Host:
        """The host that a text such as "0/2" names."""
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if match is None:
            raise UserError(f"--host={text!r}: is not I/N; give 0/2 and 1/2 to two")
        return Host(int(match[1]), int(match[2]))

    @property
    def name(self) -> str:
        """For messages: "host 0 of 2"."""
        return f"host {self.number} of {self.count}"

    @property
    def first(self) -> bool:
        """Whether this host does what is not row by row."""
        return self.number == 0

    def owner(self, part: int) -> int:
        """Number of the host to which a part belongs."""
        return part % self.count

    def holder(self, number: int) -> Holder | None:
        """Who runs as the host of this number now, if anybody does."""
        assert self.workdir is not None
        return holder(self.workdir, number)

    # --- what failed -------------------------------------------------------------

    def tell(self, folder: Path, error: Exception) -> None:
        """Leave in a folder why its work failed here; one alone tells nobody."""
        if self.count == 1 or isinstance(error, (HostFailed, Incomplete)):
            return
        task = isinstance(error, TaskError) or not isinstance(error, UserError)
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        reason = f"{kind}{one_line(error)}"
        path = folder / f"failed-{self.number:05d}.json"
        with contextlib.suppress(UserError):  # a full disk: the reason is told here
            save_sealed(path, {"host": self.number, "reason": reason, "task": task})

    @contextlib.contextmanager
    def telling(self, folder: Path) -> Iterator[None]:
        """Work of a folder: if it fails, the others are told why."""
        try:
            yield
        except Exception as error:
            self.tell(folder, error)
            raise

    def require_no_failure(self, folder: Path) -> None:
        """Refuse to wait for what another host failed to write in a folder.

        Raises:
          TaskError: the work itself is at fault there, and would be here.
          HostFailed: something else was.
        """
        for path in self._failures(folder):
            remedy = "delete it and run again: it only says why a host failed"
            record = load_sealed(path, _RECORD, remedy=remedy)
            if record["host"] == self.number:
                continue
            kind = TaskError if record["task"] else HostFailed
            raise kind(
                f"host {record['host']} of {self.count} failed: {record['reason']}"
            )

    def _failures(self, folder: Path) -> list[Path]:
        """What hosts have left in a folder of why they failed.

        A listing of a bucket may lag: there each of the hosts is asked for by name.
        """
        if not isinstance(folder, ObjectPath):
            return sorted(folder.glob(_FAILED))
        others = [k for k in range(self.count) if k != self.number]
        paths = [folder / f"failed-{k:05d}.json" for k in others]
        return [p for p, is_there in zip(paths, there(paths), strict=True) if is_there]

    def forget_failures(self) -> None:
        """Remove the reasons of earlier starts: this host's, and those of the gone."""
        assert self.workdir is not None
        found = [*self.workdir.rglob(_FAILED)]
        if isinstance(self.workdir, ObjectPath):  # a listing may lag
            here = (self.workdir / f"failed-{k:05d}.json" for k in range(self.count))
            found = sorted({*found, *here})
        for path in found:
            number = int(path.stem.partition("-")[2])
            if number == self.number or self.holder(number) is None:
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def stage(self) -> Iterator[None]:
        """Run a stage: forget how it failed before, and tell the others if it does."""
        assert self.workdir is not None
        self.forget_failures()
        with self.telling(self.workdir):
            yield

    # --- what the others write ---------------------------------------------------

    def wait_for(self, what: str, done: Callable[[], bool]) -> None:
        """Wait until host 0 has done what the others need.

        Args:
          what: is waited for, in words.
          done: whether it is there.

        Raises:
          UserError: host 0 failed, or nobody has been host 0 for `PATIENCE`.
        """
        assert self.workdir is not None
        seen, told = time.monotonic(), False
        while not done():
            now = time.monotonic()
            seen = now if self.holder(0) is not None else seen
            self.require_no_failure(self.workdir)
            problem = f"is not there, and nobody has run as host 0 for {PATIENCE:.0f} s"
            remedy = f"start it with --host=0/{self.count}, then this one again"
            require(now - seen < PATIENCE, f"{what} of host 0", problem, remedy)
            if not told:
                say(self.name, f"waits for {what} of host 0")
                told = True
            time.sleep(poll(self.workdir))


ALONE = Host()
"""A process that shares its work with nobody."""

_FAILED = "failed-*.json"
_RECORD = {"host": int, "reason": str, "task": bool}
