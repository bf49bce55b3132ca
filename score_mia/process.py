"""Which process this is, and whether another one still lives."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import socket
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Process:
    """One process of one machine, told apart from later ones with the same number.

    Attributes:
      host: name of its machine.
      boot: which start of the machine, and which of its rooms of process numbers
        (containers have their own); "" where the system does not tell.
      pid: its number.
      start: when it began, in ticks since the boot; "" where the system does not tell.
    """

    host: str
    boot: str
    pid: int
    start: str

    @property
    def alive(self) -> bool | None:
        """Whether it still runs; None for what cannot be known from here."""
        if (self.host, self.boot) != _here() or os.name != "posix":
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # another user's
        except OverflowError:
            return False
        state, start = _stat(self.pid)
        return state not in ("Z", "X") and start == self.start

    @property
    def room(self) -> str:
        """Short name of the machine's start, for file names."""
        return hashlib.sha256(f"{self.host}\0{self.boot}".encode()).hexdigest()[:8]


def this_process() -> Process:
    """The process that asks."""
    host, boot = _here()
    return Process(host, boot, os.getpid(), _stat(os.getpid())[1])


@functools.cache
def _here() -> tuple[str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        boot = f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        boot = ""
    return socket.gethostname(), boot


def _stat(pid: int) -> tuple[str, str]:
    """State and start of a process, as Linux tells them."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return fields[0].decode(), fields[19].decode()
    except (OSError, IndexError):
        return "", ""
