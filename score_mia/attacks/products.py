"""Products: what several signals read, and each image has once.

Pictures are kept with 8 bits a colour, as a service sends them.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, UInt8

from score_mia.arrays import hashed
from score_mia.attacks.protocol import Access, HostQuery
from score_mia.check import at_least, positive, require, within
from score_mia.sampling.kept import as_picture
from score_mia.target import Generator, Observed, Varying

Pictures = dict[str, UInt8[np.ndarray, "n count h w c"]]
"""{"images": so many of each image}."""


@runtime_checkable
class Requested(Protocol):
    """A product, or a host signal that asks itself, whose requests are known before."""

    @property
    def requests(self) -> tuple[int | None, ...]:
        """Steps of each request for an image; None for as many as the model takes."""
        ...


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Images that the model draws when it is told what an image is told.

    Attributes:
      count: how many for each image, each with a seed of its own, a function of the
        audit's seed, the image's id and its number.
    """

    count: int = 1

    def __post_init__(self) -> None:
        at_least("count", self.count, 1)

    @property
    def access(self) -> Access:
        """What is asked of the model."""
        return "samples"

    @property
    def requests(self) -> tuple[int | None, ...]:
        """As many steps as the model takes."""
        return (None,) * self.count

    def batch(self, model: Generator, queries: HostQuery) -> Pictures:
        """The images drawn for each."""
        prompts, seeds = _each(queries, self.count)
        return _pictures(model.draw(prompts, seeds), self.count)


@dataclasses.dataclass(frozen=True)
class Varied:
    """Variations of an image (img2img), each with a seed of its own.

    Attributes:
      count: how many for each image.
      strength: how far each is noised, as a share of the way.
      steps: in which it is denoised.
    """

    count: int = 1
    strength: float = 0.5
    steps: int = 10

    def __post_init__(self) -> None:
        at_least("count", self.count, 1)
        positive("strength", self.strength)
        within("strength", self.strength, 0.0, 1.0)
        at_least("steps", self.steps, 1)

    @property
    def access(self) -> Access:
        """What is asked of the model."""
        return "samples"

    @property
    def requests(self) -> tuple[int | None, ...]:
        """All of one length."""
        return (self.steps,) * self.count

    def batch(self, model: Varying, queries: HostQuery) -> Pictures:
        """The variations of each."""
        _require_varying(model, Varying, "vary", "give images back that it was given")
        prompts, seeds = _each(queries, self.count)
        images = np.repeat(queries.images, self.count, axis=0)
        how = {"strength": self.strength, "steps": self.steps}
        return _pictures(model.vary(images, prompts, seeds, **how), self.count)


@dataclasses.dataclass(frozen=True)
class Runs:
    """Runs of img2img on an image, each stronger than the one before; their ends.

    Attributes:
      count: how many, from 1 / count of the strength to the whole of it.
      strength: of the last.
      steps: of the last; the others take their share, at least one.
    """

    count: int = 10
    strength: float = 0.5
    steps: int = 10

    def __post_init__(self) -> None:
        _ = Varied(self.count, self.strength, self.steps)

    @property
    def access(self) -> Access:
        """What is asked of the model."""
        return "samples"

    @property
    def requests(self) -> tuple[int | None, ...]:
        """Each longer than the one before."""
        return tuple(steps for _, steps in self._each)

    def batch(self, model: Varying, queries: HostQuery) -> Pictures:
        """The end of each run, the weakest first."""
        _require_varying(model, Varying, "vary", "give images back that it was given")
        prompts = _each(queries, 1)[0]
        seeds = _each(queries, self.count)[1].reshape(-1, self.count)
        ends = []
        for k, (strength, steps) in enumerate(self._each):
            asked = (queries.images, prompts, seeds[:, k])
            ends.append(model.vary(*asked, strength=strength, steps=steps))
        return {"images": as_picture(np.stack(ends, axis=1))}

    @property
    def _each(self) -> tuple[tuple[float, int], ...]:
        """Strength and steps of each run."""
        shares = (k / self.count for k in range(1, self.count + 1))
        return tuple((self.strength * s, max(1, round(self.steps * s))) for s in shares)


@dataclasses.dataclass(frozen=True)
class Traced:
    """One run of img2img on an image, and what could be seen after each step.

    Attributes:
      strength: how far the image is noised, as a share of the way.
      steps: in which it is denoised.
      denoised: see the clean image that the model predicts before each step instead.
    """

    strength: float = 0.5
    steps: int = 10
    denoised: bool = False

    def __post_init__(self) -> None:
        _ = Varied(1, self.strength, self.steps)

    @property
    def access(self) -> Access:
        """What is asked of the model."""
        return "observed"

    @property
    def requests(self) -> tuple[int | None, ...]:
        """A single one."""
        return (self.steps,)

    def batch(self, model: Observed, queries: HostQuery) -> Pictures:
        """The states of each, the noisiest first."""
        _require_varying(model, Observed, "trace", "show its images on the way")
        images = model.trace(
            queries.images,
            *_each(queries, 1),
            strength=self.strength,
            steps=self.steps,
            denoised=self.denoised,
        )
        return {"images": as_picture(np.asarray(images))}


def _each(queries: HostQuery, count: int) -> tuple[list | None, Int[np.ndarray, " m"]]:
    """Prompts and seeds of `count` requests for each image, image by image."""
    told = queries.prompts
    seeds = [hashed(queries.seeds, 1 + k) >> np.uint64(33) for k in range(count)]
    prompts = None if told is None else [p for p in told for _ in range(count)]
    return prompts, np.stack(seeds, 1).ravel().astype(np.int64)


def _pictures(images: np.ndarray, count: int) -> Pictures:
    images = np.asarray(images)
    return {"images": as_picture(images.reshape(-1, count, *images.shape[1:]))}


def _require_varying(model: Generator, kind: type, method: str, what: str) -> None:
    problem = f"has no {method!r}: it does not {what}"
    remedy = "attack it by what it draws, or give a client that can"
    require(isinstance(model, kind), type(model).__name__, problem, remedy)
