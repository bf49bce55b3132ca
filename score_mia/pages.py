"""Large pages for the memory of programs on CPU.

XLA allocates the buffers of a program at each call and frees them after it, and glibc
gives them back to the kernel. Of small pages, 4 KiB each, a training step then waits
for a hundred thousand to be mapped and zeroed again: a fifth of its time and more
(docs/performance.md). glibc 2.35 and later ask the kernel for pages of 2 MiB and
keep freed memory if told to, but only when the process starts. So the command line
starts itself again, once, with the same arguments and that environment. No number
hangs on it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "GLIBC_TUNABLES"
"""Whoever sets it, be it to nothing, has it as it is."""
TUNABLES = {
    "hugetlb": 1,  # madvise: pages of 2 MiB where the kernel has them
    "mmap_max": 0,  # large blocks are of the heap too, and so are used again
    "trim_threshold": 2**40,  # bytes that are free before any are given back
    "arena_max": 1,  # one heap for all threads of XLA
}
"""Of glibc's malloc."""
_SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_FIRST = (2, 35)
_COMPUTING = ("audit", "train", "attack", "generate", "study")


def setting(tunables: Mapping[str, int] = TUNABLES) -> str:
    """What `VARIABLE` is set to for these."""
    return ":".join(f"glibc.malloc.{name}={n}" for name, n in tunables.items())


def helps() -> bool:
    """Whether this process would run with more large pages if it were told so.

    False where somebody has set the variable, where the C library is not glibc or is
    too old, and where the kernel gives large pages to all or to nobody.
    """
    if VARIABLE in os.environ:
        return False
    try:
        library = os.confstr("CS_GNU_LIBC_VERSION") or ""
        asked = "[madvise]" in _SWITCH.read_text()
    except (OSError, ValueError, AttributeError):
        return False
    name, _, version = library.partition(" ")
    parts = version.split(".")[:2]
    numbers = tuple(int(part) for part in parts if part.isdecimal())
    return asked and name == "glibc" and numbers >= _FIRST


def restart(argv: list[str]) -> None:
    """Start this command again with large pages, if it computes and they would help.

    Args:
      argv: of the process, its command second.
    """
    if argv[1:2] and argv[1] in _COMPUTING and sys.executable and helps():
        environment = {**os.environ, VARIABLE: setting()}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
