"""The stages of an audit. Each skips what is done and can be killed at any moment."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_mia import device, distributed
from score_mia.attacks.protocol import Attack
from score_mia.auditing.assess import (
    Assessment,
    Failure,
    SetAssessment,
    assess,
    assess_set,
    attempt,
)
from score_mia.auditing.checks import Checks, checks
from score_mia.auditing.content import attack_title, leave
from score_mia.auditing.controls import controlled
from score_mia.auditing.copies import find
from score_mia.auditing.guard import members_digest
from score_mia.auditing.plan import Plan
from score_mia.auditing.quality import choose, drawn, measure
from score_mia.auditing.shadows import others, spent
from score_mia.auditing.work import Work, config_digest, open_work
from score_mia.check import UserError
from score_mia.checkpoint import describe
from score_mia.conditions import OWN
from score_mia.files import save_npz, write_atomic
from score_mia.hosts import ALONE, Host
from score_mia.lease import lease
from score_mia.models import Order, ScoreSde
from score_mia.progress import say
from score_mia.readings import Evidence
from score_mia.report import remake, table_text, whole
from score_mia.results import (
    METRICS,
    AttackResult,
    AuditResult,
    SplitCounts,
    TargetFacts,
    Timings,
)
from score_mia.rows import devices
from score_mia.rules.protocol import SetTest
from score_mia.storage import workdir as check_workdir
from score_mia.typed import from_json

Judged = Assessment | SetAssessment | Failure


@contextlib.contextmanager
def _opened(plan: Plan, workdir: str | Path, host: Host = ALONE) -> Iterator[Work]:
    """The run in its workdir, where no other process is the same host meanwhile."""
    folder = check_workdir(workdir)
    host = dataclasses.replace(host, workdir=folder)
    with lease(folder, host.number), host.stage():
        yield open_work(plan, folder, host)


def run(plan: Plan, workdir: str | Path, host: Host = ALONE) -> str:
    """Train, attack, report; returns the table and the path of the HTML file."""
    with _opened(plan, workdir, host) as work:
        _train_together(work)
        if not host.first:
            return _share(work)
        _attack(work)
        return remake(work.folder)


def train(plan: Plan, workdir: str | Path, host: Host = ALONE) -> str:
    """Train the target (or go on training it)."""
    with _opened(plan, workdir, host) as work:
        _train_together(work)
        return f"target: {work.folder / 'target'}"


def import_target(plan: Plan, workdir: str | Path, checkpoint: str | Path) -> str:
    """Take a checkpoint of score_sde or MIDM for the target instead of training one."""
    with _opened(plan, workdir) as work:
        step = ScoreSde(str(checkpoint)).make(work.folder / "target", _order(work))
        return f"target: {work.folder / 'target'} ({checkpoint}, step {step:,})"


def attack(plan: Plan, workdir: str | Path, host: Host = ALONE) -> str:
    """Attack the trained target; writes metrics.json and all that a page is made of."""
    with _opened(plan, workdir, host) as work:
        if not host.first:
            return _share(work)
        result = _attack(work)
        text = f"{table_text(result)}\nmetrics: {work.folder / METRICS}"
        return whole(text, result)


def generate(plan: Plan, workdir: str | Path, count: int, host: Host = ALONE) -> str:
    """Draw samples from the attacked target: samples/*.png and an npz of them all.

    Drawn once: a killed run goes on, and more of them begin where fewer ended.
    """
    from PIL import Image

    with _opened(plan, workdir, host) as work:
        choose(work)
        folder = work.folder / "samples"
        if not host.first:
            drawn(work, count)
            return _shared(work)
        for i, image in enumerate(
            _samples(work, count, folder / f"samples-{count}.npz")
        ):
            picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
            save = functools.partial(picture.save, format="png")
            write_atomic(folder / f"{i:05d}.png", save)
        return f"{count} samples: {folder}"


def _share(work: Work) -> str:
    """The rows of an audit as one of the hosts that write nothing else.

    In the order of the first host, who waits for none of them longer than he must.
    """
    choose(work)
    for one in work.plan.attacks:
        read = functools.partial(_evidence, work, one)
        failed = attempt(one, read, lambda evidence: None, _trace(work, one))
        if failed is not None:
            say(work.host.name, f"attack {one.name!r} failed ({failed.reason})")
    measure(work)
    if count := work.plan.shown:
        drawn(work, count)
    return _shared(work)


def _shared(work: Work) -> str:
    return f"{work.host.name}: its share is done, the rest is for host 0"


def _train_together(work: Work) -> None:
    """The target, by all hosts as one where they are joined; else by the first."""
    if distributed.joined() and work.plan.trained is not None:
        with distributed.together(work.host):
            _train(work)
        return
    distributed.leave()
    if work.host.first:
        _train(work)
    else:
        work.host.wait_for("the target", lambda: work.is_trained)


def _train(work: Work) -> None:
    """The target of the config, trained or read."""
    work.plan.target.make(work.folder / "target", _order(work))


def _order(work: Work) -> Order:
    members = work.split.members
    return Order(
        spec=work.plan.spec(work.source.shape),
        images=lambda: work.source.images(members),
        conditions=lambda: work.conditions(members).get(OWN),
        members=len(members),
        provenance=_provenance(work),
    )


def _provenance(work: Work) -> dict[str, Any]:
    return {
        "config": config_digest(work.plan.config),
        "split": work.split.digest,
        "members_digest": members_digest(work.split),
        "versions": versions(),
    }


def _attack(work: Work) -> AuditResult:
    """Signals of every attack, their numbers, metrics.json, and what a page shows."""
    plan, split = work.plan, work.split
    selection = choose(work)
    results: dict[str, Judged] = {}
    for one in plan.attacks:
        read = functools.partial(_evidence, work, one)
        by = assess_set if isinstance(one.rule, SetTest) else assess
        judge = functools.partial(by, one, split=split, plan=plan)
        results[one.name] = attempt(one, read, judge, _trace(work, one))
    _require_some(results)
    checked = checks(work)
    results = {n: _held_against(work, r, checked) for n, r in results.items()}
    target, training_seconds = _target_facts(work, selection)
    result = AuditResult(
        title=plan.title,
        config=config_digest(plan.config),
        target=target,
        split=SplitCounts(**split.counts),
        level=plan.report.level,
        seed=plan.seed,
        attacks={name: _titled(work, r) for name, r in results.items()},
        controls=checked.controls,
        timings=Timings(
            {a.name: _seconds(work, a) for a in plan.attacks},
            training_seconds,
            _devices(work),
            {a.name: _images(work, a) for a in plan.attacks},
        ),
    )
    if result != _kept_result(work):
        # A page never stands beside other numbers than its own.
        (work.folder / "report" / "index.html").unlink(missing_ok=True)
    result.save(work.folder)
    judged = [r for r in results.values() if isinstance(r, Assessment)]
    _keep_shown(work)
    leave(work, judged, result, find(work), checked)
    return result


def _held_against(work: Work, result: Judged, checked: Checks) -> Judged:
    """The attack with the controls, and the error of its grid that was measured."""
    if not isinstance(result, Assessment):
        return result
    result = controlled(work, result, checked)
    return result.held_against(checked.accuracy.get(result.attack.name))


def _titled(work: Work, result: Judged) -> AttackResult:
    """The attack's numbers, with what people call it."""
    title = attack_title(work.columns(result.attack), result.attack, work.plan)
    return dataclasses.replace(result.entry, title=title)


def _seconds(work: Work, one: Attack) -> float:
    """What an attack's signals and shadows took, over all starts and hosts."""
    return round(sum(map(work.spent, one.signals)) + spent(work, one), 3)


def _images(work: Work, one: Attack) -> int:
    """Of how many images an attack's signals were read, at most."""
    return max(len(work.needed(work.reader(name))) for name in one.signals)


def _kept_result(work: Work) -> AuditResult | None:
    """What metrics.json says; None if it is missing, damaged, or an older version's."""
    try:
        return AuditResult.load(work.folder)
    except UserError:
        return None


def _trace(work: Work, one: Attack) -> Path:
    """Where the traceback of a failed attack is kept for the author of its parts."""
    return work.folder / "signals" / f"{one.name}-failed.txt"


def _devices(work: Work) -> tuple[str, ...]:
    """On what the signals of all attacks were computed."""
    folders = (work.signal_folder(work.reader(name)) for name in work.plan.signals)
    names = {name for folder in folders for name in devices(folder)}
    return tuple(sorted(names)) or (device.name(),)


def _evidence(work: Work, one: Attack) -> Evidence:
    """What one attack's rule may see, computed or read."""
    return Evidence(work.evidence(one), others(work, one, _train))


def _require_some(results: Mapping[str, Judged]) -> None:
    """Without any numbers there is nothing to write."""
    failures = {n: r.reason for n, r in results.items() if isinstance(r, Failure)}
    if failures and len(failures) == len(results):
        raise UserError("; ".join(f"attack {n!r}: {r}" for n, r in failures.items()))


def _keep_shown(work: Work) -> None:
    """The samples that the page speaks of as a file, if it is to speak of any."""
    if count := work.plan.shown:
        _samples(work, count, work.folder / "target" / "samples.npz")


def _samples(work: Work, count: int, path: Path) -> np.ndarray:
    """The first samples of the attacked target, uint8, also as one file."""
    images = drawn(work, count).array("images")
    save_npz(path, images=images, target=np.asarray(work.digest))
    return images


def _target_facts(
    work: Work, selection: Mapping[str, Any] | None
) -> tuple[TargetFacts, float | None]:
    """What is known of the attacked target, and the seconds its training took."""
    if work.plan.client is not None:
        members, service = len(work.split.members), work.plan.config["target"]
        facts = TargetFacts(work.digest, members=members, service=service)
        return facts, None
    about = describe(work.target_folder)
    spec, known = about["spec"], about["provenance"]
    leaves = jax.tree.leaves(work.target.tree)
    trained = work.plan.trained
    rule = "last" if trained is None else trained.snapshot
    record = {
        "digest": work.digest,
        "sde": spec["sde"],
        "network": spec["network"],
        "parameters": int(sum(leaf.size for leaf in leaves)),
        "steps": known["step"],
        "members": known["members"],
        "privacy": known.get("privacy"),
        "imported": known.get("imported"),
        "snapshot": {"rule": rule, **(selection or {})},
        "quality": measure(work),
    }
    where = str(work.target_folder)
    return from_json(TargetFacts, record, where), known["seconds"]


def versions() -> dict[str, str]:
    """Versions of score_mia and of what its numbers depend on."""
    names = ("score_mia", "jax", "flax", "optax", "diffrax", "numpy", "scikit-learn")
    return {name: importlib.metadata.version(name) for name in names}
