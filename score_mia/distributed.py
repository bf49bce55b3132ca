"""Processes that train one target together: JAX's own runtime, entered and left.

A process joins the others (`start`), trains with them over one mesh of all devices
(`together`), and leaves them: what follows is divided by files alone (`hosts`), so that
a process that dies then costs the others nothing. While they train each needs all
others: who dies or fails ends them all, in one line that says who, and the next start
of all of them goes on from the last checkpoint.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from score_mia.check import UserError, one_line, require
from score_mia.hosts import POLL, Host, HostFailed, TaskError

PATIENCE = 24 * 3600.0
"""Seconds that hosts wait for each other where all of them live."""

SETTLED = 5.0
"""Seconds after a failed collective in which it shows who died."""

LINGER = 10.0
"""Seconds that the coordinator stays after its own failure, for the others to read."""

_LOST = ("Gloo", "gloo", "NCCL", "arrier", "UNAVAILABLE", "DEADLINE", "collective")
_AGAIN = "start all of them again: training goes on from its last checkpoint"
_calls = itertools.count()


# --- to join and to leave ----------------------------------------------------------


def start(
    coordinator: str | None = None,
    process_id: int | None = None,
    process_count: int | None = None,
) -> Host:
    """Join the other processes, before JAX looks for devices; which host this is.

    Args:
      coordinator: HOST:PORT of process 0; None where JAX finds it itself (SLURM, MPI,
        Kubernetes, Cloud TPU), as it then does the numbers.
      process_id: number of this process.
      process_count: how many they are.

    Raises:
      UserError: they cannot be found or reached.
    """
    # Its handler would swallow the SIGTERM by which schedulers end a process.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # With all numbers given, nothing is guessed from the surroundings.
    search = None if coordinator is None else "deactivate"
    try:
        jax.distributed.initialize(
            coordinator, process_count, process_id, cluster_detection_method=search
        )
        return Host(jax.process_index(), jax.process_count())
    except (ValueError, TypeError, RuntimeError, OSError, KeyError) as error:
        remedy = "give --coordinator=HOST:PORT --process_id=I --process_count=N"
        if coordinator is not None:
            remedy = "see that all are started, and reach process 0 at that address"
        raise UserError(
            f"--distributed: cannot join the other processes ({one_line(error)}); "
            f"{remedy}"
        ) from error


def joined() -> bool:
    """Whether this process is one of several (or one) that work together now."""
    return jax.distributed.is_initialized()


def first() -> bool:
    """Whether this process writes what they make together; one alone does."""
    return not joined() or jax.process_index() == 0


def leave() -> None:
    """Part from the others once all are here; does nothing alone.

    Arrays over the devices of several processes are lost by it.
    """
    if joined():
        meet()
        jax.distributed.shutdown()


# --- together ----------------------------------------------------------------------


def meet() -> None:
    """Wait until every process is here; does nothing alone."""
    if joined() and jax.process_count() > 1:
        from orbax.checkpoint import multihost

        # Not a collective of arrays: those fail where one is late by half a minute.
        wait = multihost.get_barrier_sync_fn()
        wait(key=f"score_mia_{next(_calls)}", timeout_ms=int(1000 * PATIENCE))


def agreed(value: int) -> int:
    """The value of process 0, on all of them."""
    if not joined() or jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    meet()
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def require_same(what: str, digest: str, remedy: str) -> None:
    """Refuse to go on where a digest is another than that of process 0."""
    ok = agreed(int(digest[:7], 16)) == int(digest[:7], 16)
    require(ok, f"{what} of host {jax.process_index()}", "differ from host 0's", remedy)


def in_turn(act: Callable[[], object]) -> None:
    """Process 0 acts, then the others, who find done what it did."""
    if first():
        act()
    meet()
    if not first():
        act()


@contextlib.contextmanager
def together(host: Host) -> Iterator[None]:
    """What all hosts do as one; they part at its end.

    Raises:
      HostFailed: another host died or failed, if this one is told by a failed
        collective. Where it waits for nothing that fails, a thread of its own ends the
        process, with the same line and status 2.
    """
    watch = _Watch(host)
    try:
        meet()  # all hold their leases
        _require_shared(host)
        watch.start()
        yield
        leave()
    except Exception as error:
        watch.stop()
        reason = error if isinstance(error, UserError) else _reason(host, error)
        assert host.workdir is not None
        host.tell(host.workdir, reason)
        if host.first and not isinstance(reason, HostFailed):
            _linger(host)
        if reason is error:
            raise
        raise reason from error
    finally:
        watch.stop()


def end(status: int, text: str = "") -> None:
    """End a process that failed beside others, and say why; alone it returns.

    At the ordinary end of a program JAX would wait for the others to end.
    """
    if joined() and jax.process_count() > 1:
        sys.stdout.flush()
        sys.stderr.write(text)
        sys.stderr.flush()
        os._exit(status)


class _Watch:
    """Ends the process when another host dies or fails: collectives may never fail."""

    def __init__(self, host: Host) -> None:
        self._host, self._over = host, threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(POLL):
            try:
                _require_all(self._host)
            except HostFailed as error:
                if self._over.is_set():
                    return
                end(2, f"score-mia: {one_line(error)}\n")
            except UserError:  # a record that is being written
                continue


def _others(host: Host) -> list[int]:
    return [number for number in range(host.count) if number != host.number]


def _require_all(host: Host) -> None:
    """Raise `HostFailed` if another host failed, or does not run."""
    assert host.workdir is not None
    try:
        host.require_no_failure(host.workdir)
    except TaskError as error:
        raise HostFailed(str(error)) from error
    for number in _others(host):
        if host.holder(number) is None:
            raise HostFailed(
                f"host {number} of {host.count} does not run any more, and training "
                f"needs all hosts; {_AGAIN}"
            )


def _require_shared(host: Host) -> None:
    """Refuse workdirs that the hosts do not share: here all hold their leases."""
    end_at = time.monotonic() + 12 * SETTLED  # a network's file system is late
    while any(host.holder(number) is None for number in _others(host)):
        problem = "is not shared: not all hosts are seen in it"
        remedy = "give a folder that all hosts see"
        late = time.monotonic() > end_at
        require(not late, f"workdir {host.workdir}", problem, remedy)
        time.sleep(POLL)
    meet()


def _reason(host: Host, error: Exception) -> Exception:
    """Why a program failed: another host, if one died, or itself."""
    end_at = time.monotonic() + SETTLED
    lost = any(word in str(error) for word in _LOST)
    while lost and time.monotonic() < end_at:
        try:
            _require_all(host)
        except HostFailed as failed:
            return failed
        except UserError:
            pass
        time.sleep(POLL / 5)
    if not lost:
        return error
    said = one_line(error)[:200]
    return HostFailed(f"the hosts lost each other ({said}); {_AGAIN}")


def _linger(host: Host) -> None:
    """Stay until the others have read why: they end when the coordinator does."""
    end_at = time.monotonic() + LINGER
    while time.monotonic() < end_at:
        if all(host.holder(number) is None for number in _others(host)):
            return
        time.sleep(POLL / 5)
