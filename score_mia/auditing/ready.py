"""What can be told before anything is trained, once the data are there.

A config is checked by itself in `plan.plan`. Here its parts meet: the network and the
images, the training and its members, the rules and the reference data. What would fail
after hours of training is tried in seconds, on shapes and on made-up numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.attacks.prompts import Given, Prompt
from score_mia.attacks.protocol import Attack, Refinable, Shaped
from score_mia.auditing.assess import assess, assess_set
from score_mia.auditing.plan import Plan
from score_mia.check import UserError, refusing, require
from score_mia.conditions import OWN, gather
from score_mia.data.shadows import Shadows
from score_mia.data.source import Source
from score_mia.data.split import Split
from score_mia.engine import Reader
from score_mia.networks.network import spec_of, with_dropout
from score_mia.readings import Evidence, Readings, joined
from score_mia.rules.protocol import SetTest, Slow
from score_mia.spec import Parts
from score_mia.target import Generator, Target
from score_mia.train import dp
from score_mia.train.config import TrainConfig

_MOST = 4_000_000
"""Made-up numbers that a rule is tried on; more are not worth the wait."""
_REPLICATES = 100


def require_ready(
    plan: Plan, source: Source, split: Split, attacks: Sequence[Attack]
) -> None:
    """Refuse what could only fail later.

    Args:
      plan: what is to be done.
      source, split: its data.
      attacks: those whose signals are still to be computed.

    Raises:
      UserError: the network does not take the images, or is called otherwise than the
        house calls it; a signal of other images; a cutout larger than an image; no such
        conditions; no such private training; a rule that cannot be fitted on the
        reference data it is to get, or that does not know its columns.
    """
    target: Target | Generator
    if plan.client is not None:
        target = plan.client.generator
    else:
        model = plan.known.at(source.shape)
        own = gather(model.conditioner, source.columns, split.ids).get(OWN)
        target = check_network(model, first_row(own))
    if plan.train is not None:
        _check_training(plan.train, source, len(split.members))
    for prompt in plan.prompts.values():
        _check_prompt(prompt, plan, split)
    for attack in attacks:
        _rehearse(attack, plan, source, split, target)


def _check_prompt(prompt: Prompt, plan: Plan, split: Split) -> None:
    """Refuse a prompt that the model does not know, or that nobody can make."""
    if not isinstance(prompt, Given):
        prompt.fingerprint()  # finds its data and its weights
    elif plan.asked.conditioner is not None:
        plan.asked.conditioner({prompt.column: prompt.values(split.ids[:1])})


def _check_training(train: TrainConfig, source: Source, members: int) -> None:
    """Refuse a training that the images, or so many of them, do not allow."""
    side, cutout = min(source.shape[:2]), train.cutout
    problem = f"is larger than the images, whose side is {side}"
    remedy = f"give {side} or less; 0 for none"
    require(cutout <= side, f"train.cutout={cutout}", problem, remedy)
    if train.dp is not None:
        dp.mechanism(train, members)


def check_network(model: Parts, condition: Any) -> Target:
    """Call the network on shapes alone, as training and attacks will.

    Args:
      model: with the network of these images.
      condition: one row of what it is told (`first_row`), or None.

    Returns:
      The target of these shapes.

    Raises:
      UserError: it cannot be called so, or returns another shape than it was given.
    """
    key, apply = jax.random.key(0), model.network.apply
    target = model.target(jax.eval_shape(model.init, key))
    params = target.params
    remedy = "give it apply(params, x, label, condition=None, *, dropout_key=None)"
    with refusing("network: apply cannot be called", remedy, TypeError):
        x, label, told = example(model, params, condition)
        result = jax.eval_shape(with_dropout(apply, key), params, x, label, told)
        if spec_of(apply) is None:  # the house's own are called alike without a key
            jax.eval_shape(apply, params, x, label, told)
    one = isinstance(result, jax.ShapeDtypeStruct)
    require(
        one and result.shape == x.shape,
        "network",
        f"returns {result.shape if one else type(result).__name__} for images of "
        f"shape {x.shape}",
        "let it return one number for each of x",
    )
    return target


def example(
    model: Parts, params: Any, condition: Any
) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct, Any]:
    """Shapes of x, its label, and what the network is given of its condition."""
    embed = model.target(None).embed
    if embed is not None and condition is not None:
        condition = jax.eval_shape(embed, params, condition)
    return (
        jax.ShapeDtypeStruct((1, *model.codec.shape(model.shape)), jnp.float32),
        jax.ShapeDtypeStruct((1,), jnp.float32),
        condition,
    )


def first_row(conditions: Any) -> Any:
    """Shapes of one image's condition as a batch of one; None of None."""
    return jax.eval_shape(
        lambda: jax.tree.map(lambda a: jnp.asarray(a[:1]), conditions)
    )


def abstract_target(plan: Plan, shape: tuple[int, int, int]) -> Target:
    """The target's shapes: what signals can be asked before there is a target."""
    model = plan.known.at(shape)
    return model.target(jax.eval_shape(model.init, jax.random.key(0)))


def _rehearse(
    attack: Attack,
    plan: Plan,
    source: Source,
    split: Split,
    target: Target | Generator,
) -> None:
    """Assess an attack on signals that say nothing, which is a legitimate result."""
    service = plan.service(source.shape)
    for name, signal in attack.signals.items():
        if isinstance(target, Target) and isinstance(signal, Shaped):
            signal.check_shape(target.codec.shape(source.shape))
        if isinstance(signal, Refinable):
            _check_known(name, split)
    readers = {
        name: Reader(name, signal, target, source, plan.seed, service=service)
        for name, signal in attack.signals.items()
    }
    shadows = plan.shadows[attack.shadows] if attack.knows == "shadows" else None
    width = sum(len(reader.columns.names) for reader in readers.values())
    models = 1 + (0 if shadows is None else shadows.count)
    if len(split.ids) * width * models > _MOST:
        return
    readings = joined({n: _made_up(reader, split) for n, reader in readers.items()})
    others: tuple[Readings, ...] = ()
    if shadows is not None:
        others = _made_up_shadows(readings.names, shadows, split, plan.seed)
    quick = dataclasses.replace(plan.report, replicates=_REPLICATES)
    rehearsed = dataclasses.replace(plan, report=quick)
    rule = attack.rule.quick() if isinstance(attack.rule, Slow) else attack.rule
    attack = dataclasses.replace(attack, rule=rule, scheme=attack.scheme.quick())
    try:
        judge = assess_set if isinstance(attack.rule, SetTest) else assess
        judge(attack, Evidence(readings, others), split, rehearsed)
    except UserError as error:
        raise UserError(f"attacks.{attack.name}: {error}") from error
    except Exception:
        # A user's own rule may expect numbers of its own signal; if it fails on these
        # too, the attack is reported as failed and the others are whole.
        return


def _check_known(name: str, split: Split) -> None:
    """Refuse to refine a signal on reference images of one kind."""
    members = int(np.sum(split.reference & split.member))
    others = split.counts["reference"] - members
    problem = f"is refined on {members} known members and {others} known non-members"
    ok, remedy = min(members, others) > 0, "raise split.reference, or name the times"
    require(ok, f"signal {name!r}", problem, remedy)


def _made_up_shadows(
    names: tuple[str, ...], shadows: Shadows, split: Split, seed: int
) -> tuple[Readings, ...]:
    """Random numbers of every shadow model, as if it were of the target's family."""
    made = []
    for number in range(shadows.count):
        own = shadows.split(split, number, seed)
        random = np.random.RandomState(1 + number)
        values = random.standard_normal((len(own.ids), len(names)))
        made.append(Readings.of(values.astype(np.float32), own.ids, names, own.member))
    return tuple(made)


def _made_up(reader: Reader, split: Split) -> Readings:
    """Random numbers under the names of a signal's columns."""
    columns = reader.columns
    random = np.random.RandomState(0)

    def numbers(width: int) -> np.ndarray:
        return random.standard_normal((len(split.ids), width)).astype(np.float32)

    values = numbers(len(columns.names))
    further = numbers(len(columns.diagnostics)).T
    diagnostics = dict(zip(columns.diagnostics, further, strict=True))
    return Readings.of(values, split.ids, columns.names, None, diagnostics)
