"""What the stages of an audit ask of the model: forward passes, requests of images."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from score_mia.attacks.products import Requested
from score_mia.attacks.prompts import decides
from score_mia.attacks.protocol import HostSignal, Product, Refinable, identity
from score_mia.auditing.plan import Plan
from score_mia.data.split import Split
from score_mia.target import Target
from score_mia.views import view

# A training step costs a forward and a backward pass, the latter about two forwards.
TRAIN_FORWARDS = 3


class Cost(NamedTuple):
    """Of a stage, or of one image.

    Attributes:
      passes: forward passes of one image; None if that is not known beforehand.
      queries: requests of images; None if that is not known beforehand.
      shares: the earlier signal that asked for all that this one reads; else empty.
    """

    passes: float | None = 0.0
    queries: float | None = 0.0
    shares: str = ""

    def times(self, count: float) -> Cost:
        """Of so many."""
        passes, queries = (_both(operator.mul, n, count) for n in self[:2])
        return Cost(passes, queries, self.shares)

    def plus(self, other: Cost) -> Cost:
        """Of both."""
        passes = _both(operator.add, self.passes, other.passes)
        return Cost(passes, _both(operator.add, self.queries, other.queries))


def _both(
    operation: Callable[[float, float], float], a: float | None, b: float | None
) -> float | None:
    """Not known if either is not."""
    return None if a is None or b is None else operation(a, b)


def costs(
    plan: Plan, target: Target | None, split: Split, shape: tuple[int, int, int]
) -> dict[str, Cost]:
    """Stage -> its cost, where what several signals read is the first one's.

    Args:
      plan: what would be done.
      target: of shapes; None for somebody's service.
      split: who is asked about.
      shape: of the images.
    """
    service = plan.service(shape)

    def passes(signal: Any) -> float | None:
        if target is None:
            return None
        return signal.columns(view(target, signal.access, service)).evaluations

    made: dict[str, Cost] = {}
    each_image = _signals(plan, plan.signals, passes)
    if plan.train is not None:
        train = plan.train
        images = train.steps * train.batch * train.draws
        made["train"] = Cost(float(images * TRAIN_FORWARDS))
    for name, each in each_image.items():
        made[name] = each.times(len(plan.needed(name, split)))
        signal = plan.signals[name]
        if isinstance(signal, Refinable):
            first = Cost(passes(signal.coarse)).times(split.counts["reference"])
            made[name] = made[name].plus(first)
    for name, shadows in plan.shadows.items():
        one = made.get("train", Cost())
        asked = len(shadows.split(split, 0, plan.seed).ids)
        for each in _signals(plan, plan.read_off(name), passes).values():
            one = one.plus(each.times(asked))
        # Queries of one's own models are no queries of the target.
        whole = Cost(one.passes).times(shadows.count)
        made[f"shadows {name}".strip()] = whole
    if plan.model is not None and (count := _drawn(plan)):
        (each,) = _runs(plan, (None,))
        made["samples"] = Cost(each).times(count)
    read = [name for attack in plan.attacks for name in attack.signals]
    for control, images in (
        ("untrained", {name: len(plan.needed(name, split)) for name in read}),
        ("generated", dict.fromkeys(read, plan.shown)),
    ):
        if control in plan.controls:
            whole = Cost()
            for name, count in images.items():
                whole = whole.plus(Cost(each_image[name].passes).times(count))
            made[f"control {control}"] = whole
    return made


def _drawn(plan: Plan) -> int:
    """Images that are drawn of the attacked target, and of those it is chosen from."""
    drawn = sum(plan.drawn.values())
    if plan.quality is None or plan.trained is None or plan.trained.metric is None:
        return drawn
    return drawn + plan.quality.samples * len(plan.snapshots)


def _signals(
    plan: Plan, names: Collection[str], passes: Callable[[Any], float | None]
) -> dict[str, Cost]:
    """Signal -> cost of one image, less what an earlier one has asked for."""
    found: dict[str, Cost] = {}
    first: dict[str, str] = {}
    for name in (n for n in plan.signals if n in names):
        signal, own = plan.signals[name], decides(plan.prompts.get(name))
        each = Cost()
        asked = [p for p in signal.needs if p.access != "none"]  # of the model
        if not isinstance(signal, HostSignal):
            each = Cost(passes(signal))
        elif isinstance(signal, Requested):
            each = _requested(plan, signal)
        elif not asked:
            each = Cost(None, None)  # it asks as it likes
        askers = []
        for product in asked:
            askers.append(first.setdefault(f"{identity(product)} {own}", name))
            if askers[-1] == name:
                each = each.plus(_product(plan, product))
        if askers and name not in askers:
            each = each._replace(shares=askers[0])
        found[name] = each
    return found


def _product(plan: Plan, product: Product) -> Cost:
    """Of one image's row."""
    known = isinstance(product, Requested)
    return _requested(plan, product) if known else Cost(None, None)


def _requested(plan: Plan, part: Requested) -> Cost:
    """Of one image's requests."""
    each = [*_runs(plan, part.requests)]
    known = [one for one in each if one is not None]
    passes = float(sum(known)) if len(known) == len(each) else None
    return Cost(passes, float(len(each)))


def _runs(plan: Plan, requests: tuple[int | None, ...]) -> Iterator[int | None]:
    """Forward passes of each request; None where they depend on the image."""
    guided = 1 if plan.guidance is None else 2
    for steps in requests:
        if plan.model is None:
            yield None
            continue
        if steps == 1:
            yield guided
            continue
        run = plan.sampler
        if steps is not None:
            run = dataclasses.replace(run, steps=steps)
        passes = run.evaluations(plan.model.sde)
        yield None if passes is None else guided * passes
