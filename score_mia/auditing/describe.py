"""`--dry_run`: what an audit would do, how large it is, and about what it costs."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import jax

from score_mia.attacks.prompts import in_words
from score_mia.auditing.costs import Cost, costs
from score_mia.auditing.hardware import measured_rate
from score_mia.auditing.plan import Plan
from score_mia.auditing.ready import (
    abstract_target,
    example,
    first_row,
    require_ready,
)
from score_mia.auditing.work import Work, look
from score_mia.conditions import OWN, gather
from score_mia.data.split import Split
from score_mia.device import jit
from score_mia.rows import is_whole
from score_mia.spec import Parts

# A network runs at about this share of the matrix-product rate on CPUs (benchmarks/).
_EFFICIENCY = 0.4


def describe(plan: Plan, workdir: str | Path | None = None) -> str:
    """The resolved config, the sizes, and a cost estimate; touches no file.

    Args:
      plan: what would be done.
      workdir: where; what is there already refuses what a run would refuse.

    Raises:
      UserError: see `work.look`.
    """
    work = None if workdir is None else look(plan, workdir)
    source = plan.source() if work is None else work.source
    split = plan.split(source) if work is None else work.split
    if work is None:
        require_ready(plan, source, split, plan.attacks)
    lines = [
        json.dumps(plan.config, indent=2),
        "",
        f"data       {len(source.ids):,} images of {source.shape}",
        f"split      {len(split.members):,} members, {len(split.nonmembers):,} "
        f"non-members; {split.counts['reference']:,} of them are reference data"
        + _unjudged(split),
    ]
    if plan.model is None:
        lines.append("target     a service, of unknown cost")
        found = costs(plan, None, split, source.shape)
        lines += [f"{name:10s} {_about(cost, None)}" for name, cost in found.items()]
        return "\n".join(lines)
    model = plan.model.at(source.shape)
    target = abstract_target(plan, source.shape)
    params = target.params
    weights = sum(prod(leaf.shape) for leaf in jax.tree.leaves(target.tree))
    own = gather(model.conditioner, source.columns, split.ids[:1]).get(OWN)
    forward = _flops(model, params, first_row(own))
    rate = measured_rate() * _EFFICIENCY
    lines.append(
        f"network    {weights:,} parameters, {forward / 1e9:.3g} GFLOP an evaluation"
    )
    done = _done(work)
    for name, cost in costs(plan, target, split, source.shape).items():
        about = _about(cost, forward / rate)
        state = "done" if name in done else "missing"
        lines.append(f"{name:10s} {state}: {about}" if work else f"{name:10s} {about}")
    for attack in plan.attacks:
        read = (f"{n}{in_words(plan.prompts.get(n))}" for n in attack.signals)
        lines.append(f"attack {attack.name} reads {'; '.join(read)}")
    return "\n".join(lines)


def _unjudged(split: Split) -> str:
    some = len(split.unjudged)
    return f", and {some:,} members are only trained on" if some else ""


def _about(cost: Cost, seconds: float | None) -> str:
    """What a stage asks, in words; `seconds` of a forward pass here."""
    if cost.shares:
        return f"reads the images of {cost.shares}"
    said = [f"{cost.queries:,.0f} queries"] if cost.queries else []
    if cost.passes is None or seconds is None:
        said += [] if said else ["cost not known beforehand"]
    else:
        passes = f"{cost.passes:,.0f} forward passes of one image"
        said.append(f"{passes}, about {_span(cost.passes * seconds / 3600)} here")
    return ", ".join(said)


def _done(work: Work | None) -> set[str]:
    """Stages of which nothing is missing in a workdir."""
    if work is None or not work.is_trained:
        return set()
    chosen = work.plan.trained is None or work.plan.trained.metric is None
    if not chosen and not (work.folder / "selection.json").exists():
        return {"train"}
    done = {"train"}
    for name in filter(work.is_refined, work.plan.signals):
        if is_whole(work.signal_folder(work.reader(name))):
            done.add(name)
    return done


def _flops(model: Parts, params: Any, condition: Any) -> float:
    """Floating point operations of one forward pass of one image, by XLA's count."""
    given = (params, *example(model, params, condition))
    lowered = jit(lambda p, *rest: model.network.apply(p, *rest)).lower(*given)
    return float((lowered.cost_analysis() or {}).get("flops", 0.0))


def _span(hours: float) -> str:
    if hours < 1 / 60:
        return f"{3600 * hours:.0f} s"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:.1f} h"
