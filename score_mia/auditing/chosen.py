"""From a config's attacks and signals to objects, each with its prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from score_mia.attacks import SIGNALS
from score_mia.attacks.prompts import (
    NULL_PROMPT,
    OWN_PROMPT,
    PROMPTS,
    Given,
    Prompt,
    null_prompt,
)
from score_mia.attacks.protocol import (
    Access,
    AnySignal,
    Attack,
    HostSignal,
    Refinable,
)
from score_mia.check import UserError, file_name, one_of, require
from score_mia.conditions import Conditioner
from score_mia.fields import check_value
from score_mia.heads import HEADS
from score_mia.registry import make, require_has
from score_mia.rules import RULES, SETS
from score_mia.rules.protocol import Knowledge, Rule, SetTest
from score_mia.rules.scheme import HELD_OUT, SCHEMES, CrossFit, Scheme


class Asked(NamedTuple):
    """With what the model under attack is asked.

    Attributes:
      column: what a prompt is made of, "caption" or "label"; None for a model that
        takes none, or more than one column.
      conditioner: of a model that runs here.
    """

    column: str | None
    conditioner: Conditioner | None


class Chosen(NamedTuple):
    """What a config's attacks are.

    Attributes:
      attacks: in the config's order.
      prompts: signal -> what its model is told in the place of an image's own prompt.
    """

    attacks: tuple[Attack, ...]
    prompts: dict[str, Prompt]


class _Signal(NamedTuple):
    signal: AnySignal
    prompt: Prompt | None


def chosen(
    entries: Mapping[str, Any], named: Mapping[str, Any], asked: Asked
) -> Chosen:
    """The attacks and prompts; equal signals of one prompt are one, under one name.

    Args:
      entries: section `attacks`.
      named: section `signals`.
      asked: with what the model is asked.

    Raises:
      UserError: a mistake in either section.
    """
    signals: dict[str, _Signal] = {}
    for name, spec in named.items():
        file_name("signal", name)
        signals[name] = _signal(f"signals.{name}", spec, asked)
    attacks = []
    for name, spec in entries.items():
        file_name("attack", name)
        check_value("attacks", name, spec, Mapping)
        for field in spec:
            known = ("signal", "signals", "rule", "knows", "scheme", "shadows")
            one_of(f"attacks.{name} field", field, known)
        read = _read(name, spec, signals, asked)
        table = {**RULES, **SETS, **HEADS}
        rule = make("rule", table, spec.get("rule", {"name": "column"}))
        knows = spec.get("knows", "none")
        _check_rule(name, rule, knows)
        scheme = make("scheme", SCHEMES, spec.get("scheme", {"name": "held_out"}))
        _check_scheme(name, scheme, knows)
        if any(isinstance(signal, Refinable) for signal in read.values()):
            _check_refined(name, scheme, knows)
        shadows = spec.get("shadows", "")
        check_value(f"attacks.{name}", "shadows", shadows, str)
        attacks.append(Attack(name, read, rule, knows, scheme, shadows))
    used = {name for attack in attacks for name in attack.signals}
    told = {n: s.prompt for n, s in signals.items() if n in used}
    return Chosen(tuple(attacks), {n: p for n, p in told.items() if p is not None})


def _read(
    name: str, spec: Mapping[str, Any], signals: dict[str, _Signal], asked: Asked
) -> dict[str, AnySignal]:
    """The signals of an attack: those it names, or one of its own, which is kept."""
    require(
        ("signal" in spec) != ("signals" in spec),
        f"attacks.{name}",
        "needs either signal=dict(...) or signals= names from the section 'signals'",
        "give one of the two",
    )
    if "signals" in spec:
        names = spec["signals"]
        names = [names] if isinstance(names, str) else names
        check_value(f"attacks.{name}", "signals", names, list[str])
        require(len(names) > 0, f"attacks.{name}.signals", "is empty", "name a signal")
        for one in names:
            one_of(f"attacks.{name}.signals", one, signals)
        return {one: signals[one].signal for one in names}
    made = _signal(f"attacks.{name}.signal", spec["signal"], asked)
    for other, same in signals.items():
        if same == made:
            return {other: same.signal}
    problem = "has the name of another signal and a signal of its own"
    remedy = f"give the attack another name, or say signals={name!r}"
    require(name not in signals, f"attacks.{name}", problem, remedy)
    signals[name] = made
    return {name: made.signal}


def _signal(name: str, spec: Any, asked: Asked) -> _Signal:
    prompt = None
    if isinstance(spec, Mapping):
        prompt = _prompt(f"{name}.prompt", spec.get("prompt", OWN_PROMPT), asked)
        spec = {k: v for k, v in spec.items() if k != "prompt"}
    signal = make("signal", SIGNALS, spec)
    require_has(name, signal, ("access", "needs", "columns"))
    if not isinstance(signal, HostSignal):
        require_has(name, signal, ("__call__",))
    order = get_args(Access)
    one_of(f"{name}.access", signal.access, order)
    for product in signal.needs:
        require_has(f"{name}.needs", product, ("access", "batch"))
        ok = product.access in order[: order.index(signal.access) + 1]
        problem = f"is less than its product {type(product).__name__} needs"
        remedy = f"let the signal say {product.access!r}"
        require(ok, f"{name}.access={signal.access!r}", problem, remedy)
    return _Signal(signal, prompt)


def _prompt(name: str, spec: Any, asked: Asked) -> Prompt | None:
    """What a signal's model is told; None for each image's own prompt."""
    if spec == OWN_PROMPT:
        return None
    column = asked.column
    if column is None:
        raise UserError(f"{name}: the model takes no prompt; leave it out")
    if spec == NULL_PROMPT:
        return null_prompt(column, asked.conditioner)
    ok = isinstance(spec, Mapping)
    remedy = 'say "own", "null", or dict(name=...)'
    require(ok, f"{name}={spec!r}", "is no prompt", remedy)
    prompt = make("prompt", PROMPTS, spec)
    if not isinstance(prompt, Given):
        require_has(name, prompt, ("access", "fingerprint", "batch"))
        ok = prompt.access == "none"
        problem = "asks the model under attack"
        require(ok, f"{name}: {spec['name']!r}", problem, 'let its access be "none"')
    made = prompt.column if isinstance(prompt, Given) else "caption"
    ok, problem = made == column, f"gives a {made}, and the model is told a {column}"
    require(ok, f"{name}: {spec['name']!r}", problem, "give what it is told")
    return prompt


def _check_rule(name: str, rule: Rule | SetTest, knows: Any) -> None:
    where = f"attacks.{name}.rule"
    require_has(where, rule, ("accepts",))
    if not isinstance(rule, SetTest):
        require_has(where, rule, ("fit",))
    one_of(f"attacks.{name}.knows", knows, get_args(Knowledge))
    problem = "is not what this rule can be fitted on"
    remedy = f"give one of {', '.join(sorted(rule.accepts))}"
    require(knows in rule.accepts, f"attacks.{name}.knows={knows!r}", problem, remedy)


def _check_scheme(name: str, scheme: Scheme, knows: Knowledge) -> None:
    where = f"attacks.{name}.scheme"
    require_has(where, scheme, ("judged", "score", "permuted", "quick"))
    ok = not isinstance(scheme, CrossFit) or knows in ("split", "population")
    problem = f"has nothing to fit where the rule knows {knows!r}"
    remedy = "say knows='split' or 'population', or leave the scheme out"
    require(ok, f"{where}: cross_fit", problem, remedy)


def _check_refined(name: str, scheme: Scheme, knows: Knowledge) -> None:
    """Refuse what would hide that reference images had a part, or judge by them."""
    where = f"attacks.{name}"
    problem = "reads a signal that known members and non-members refine"
    require(knows == "split", f"{where}.knows={knows!r}", problem, "say knows='split'")
    problem = "would judge the images by which its signal was refined"
    remedy = "leave the scheme out: they are held out then"
    require(scheme == HELD_OUT, f"{where}.scheme", problem, remedy)
