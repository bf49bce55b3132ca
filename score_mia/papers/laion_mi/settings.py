"""All settings of the attacks of Dubinski et al. 2023, as rows of one signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from score_mia.attacks.denoise import LOSSES, Denoise
from score_mia.check import at_least, one_of

_PARTIAL = {"first": 300, "last": 50, "step": 10, "start": 300}
_FULL = {"first": 900, "last": 0, "step": 100}

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "baseline": {"first": 300, "last": 300, "step": 20, "guidance": 0.0},
    "partial": _PARTIAL,
    "partial_anew": {**_PARTIAL, "iterative": False},
    # Their code adds noise at the visit of number 250, and there are 26.
    "latent_shift_as_published": _PARTIAL,
    "latent_shift": {**_PARTIAL, "latent_shift": 0.1, "shift_at": 250},
    "text_shift": {**_PARTIAL, "text_shift": 0.1},
    "text_shift_large": {**_PARTIAL, "text_shift": 0.5},
    "wrong_start": {**_PARTIAL, "start": 100},
    "full_100": {**_FULL, "start": 100},
    "full_100_text_shift": {**_FULL, "start": 100, "text_shift": 0.1},
    "full_50": {**_FULL, "start": 50},
    "full_300": {**_FULL, "start": 300},
    "full_300_unguided": {**_FULL, "start": 300, "guidance": 0.0},
    "full_100_fixed": {
        **_FULL,
        "start": 100,
        "guidance": 100.0,
        "iterative": False,
        "fixed": True,
    },
    "short": {**_FULL, "first": 200, "start": 300},
    "reversed_denoising": {**_FULL, "start": 100, "upwards": True, "guidance": 100.0},
    "reversed_noising_regular": {
        **_FULL,
        "start": 100,
        "upwards": True,
        "iterative": False,
    },
    "reversed_noising": {
        **_FULL,
        "start": 100,
        "upwards": True,
        "iterative": False,
        "guidance": 100.0,
    },
    # From noise alone: 980 is the first of 50 steps of 20 from 1,000.
    "black_box": {
        "first": 980,
        "last": 0,
        "step": 20,
        "start": None,
        "losses": ("pixel",),
    },
}
"""Row -> fields of `Denoise` that differ from its own; guidance is 7.5 if unsaid."""

TITLES = {
    "baseline": "Loss at 300",
    "partial": "Partial denoising",
    "partial_anew": "Partial denoising, noised anew",
    "latent_shift_as_published": "Latent shift, as published",
    "latent_shift": "Latent shift, as meant",
    "text_shift": "Text shift",
    "text_shift_large": "Text shift, large",
    "wrong_start": "Wrong start",
    "full_100": "Full denoising, start 100",
    "full_100_text_shift": "Full denoising, start 100, text shift",
    "full_50": "Full denoising, start 50",
    "full_300": "Full denoising, start 300",
    "full_300_unguided": "Full denoising, start 300, unguided",
    "full_100_fixed": "Full denoising, fixed noise",
    "short": "Short denoising",
    "reversed_denoising": "Reversed denoising",
    "reversed_noising_regular": "Reversed noising, usual guidance",
    "reversed_noising": "Reversed noising",
    "black_box": "Black box",
}
"""How exhibits call them."""


def setting(
    row: str,
    draws: int = 5,
    losses: tuple[str, ...] | None = None,
    guided: bool = True,
    stride: int = 1,
) -> Denoise:
    """One of their settings.

    Args:
      row: name in `SETTINGS`.
      draws: noises, averaged over; theirs are 5.
      losses: those of "model", "latent" and "pixel" that are kept; None for the row's.
      guided: False leaves guidance out of every row, for a model that knows no
        condition which says nothing.
      stride: so many of their steps at once where they take more than ten: what is
        cheaper, and no longer theirs.

    Raises:
      UserError: an unknown row or loss.
    """
    one_of("setting", row, SETTINGS)
    at_least("stride", stride, 1)
    fields: dict[str, Any] = {**SETTINGS[row], "draws": draws}
    if losses is not None:
        for loss in losses:
            one_of("losses", loss, LOSSES)
        fields["losses"] = losses
    if SETTINGS[row]["first"] - SETTINGS[row]["last"] > 10 * SETTINGS[row]["step"]:
        fields["step"] *= stride
    if not guided:
        fields["guidance"] = 0.0
    return Denoise(**fields)
