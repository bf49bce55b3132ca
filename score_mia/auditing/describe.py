"""`--dry_run`: what an audit would do, how large it is, and about what it costs."""

from __future__ import annotations

import json
import time
from math import prod
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from score_mia.attacks.protocol import Attack
from score_mia.auditing.plan import Plan
from score_mia.auditing.ready import abstract_target, example, first_row, require_ready
from score_mia.auditing.work import look
from score_mia.conditions import OWN, gather
from score_mia.data.source import Source
from score_mia.data.split import Split
from score_mia.device import jit
from score_mia.engine import view
from score_mia.sampling import Service
from score_mia.spec import Parts
from score_mia.target import Target

# A training step costs a forward and a backward pass, the latter about two forwards.
_TRAIN_FORWARDS = 3
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
    source, split = _data(plan, workdir)
    lines = [
        json.dumps(plan.config, indent=2),
        "",
        f"data       {len(source.ids):,} images of {source.shape}",
        f"split      {len(split.members):,} members, {len(split.nonmembers):,} "
        f"non-members; {split.counts['reference']:,} of them are reference data",
    ]
    if plan.model is None:
        return "\n".join([*lines, "target     a service, of unknown cost"])
    model = plan.model.at(source.shape)
    params = jax.eval_shape(model.network.init, jax.random.key(0))
    weights = sum(prod(leaf.shape) for leaf in jax.tree.leaves(params))
    own = gather(model.conditioner, source.columns, split.ids[:1]).get(OWN)
    forward = _flops(model, params, first_row(own))
    rate = _rate() * _EFFICIENCY
    lines.append(
        f"network    {weights:,} parameters, {forward / 1e9:.3g} GFLOP an evaluation"
    )
    target = abstract_target(plan, source.shape)
    costs: dict[str, float] = {}
    if plan.train is not None:
        costs["train"] = plan.train.steps * plan.train.batch * _TRAIN_FORWARDS
    for attack in plan.attacks:
        count = _evaluations(attack, target, plan.service(source.shape))
        if count is None:
            lines.append(f"{attack.name:10s} cost not known beforehand")
            continue
        costs[attack.name] = count * len(split.ids)
    if plan.shadows is not None:
        reads = (a.name for a in plan.attacks if a.knows == "shadows")
        each = costs.get("train", 0.0) + sum(costs.get(name, 0.0) for name in reads)
        costs["shadows"] = plan.shadows.count * each
    for name, passes in costs.items():
        hours = passes * forward / rate / 3600
        lines.append(
            f"{name:10s} {passes:,.0f} forward passes of one image, "
            f"about {_span(hours)} on this device"
        )
    return "\n".join(lines)


def _evaluations(
    attack: Attack, target: Target, service: Service | None
) -> float | None:
    """Forward passes an image; None if a signal cannot tell."""
    counts = [
        signal.columns(view(target, signal.access, service)).evaluations
        for signal in attack.signals.values()
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _data(plan: Plan, workdir: str | Path | None) -> tuple[Source, Split]:
    if workdir is not None:
        work = look(plan, workdir)
        return work.source, work.split
    source = plan.source()
    split = plan.split(source)
    require_ready(plan, source, split, plan.attacks)
    return source, split


def _flops(model: Parts, params: Any, condition: Any) -> float:
    """Floating point operations of one forward pass of one image, by XLA's count."""
    given = (params, *example(model, params, condition))
    lowered = jit(lambda p, *rest: model.network.apply(p, *rest)).lower(*given)
    return float((lowered.cost_analysis() or {}).get("flops", 0.0))


def _rate() -> float:
    """Measured rate of a matrix product, in floating point operations a second."""
    n = 1024
    product = jit(lambda a: a @ a)
    a = jnp.ones((n, n))
    product(a).block_until_ready()
    start = time.perf_counter()
    for _ in range(4):
        product(a).block_until_ready()
    return 4 * 2 * n**3 / (time.perf_counter() - start)


def _span(hours: float) -> str:
    if hours < 1 / 60:
        return f"{3600 * hours:.0f} s"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:.1f} h"
