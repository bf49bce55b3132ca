"""`--bill`: operations, bytes and hours of every stage, before anything runs.

XLA counts the operations of one network evaluation of one image, compiled by itself;
evaluations are counted by us. XLA bills the body of a loop once, so that whole signals,
which loop over times and draws, cannot be analysed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from score_mia.auditing.costs import TRAIN_FORWARDS, Cost, costs
from score_mia.auditing.hardware import CHIPS, here
from score_mia.auditing.plan import Plan
from score_mia.auditing.ready import abstract_target, example, first_row
from score_mia.check import within
from score_mia.conditions import OWN, gather
from score_mia.device import Precision, jit
from score_mia.spec import Parts

SHARE = 0.4
"""Of the peak rate, which large networks reach on accelerators."""


class Evaluation(NamedTuple):
    """What the network asks for one image, once.

    Attributes:
      forward: FLOP of a forward pass.
      both: FLOP of a forward and a backward pass, in the parameters.
      weights: bytes of the parameters.
      activations: bytes that a forward pass needs besides.
      kept: bytes that a forward and a backward pass need besides.
    """

    forward: float
    both: float
    weights: int
    activations: int
    kept: int


# With one row, XLA makes of a weight's gradient an outer product, and halves its count.
_ROWS = 2


@dataclasses.dataclass(frozen=True)
class Stage:
    """What one stage asks.

    Attributes:
      name: of it.
      passes: forward passes of one image that are no part of training; None if that is
        not known beforehand.
      trained: forward and backward passes of one image in training.
      calls: calls of the network, each of which reads all weights.
      queries: requests of images.
      precision: of its products; None for what JAX does by default.
    """

    name: str
    passes: float | None
    trained: float = 0.0
    calls: float = 0.0
    queries: float | None = 0.0
    precision: Precision | None = None

    def flops(self, one: Evaluation) -> float | None:
        """Operations in all."""
        if self.passes is None:
            return None
        return self.passes * one.forward + self.trained * one.both

    def hours(self, one: Evaluation, rate: float, bandwidth: float | None) -> float:
        """Of one device with such a rate and such a memory."""
        moved = 0.0 if bandwidth is None else self.calls * one.weights / bandwidth
        return max((self.flops(one) or 0.0) / rate, moved) / 3600


def bill(plan: Plan, share: float = SHARE) -> str:
    """Evaluations, FLOP, bytes and hours of every stage, with the formula.

    Args:
      plan: what would be done.
      share: of the peak rate that is reached.

    Raises:
      UserError: the data cannot be read, or the share is none.
    """
    within("--share", share, 0.001, 1.0)
    source = plan.source()
    split = plan.split(source)
    title = f"bill of {plan.title!r}; nothing is run"
    if plan.model is None:
        found = stages(plan, costs(plan, None, split, source.shape))
        lines = [f"{s.name:16s} {_number(s.queries)} queries" for s in found]
        return "\n".join([title, "target a service, of unknown cost", *lines])
    model = plan.model.at(source.shape)
    target = abstract_target(plan, source.shape)
    own = gather(model.conditioner, source.columns, split.ids[:1]).get(OWN)
    one = evaluation(model, target.params, first_row(own))
    found = stages(plan, costs(plan, target, split, source.shape))
    size = [f"{n / 1e6:,.3g} MB" for n in one[2:]]
    rows = plan.engine.rows
    head = [
        title,
        "",
        f"evaluation  {one.forward / 1e9:.4g} GFLOP forward, {one.both / 1e9:.4g} "
        "GFLOP forward and backward, of one image (a multiply-add is 2)",
        f"memory      weights {size[0]}; besides, for one image: {size[1]} forward, "
        f"{size[2]} forward and backward; a tile has {rows} images",
    ]
    return "\n".join([*head, "", *_formula(share), "", *_table(found, one, share)])


def stages(plan: Plan, found: dict[str, Cost]) -> list[Stage]:
    """The stages of a plan, from their costs; training by itself."""
    train, made = plan.train, []
    trained = calls = 0.0
    if train is not None:
        trained = float(train.steps * train.batch * train.draws)
        calls = float(TRAIN_FORWARDS * train.steps)
    for name, cost in found.items():
        if name == "train":
            made.append(Stage(name, 0.0, trained, calls))
            continue
        count = 0
        if name.partition(" ")[0] == "shadows":
            count = plan.shadows[name.partition(" ")[2]].count
        passes = cost.passes
        if passes is not None:
            passes -= count * TRAIN_FORWARDS * trained
        reads = (passes or 0.0) / plan.engine.rows + count * calls
        # Training and drawing multiply as JAX does by default, readings as asked.
        how = None if count or name == "samples" else plan.engine.precision
        made.append(Stage(name, passes, count * trained, reads, cost.queries, how))
    return made


def evaluation(model: Parts, params: Any, condition: Any) -> Evaluation:
    """One evaluation of a network, by XLA's own analysis; nothing is computed.

    Args:
      model: whose network it is.
      params: its parameters, or their shapes.
      condition: shapes of one row of what it is told, or None.
    """
    given = jax.tree.map(_rows, example(model, params, condition))

    def forward(params: Any, *given: Any) -> Any:
        return model.network.apply(params, *given)

    def loss(params: Any, *given: Any) -> Any:
        return jnp.sum(jnp.square(forward(params, *given)))

    compiled = [
        jit(function).lower(params, *given).compile()
        for function in (forward, jax.value_and_grad(loss))
    ]
    once, both = [(c.cost_analysis() or {}).get("flops", 0.0) / _ROWS for c in compiled]
    here, kept = [c.memory_analysis().temp_size_in_bytes // _ROWS for c in compiled]
    weights = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    return Evaluation(once, both, weights, here, kept)


def _rows(one: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Shapes of several rows from those of one."""
    return jax.ShapeDtypeStruct((_ROWS, *one.shape[1:]), one.dtype)


def _formula(share: float) -> Iterator[str]:
    yield (
        f"hours = evaluations x FLOP / ({share:.0%} of peak), at least calls x "
        "weights' bytes / bandwidth, of one device"
    )
    yield (
        "An evaluation is a forward pass of one image; a derivative along a direction "
        "(jvp) is one more. Not counted: codecs, text encoders, what a signal "
        "computes besides the network, the check of a likelihood's grid, other "
        "networks (encoders of features), waiting for data."
    )
    yield (
        "A device's first column is of products as the config has them: training and "
        "drawing by JAX's default, attacks by engine.precision (float32 in full is six "
        "passes on a TPU); the second of bfloat16 throughout."
    )
    for chip in CHIPS:
        single = "" if chip.float32 is None else f" (full {chip.float32 / 1e12:.3g})"
        yield (
            f"  {chip.name:5s} bf16 {chip.bf16 / 1e12:.4g}, float32 by default "
            f"{chip.single / 1e12:.4g}{single} TFLOP/s, {chip.bandwidth / 1e12:.4g} "
            f"TB/s: {chip.source}"
        )


_Column = tuple[str, Callable[[Precision | None], float], float | None]
"""How a device is called, its FLOP/s by precision, the bandwidth of its memory."""


def _table(found: Sequence[Stage], one: Evaluation, share: float) -> Iterator[str]:
    """A line for each stage and their sum, a column for each device."""
    kind, rate = here()
    rates: list[_Column] = [(kind[:14], rate, None)]
    for chip in CHIPS:
        rates.append((chip.name, chip.rate, chip.bandwidth))
        rates.append((f"{chip.name} bf16", lambda _, c=chip: c.bf16, chip.bandwidth))
    head = [f"{'stage':16s}", f"{'evaluations':>14s}", f"{'FLOP':>10s}"]
    yield " ".join([*head, *(f"{name:>14s}" for name, _, _ in rates)])
    hours = [0.0] * len(rates)
    for stage in found:
        flops = stage.flops(one)
        asked = None if stage.passes is None else stage.passes + stage.trained
        words = [
            f"{stage.name:16s}",
            f"{_number(asked):>14s}",
            f"{'-' if flops is None else f'{flops:.3g}':>10s}",
        ]
        for k, (_, speed, bandwidth) in enumerate(rates):
            took = stage.hours(one, share * speed(stage.precision), bandwidth)
            hours[k] += took
            words.append(f"{_span(took) if flops else '-':>14s}")
        yield " ".join(words)
    known = [stage.flops(one) or 0.0 for stage in found]
    words = [f"{'all':16s}", f"{'':14s}", f"{sum(known):>10.3g}"]
    yield " ".join([*words, *(f"{_span(took):>14s}" for took in hours)])
    if any(stage.passes is None for stage in found):
        yield "-: not known beforehand, and not in the sum"


def _number(count: float | None) -> str:
    return "-" if count is None else f"{count:,.0f}"


def _span(hours: float) -> str:
    seconds = 3600 * hours
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60)):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{hours:,.1f} h"
