"""Asking a service with patience, within a budget, and nothing twice.

A user's generator stays ten lines; what a service does on a bad day is met here. Each
request is one image; its answer is kept under a digest of what was asked, so that a run
that was killed, or ran out of budget, asks (and pays) for the rest only.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from score_mia.check import UserError, at_least, positive, require
from score_mia.files import digest, load_npz, save_npz
from score_mia.target import Generator, Varying

_FIRST_WAIT = 1.0


@dataclasses.dataclass(frozen=True)
class Manners:
    """How a service is asked.

    Attributes:
      log: folder in which every answer is kept.
      retries: times that a request is made again, after 1, 2, 4, ... seconds, or after
        what the service asks for (Retry-After), when it fails.
      timeout: seconds after which a request counts as failed; None for never.
      per_minute: most requests a minute; None for any number.
      price: of one request, in any unit.
      budget: what all requests of the log may cost; None for anything.
    """

    log: str
    retries: int = 5
    timeout: float | None = 120.0
    per_minute: float | None = None
    price: float = 0.0
    budget: float | None = None

    def __post_init__(self) -> None:
        at_least("polite.retries", self.retries, 0)
        at_least("polite.price", self.price, 0.0)
        for name in ("timeout", "per_minute", "budget"):
            if getattr(self, name) is not None:
                positive(f"polite.{name}", getattr(self, name))
        ok = self.budget is None or self.price > 0
        require(ok, "polite.budget", "needs a price", "give polite.price as well")


@dataclasses.dataclass(frozen=True, eq=False)
class Polite:
    """A `Generator`, and `Varying` if the service can, asked with manners."""

    service: Generator
    manners: Manners
    sleep: Callable[[float], None] = time.sleep

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c) of its images."""
        return tuple(self.service.shape)  # type: ignore[return-value]

    def draw(
        self, prompts: Sequence[Any] | None, seeds: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n h w c"]:
        """One image for each seed; see `target.Generator`.

        Raises:
          UserError: a request failed for good, or the budget is spent; all answers so
            far are kept.
        """

        def ask(_: int, *own: Any) -> Any:
            return self.service.draw(*own)

        return self._each(prompts, seeds, ("draw",), ask)

    def vary(
        self,
        images: Float[np.ndarray, "n h w c"],
        prompts: Sequence[Any] | None,
        seeds: Int[np.ndarray, " n"],
        *,
        strength: float,
        steps: int,
    ) -> Float[np.ndarray, "n h w c"]:
        """Each image varied; see `target.Varying`."""
        service = self.service
        if not isinstance(service, Varying):
            raise UserError(
                "target.call: the service varies no images; leave this signal out"
            )
        how: Any = {"strength": strength, "steps": steps}

        def ask(i: int, *own: Any) -> Any:
            return service.vary(images[i : i + 1], *own, **how)

        asked = ("vary", repr((strength, steps)))
        return self._each(prompts, seeds, asked, ask, images)

    def _each(
        self,
        prompts: Sequence[Any] | None,
        seeds: Int[np.ndarray, " n"],
        asked: tuple[str, ...],
        ask: Callable[..., Any],
        images: np.ndarray | None = None,
    ) -> np.ndarray:
        """The answers, `ask(i, prompts, seeds)` for one row at a time, [n, h, w, c]."""
        rows = []
        for i, seed in enumerate(np.asarray(seeds, np.int64)):
            own = None if prompts is None else [prompts[i]]
            image = () if images is None else (digest(np.ascontiguousarray(images[i])),)
            request = (*asked, *image, repr(own), str(seed))
            call = functools.partial(ask, i, own, seed[None])
            rows.append(self._kept(request, call))
        return np.stack(rows)

    def _kept(self, asked: tuple[str, ...], ask: Callable[[], Any]) -> np.ndarray:
        """The answer of the log, or of the service."""
        path = Path(self.manners.log).expanduser() / f"{digest(*asked)}.npz"
        if not path.exists():
            self._require_budget(path.parent)
            save_npz(path, image=self._answer(" ".join(asked)[:80], ask))
        remedy = "delete it: it is asked for again"
        return load_npz(path, ("image",), remedy=remedy)["image"]

    def _require_budget(self, folder: Path) -> None:
        manners = self.manners
        if manners.budget is None:
            return
        count = len([*folder.glob("*.npz")]) if folder.is_dir() else 0
        spent = count * manners.price
        problem = f"is spent: {count} requests of {manners.price:g} are {spent:g}"
        ok = spent + manners.price <= manners.budget
        remedy = "raise it and run again: what was answered is kept"
        require(ok, f"polite.budget={manners.budget:g}", problem, remedy)

    def _answer(self, asked: str, ask: Callable[[], Any]) -> np.ndarray:
        """One image, after as many tries as manners allow."""
        failure = ""
        for number in range(self.manners.retries + 1):
            if self.manners.per_minute is not None:
                self.sleep(60.0 / self.manners.per_minute)
            try:
                return self._image(_within(self.manners.timeout, ask))
            except UserError:
                raise
            except Exception as error:  # a client may raise anything
                failure = " ".join(f"{type(error).__name__} {error}".split())[:160]
                wait = _asked_for(error)
            if number < self.manners.retries:
                self.sleep(_FIRST_WAIT * 2**number if wait is None else wait)
        tries = f"failed {self.manners.retries + 1} times"
        raise UserError(
            f"service: request {asked!r} {tries} ({failure}); run again when it "
            "answers: what was answered is kept"
        )

    def _image(self, answer: Any) -> np.ndarray:
        """The one image of an answer; what is none counts as a failed try."""
        images = np.asarray(answer, np.float32)
        if images.shape != (1, *self.shape):
            raise ValueError(f"an answer of shape {images.shape}, not {self.shape}")
        if not (np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1):
            raise ValueError("an answer that is no image in [0, 1]")
        return images[0]


def _within(timeout: float | None, ask: Callable[[], Any]) -> Any:
    """What is asked for, or TimeoutError; a hanging request is left behind."""
    if timeout is None:
        return ask()
    found: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(ask())
        except BaseException as error:  # handed to the caller's thread
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError(f"no answer within {timeout:g} s")
    return found[0]


def _asked_for(error: BaseException) -> float | None:
    """Seconds that an HTTP error asks to wait for; what else it says is not read."""
    from urllib.error import HTTPError

    if not isinstance(error, HTTPError):
        return None
    error.close()
    if error.headers is None:
        return None
    told = error.headers.get("Retry-After", "")
    return float(told) if told.strip().isdigit() else None
