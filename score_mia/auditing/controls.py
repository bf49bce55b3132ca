"""Controls: what an attack finds where there is nothing to find.

*Blind*: a classifier that never sees the model, on the same images; the attack's margin
over it is what the model gave away. *Permuted*: the attack with shuffled labels.
*Untrained*: the attack on the target's network before training. *Generated*: the
target's own images, which nobody trained on.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from score_mia.auditing.assess import Assessment, assess
from score_mia.auditing.checks import Checks
from score_mia.auditing.quality import drawn
from score_mia.auditing.work import Work
from score_mia.check import Damaged, UserError
from score_mia.checkpoint import target_digest
from score_mia.engine import collect
from score_mia.files import digest
from score_mia.metrics.intervals import auc_limits, delong, proportion, widened
from score_mia.metrics.paired import paired
from score_mia.readings import Evidence, joined
from score_mia.results import Estimate
from score_mia.rows import folder_of
from score_mia.rules.protocol import Rule
from score_mia.rules.scheme import Folded


def controlled(work: Work, a: Assessment, checked: Checks) -> Assessment:
    """The attack with the controls that the plan asks for in its entry."""
    wanted, level = work.plan.controls, work.plan.report.level
    entry = dataclasses.replace(a.entry, margin=_margin(a, checked, level))
    if "permuted" in wanted:
        permuted = _tried(functools.partial(_permuted, a, level))
        entry = dataclasses.replace(entry, permuted=permuted)
    if "untrained" in wanted:
        untrained = _tried(functools.partial(_untrained, work, a))
        entry = dataclasses.replace(entry, untrained=untrained)
    if "generated" in wanted:
        entry = dataclasses.replace(entry, generated=_generated(work, a))
    return dataclasses.replace(a, entry=entry)


def _tried(control: Callable[[], Estimate]) -> Estimate | None:
    """A control; None where the rule cannot be fitted on what says nothing."""
    try:
        return control()
    except Damaged:
        raise
    except (UserError, ValueError, ArithmeticError):
        return None


def _margin(a: Assessment, checked: Checks, level: float) -> Estimate | None:
    """The AUC less that of the blind classifier, on the images that both scored."""
    blind, member = checked.blind, a.signals.member
    if blind is None or member is None:
        return None
    _, own, other = np.intersect1d(a.signals.ids, blind.ids, return_indices=True)
    if len(set(member[own])) < 2:
        return None
    excess = (a.entry.excess or 1.0, blind.excess)
    scores = (a.scores[own], np.asarray(blind.scores)[other])
    return paired(*scores, member[own], excess=excess, level=level)


def _permuted(a: Assessment, level: float) -> Estimate:
    """The AUC of the rule fitted and judged with shuffled labels."""
    assert isinstance(a.attack.rule, Rule)
    scores, member = a.attack.scheme.permuted(a.attack.rule, a.known, a.scores)
    value, variance = delong(scores, member)
    pairs = int(min(member.sum(), (~member).sum()))
    limits = auc_limits(value, variance, pairs, level)
    return widened(Estimate(value, *limits), a.entry.excess or 1.0)


def _untrained(work: Work, a: Assessment) -> Estimate:
    """The AUC on the target's network with initial parameters."""
    network = work.plan.known.at(work.source.shape).network
    fresh = network.init(jax.random.key(work.plan.seed))
    initial = dataclasses.replace(work.target, params=fresh)
    changed = {"model": initial, "made_of": {"target": target_digest(initial)}}
    evidence = _read(work, a, a.attack.needed(work.split), **changed)
    return assess(a.attack, evidence, work.split, work.plan).entry.auc


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """Images that the target drew, as a source: their ids are their places."""

    pixels: np.ndarray

    @property
    def digest(self) -> str:
        """Of all pixels."""
        return digest(self.pixels)

    def images(self, ids: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n h w c"]:
        """Images in [0, 1]."""
        return self.pixels[ids].astype(np.float32) / 255


def _generated(work: Work, a: Assessment) -> Estimate | None:
    """The share of the target's own images that the fixed threshold accuses.

    None of a rule that compares an image with what shadows say of it: they were asked
    about no such image. None of a cross-fit either: an image that no fold holds gets
    the mean of all folds' scores, which is less spread than the scores of one fold for
    which the thresholds were set.
    """
    fixed, count = a.entry.at_fixed_threshold, work.plan.shown
    alone = a.attack.knows == "shadows" and "split" not in a.attack.rule.accepts
    if fixed is None or alone or isinstance(a.scorer, Folded):
        return None
    source = Drawn(drawn(work, count).array("images"))
    evidence = _read(work, a, np.arange(count), source=source)
    scores = a.scorer(evidence.select(evidence.target.finite()))
    if not len(scores):
        return None
    accused = int(np.count_nonzero(scores > fixed.threshold))
    return proportion(accused, len(scores), work.plan.report.level)


def _read(work: Work, a: Assessment, ids: np.ndarray, **changed: Any) -> Evidence:
    """The attack's signals of some images, read otherwise than in the attack."""
    readings, folder = {}, work.folder / "signals"
    for name in a.attack.signals:
        reader = dataclasses.replace(work.reader(name), **changed)
        place, products = folder_of(reader, ids, folder), work.folder / "products"
        readings[name] = collect(reader, ids, place, products=products)
    return Evidence(joined(readings), a.known.evidence.others)
