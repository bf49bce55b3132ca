"""Attacks: signals read off a target, one file per paper."""

from score_mia.attacks.likelihood import Likelihood
from score_mia.attacks.loss import Loss
from score_mia.attacks.protocol import Access, Attack, Reference, Signal
from score_mia.attacks.published import PublishedLikelihood, PublishedLoss

SIGNALS = {"loss": Loss, "likelihood": Likelihood}

PUBLISHED = {
    "loss_as_published": PublishedLoss,
    "likelihood_as_published": PublishedLikelihood,
}
"""Attacks with their published mistakes, which the laws of signals do not bind."""

__all__ = [
    "PUBLISHED",
    "SIGNALS",
    "Access",
    "Attack",
    "Likelihood",
    "Loss",
    "PublishedLikelihood",
    "PublishedLoss",
    "Reference",
    "Signal",
]
