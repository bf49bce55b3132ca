"""Which diffusion steps an exhibit shows: fixed in the config, or on reference data.

Nothing here ever sees the rows that an exhibit reports on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from score_mia.check import one_of, require
from score_mia.report.content import Stepped

CHOSEN = "chosen"
"""In the place of a time: the step that the attack's rule chose on reference data."""


@dataclasses.dataclass(frozen=True)
class Steps:
    """The steps of an exhibit, as its config says them.

    Attributes:
      times: on each process's own clock: a list for all audits, or a mapping from an
        audit's name to its list. A time may be "chosen": what the attack's rule chose
        on reference data.
      log_snr: in place of times: the nearest column to each of these, for all audits.
    """

    times: Mapping[str, Any] | tuple[Any, ...] = ()
    log_snr: tuple[float, ...] = ()

    def of(self, audit: str) -> tuple[Any, ...]:
        """The times asked of one audit, "chosen" among them."""
        if not isinstance(self.times, Mapping):
            return _listed(self.times)
        require(
            audit in self.times,
            f"times of audit {audit!r}",
            "are not given",
            f"add times[{audit!r}], or leave the audit out",
        )
        return _listed(self.times[audit])

    def require_one(self) -> None:
        """Refuse steps that are given both ways, or neither."""
        require(
            bool(self.times) != bool(self.log_snr),
            f"times={self.times!r}, log_snr={self.log_snr!r}",
            "are not one of the two",
            "give the steps either as times or as log_snr",
        )

    def check(
        self, audit: str, attack: str, times: Sequence[float], chooses: bool
    ) -> None:
        """Tell before training what cannot be shown.

        Args:
          audit, attack: by name.
          times: of the attack's columns.
          chooses: whether its rule chooses one of them.

        Raises:
          UserError: both or neither kind is given, a time that is no column, "chosen"
            for a rule that chooses none, an audit unknown to the mapping.
        """
        self.require_one()
        for time in self.of(audit) if self.times else ():
            if isinstance(time, str):
                one_of("times", time, (CHOSEN,))
                require(
                    chooses,
                    f"times={CHOSEN!r}",
                    f"the rule of attack {attack!r} chooses no single step",
                    "name the times",
                )
            else:
                column_at(attack, times, float(time))

    def columns(self, audit: str, attack: str, steps: Stepped) -> list[int]:
        """Columns to show, in the order asked, each once."""
        if self.log_snr:
            found = [
                int(np.argmin(np.abs(steps.log_snr - level))) for level in self.log_snr
            ]
            return list(dict.fromkeys(found))
        found = []
        for time in self.of(audit):
            if time != CHOSEN:
                found.append(column_at(attack, steps.time, float(time)))
            elif steps.chosen is not None:
                found.append(steps.chosen)
        return list(dict.fromkeys(found))


def _listed(value: Any) -> tuple[Any, ...]:
    """One time without a list means a list of one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def column_at(attack: str, times: Sequence[float] | np.ndarray, time: float) -> int:
    """The column measured at this very time.

    Raises:
      UserError: there is none; the nearest two are named.
    """
    far = np.abs(np.asarray(times) - time)
    near = int(np.argmin(far))
    others = " and ".join(f"{times[k]:g}" for k in np.argsort(far)[:2])
    require(
        bool(far[near] <= 1e-6 * max(1.0, abs(time))),
        f"time {time:g}",
        f"is no column of attack {attack!r}",
        f"put it into the attack's times, or take one of them (nearest: {others})",
    )
    return near
