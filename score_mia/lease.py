"""A workdir is used by one process at a time for each host number.

    .lease-00000.lock           held with `flock`, and who holds it
    .lease-00000/00000007.json  where `flock` cannot be relied on (NFS and its like, and
                                buckets): the 7th holder, renewed while it lives

The kernel lets go of a lock when its holder dies, however it dies. A holder without a
lock writes down until when it is to be believed and goes on writing that down; one that
is known to be dead, or has let that time pass, is succeeded. Successors are numbered
and a number is created once, so of two starts at once one wins. Clocks of hosts that
share a folder have to agree to a minute.

In a bucket a number is created by a conditional put. The records of earlier holders
stay there, a few hundred bytes for each start: the newest is found by asking for names
(1, 2, 4, ... and between), since a listing may lag.

No number depends on any of this: it only keeps two starts out of each other's way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from score_mia import files
from score_mia.bucket import require_bucket
from score_mia.check import Unreachable, UserError, refusing
from score_mia.process import Process, this_process
from score_mia.progress import say
from score_mia.storage import ObjectPath, locate
from score_mia.typed import from_json, to_json

try:
    import fcntl
except ImportError:  # not on this system
    fcntl = None

BELIEVED = 120.0
"""Seconds that a holder without a lock is believed after it last said that it lives."""

RENEWED = 20.0
"""Seconds between its saying so."""

_SHARED = (
    *("nfs", "cifs", "smb", "9p", "fuse.", "lustre", "gpfs", "beegfs", "ceph"),
    *("glusterfs", "afs", "virtiofs", "orangefs", "pvfs", "ocfs2", "gfs"),
)
"""File systems of several machines, on whose locks no two machines need agree."""


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who uses a workdir.

    Attributes:
      process: which process.
      since: when it began, in seconds since 1970.
      expires: until when it is to be believed; None where the lock says it.
    """

    process: Process
    since: float
    expires: float | None = None

    @staticmethod
    def load(path: Path) -> Holder:
        """Read it back; `UserError` if it cannot be."""
        return from_json(Holder, files.load_sealed(path), f"{path}")

    def holds(self, now: float) -> bool:
        """Whether it is to be believed, where there is no lock to tell."""
        if self.expires is None or now >= self.expires:
            return False
        return self.process.alive is not False


@contextlib.contextmanager
def lease(
    folder: str | Path, number: int = 0, *, clock: Callable[[], float] = time.time
) -> Iterator[None]:
    """Use a workdir alone, and remove what dead processes left half written in it.

    Args:
      folder: the workdir; made if it is not there.
      number: of this host among those that share the work.
      clock: seconds since 1970.

    Raises:
      UserError: a living process uses it as the same host number, or the folder cannot
        be written.
    """
    folder = locate(folder)
    with contextlib.ExitStack() as stack:
        if isinstance(folder, ObjectPath):
            require_bucket(folder)
            stack.enter_context(_beating(folder, number, clock))
            yield
            return
        problem = f"workdir {folder} cannot be used"
        with refusing(problem, "choose another --workdir", OSError):
            folder.mkdir(parents=True, exist_ok=True)
            locked = _lock(folder, number, clock(), stack)
            if not locked or _is_shared(folder):
                stack.enter_context(_beating(folder, number, clock))
        files.remove_orphans(folder)
        yield


def holder(
    folder: str | Path, number: int, *, clock: Callable[[], float] = time.time
) -> Holder | None:
    """Who holds the lease of a host number now; None if nobody does.

    Args:
      folder: the workdir.
      number: of the host that is asked for.
      clock: seconds since 1970.
    """
    folder = locate(folder)
    if isinstance(folder, ObjectPath):
        return _living(folder, number, clock())
    path = folder / f".lease-{number:05d}.lock"
    with contextlib.suppress(OSError):  # no such file, or no locks here
        handle = os.open(path, os.O_RDONLY)
        try:
            _flock(handle, exclusive=False)
        except BlockingIOError:
            return _read(path) or Holder(Process("", "", 0, ""), clock())
        finally:
            os.close(handle)
    return _living(folder, number, clock())


def _living(folder: Path, number: int, now: float) -> Holder | None:
    newest = _newest(folder / f".lease-{number:05d}")
    last = None if newest is None else _read(newest)
    return last if last is not None and last.holds(now) else None


# --- with a lock -------------------------------------------------------------------


def _lock(folder: Path, number: int, now: float, stack: contextlib.ExitStack) -> bool:
    """Hold the lock until the stack is left; False where there are no locks."""
    path = folder / f".lease-{number:05d}.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    stack.callback(os.close, handle)  # which lets go of the lock
    for attempt in range(_ATTEMPTS):
        try:
            _flock(handle)
            break
        except BlockingIOError:
            if attempt + 1 == _ATTEMPTS:
                _refuse(folder, number, _read(path))
            time.sleep(_INSTANT)
        except OSError:
            return False
    # The file stays: were it removed, a second start could get the lock of the removed
    # one while a third locks a new one.
    text = files.sealed_text(to_json(Holder(this_process(), now))).encode()
    os.ftruncate(handle, 0)
    os.pwrite(handle, text, 0)
    return True


_ATTEMPTS, _INSTANT = 5, 0.02
"""`holder` has the lock, to see whether it is free, for less than an instant."""


def _flock(handle: int, *, exclusive: bool = True) -> None:
    if fcntl is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    fcntl.flock(handle, kind | fcntl.LOCK_NB)


def _is_shared(folder: Path) -> bool:
    """Whether other machines may have the folder too, as far as the system tells."""
    device = os.stat(folder).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    for line in lines:
        mount, _, kind = line.partition(" - ")
        if mount.split()[2] == number:
            return kind.startswith(_SHARED)
    return False


# --- without one -------------------------------------------------------------------


@contextlib.contextmanager
def _beating(
    folder: Path, number: int, clock: Callable[[], float]
) -> Iterator[Heartbeat]:
    """Hold the lease by saying again and again that this process lives."""
    heartbeat = take(folder, number, clock)
    over = threading.Event()

    def beat() -> None:
        while not over.wait(RENEWED) and heartbeat.renew():
            pass

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()

    def leave() -> None:
        over.set()
        thread.join()
        heartbeat.release()

    with contextlib.ExitStack() as stack:
        stack.callback(leave)
        stack.enter_context(_on_termination(heartbeat.release))
        yield heartbeat


@dataclasses.dataclass(frozen=True)
class Heartbeat:
    """A lease held without a lock: the file with the highest number is the holder's.

    Attributes:
      path: this holder's file.
      since: when it began.
      clock: seconds since 1970.
    """

    path: Path
    since: float
    clock: Callable[[], float]

    def renew(self) -> bool:
        """Say that this process lives; False if it has been succeeded."""
        # What fails now, on a full disk or a silent server, may succeed the next time.
        with contextlib.suppress(UserError, OSError):
            if _newest(self.path.parent) != self.path:
                return False
            files.save_sealed(self.path, self._until(self.clock() + BELIEVED))
        return True

    def release(self) -> None:
        """Say that the workdir is free. The file stays, so that numbers only grow."""
        with contextlib.suppress(UserError, OSError):
            if _newest(self.path.parent) == self.path:
                files.save_sealed(self.path, self._until(None))

    def _until(self, expires: float | None) -> dict[str, Any]:
        return to_json(Holder(this_process(), self.since, expires))


def take(folder: Path, number: int, clock: Callable[[], float]) -> Heartbeat:
    """Succeed the last holder, unless it lives.

    Args:
      folder: the workdir.
      number: of this host among those that share the work.
      clock: seconds since 1970.

    Raises:
      UserError: a living process holds the lease.
    """
    room = folder / f".lease-{number:05d}"
    room.mkdir(parents=True, exist_ok=True)
    while True:
        now, last = clock(), _newest(room)
        if last is not None:
            holder = _read(last)
            # What cannot be read may be the file of one who is just writing it.
            unknown = holder is None and now < _written(last) + BELIEVED
            if unknown or (holder is not None and holder.holds(now)):
                _refuse(folder, number, holder)
        mine = room / f"{1 if last is None else int(last.stem) + 1:08d}.json"
        if _create(mine, Holder(this_process(), now, now + BELIEVED)):
            if _newest(room) == mine:
                break
            mine.unlink()  # a number of old, which its successors had removed
    if isinstance(room, ObjectPath):
        return Heartbeat(mine, now, clock)
    for old in room.glob("*.json"):
        if old.name < mine.name:
            old.unlink(missing_ok=True)
    return Heartbeat(mine, now, clock)


def _create(path: Path, holder: Holder) -> bool:
    """Write a file that nobody else has made; False if somebody has."""
    text = files.sealed_text(to_json(holder)).encode()
    if isinstance(path, ObjectPath):
        return _create_object(path, text)
    handle, temporary = tempfile.mkstemp(".tmp", files.temporary_prefix(), path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # whole from the first moment
        except OSError as error:  # no links here
            if isinstance(error, FileExistsError):
                raise
            with path.open("xb") as file:
                file.write(text)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True


def _create_object(path: ObjectPath, text: bytes) -> bool:
    if not path.create(text):
        # Of an attempt whose answer was lost the object may be there: then it is ours.
        return path.read_bytes() == text
    if path.create(text):  # which a store that knows conditions refuses
        problem = "knows no conditional writes, so of two starts at once both may win"
        say("lease", f"the store of {path} {problem}; start no host twice at once")
    return True


def _written(path: Path) -> float:
    """When a file was last written; long ago, if it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _newest(room: Path) -> Path | None:
    if isinstance(room, ObjectPath):
        return _newest_object(room)
    return max(room.glob("*.json"), default=None)


def _newest_object(room: ObjectPath) -> Path | None:
    """Numbers go up by one and none is removed, so they are there up to the newest."""

    def name(number: int) -> ObjectPath:
        return room / f"{number:08d}.json"

    low = _SEEN.get(room, 0)
    step = 1
    while name(low + step).exists():
        low, step = low + step, 2 * step
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if name(middle).exists() else (low, middle)
    _SEEN[room] = low
    return name(low) if low else None


_SEEN: dict[ObjectPath, int] = {}
"""Of each room the highest number that this process has seen."""


def _read(path: Path) -> Holder | None:
    try:
        return Holder.load(path)
    except Unreachable:
        raise
    except UserError:
        return None


@contextlib.contextmanager
def _on_termination(release: Callable[[], None]) -> Iterator[None]:
    """Call `release` before SIGTERM ends the process, as it would have without us."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(number: int, _: Any) -> None:
        release()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _refuse(folder: Path, number: int, holder: Holder | None) -> NoReturn:
    who = "another process"
    if holder is not None:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(holder.since))
        who = f"process {holder.process.pid} on {holder.process.host} since {since}"
    problem = f"workdir {folder} is in use by {who}, as host number {number}"
    remedy = "wait until it has finished or stop it, or choose another --workdir"
    raise UserError(f"{problem}; {remedy}")
