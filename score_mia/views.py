"""What a signal is handed of the model under attack, and what of the images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from score_mia.attacks.protocol import Access
from score_mia.check import UserError
from score_mia.conditions import Conditions
from score_mia.device import Precision
from score_mia.networks.network import computing
from score_mia.sampling.served import Service
from score_mia.target import Generator, Observed, Target


@runtime_checkable
class Images(Protocol):
    """What the engine needs of a data source: images by id."""

    @property
    def digest(self) -> str:
        """Of all that decides them."""
        ...

    def images(self, ids: np.ndarray) -> np.ndarray:
        """float32 [n, h, w, c] in [0, 1]."""
        ...


@runtime_checkable
class Foreseeing(Images, Protocol):
    """A source that makes images ready before they are asked for."""

    def expect(self, ids: np.ndarray) -> None:
        """That these images, ascending, will be asked for in their order."""
        ...


Named = Callable[[Int[np.ndarray, " n"]], Conditions]
"""From ids to what a conditional model is told of each image, by name."""

Model = Target | Generator
"""What is under attack: a model of one's own, or somebody's service."""

Prompts = Callable[[Int[np.ndarray, " n"]], tuple[Any, ...] | None]
"""From ids to the prompts of their images: what becomes a condition in the model."""


def untold(ids: Int[np.ndarray, " n"]) -> Conditions:
    """What a model is told that takes no condition."""
    del ids
    return {}


def unprompted(ids: Int[np.ndarray, " n"]) -> None:
    """The prompts of a model that takes none."""
    del ids


def view(
    model: Model,
    access: Access,
    service: Service | None = None,
    precision: Precision = "float32",
) -> Any:
    """What a signal of this access is handed: that, and nothing more.

    Args:
      model: under attack.
      access: of the signal.
      service: how the images of a model of one's own are drawn.
      precision: in "bfloat16" the network of a model of one's own multiplies so.

    Raises:
      UserError: the model gives less than that, or cannot compute so.
    """
    if access == "none":
        return None
    if isinstance(model, Target):
        if precision == "bfloat16":
            apply = computing(model.apply, precision)
            model = dataclasses.replace(model, apply=apply)
        if access == "gradients":
            return model
        if access == "scores":
            return model.denoiser
        if service is not None:
            return service.of(model.denoiser, observed=access == "observed")
    elif access == "samples" or (access == "observed" and isinstance(model, Observed)):
        return model
    raise UserError(
        f"access {access!r} cannot be had of {type(model).__name__}; attack another "
        "target, or leave out the signal"
    )
