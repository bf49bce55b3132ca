"""The stages of an audit. Each skips what is done and can be killed at any moment."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_mia import device
from score_mia.attacks.protocol import Attack
from score_mia.auditing.assess import Assessment, Failure, assess, attempt
from score_mia.auditing.checks import Checks, checks
from score_mia.auditing.content import report_content
from score_mia.auditing.guard import members_digest
from score_mia.auditing.plan import Plan
from score_mia.auditing.quality import choose, measure, samples
from score_mia.auditing.work import Work, config_digest, open_work
from score_mia.check import Incomplete, UserError, require
from score_mia.check import workdir as check_workdir
from score_mia.checkpoint import describe, target_digest
from score_mia.conditions import OWN
from score_mia.engine import collect
from score_mia.files import load_sealed, save_npz, save_sealed, write_atomic
from score_mia.hosts import ALONE, Host
from score_mia.lease import lease
from score_mia.models import Order, ScoreSde
from score_mia.progress import say
from score_mia.readings import Evidence, joined
from score_mia.report import table_text, write
from score_mia.rows import devices, is_whole, seconds

SCHEMA = 1


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
        if not host.first:
            work.host.wait_for("the target", lambda: work.is_trained)
            return _share(work, work.plan.report.samples)
        _train(work)
        return _report(work, *_attack(work))


def train(plan: Plan, workdir: str | Path) -> str:
    """Train the target (or go on training it)."""
    with _opened(plan, workdir) as work:
        _train(work)
        return f"target: {work.folder / 'target'}"


def import_target(plan: Plan, workdir: str | Path, checkpoint: str | Path) -> str:
    """Take a checkpoint of score_sde or MIDM for the target instead of training one."""
    with _opened(plan, workdir) as work:
        step = ScoreSde(str(checkpoint)).make(work.folder / "target", _order(work))
        return f"target: {work.folder / 'target'} ({checkpoint}, step {step:,})"


def attack(plan: Plan, workdir: str | Path, host: Host = ALONE) -> str:
    """Attack the trained target and write metrics.json."""
    with _opened(plan, workdir, host) as work:
        if not host.first:
            return _share(work)
        _, metrics, _ = _attack(work)
        text = f"{table_text(metrics)}\nmetrics: {work.folder / 'metrics.json'}"
        return _whole(text, metrics)


def report(plan: Plan, workdir: str | Path) -> str:
    """Write the report of an attacked target again, from the signals that are kept."""
    with _opened(plan, workdir) as work:
        return _report(work, *_attack(work, compute=False))


def generate(plan: Plan, workdir: str | Path, count: int, host: Host = ALONE) -> str:
    """Draw samples from the attacked target: samples/*.png and an npz of them all.

    Drawn once: a killed run goes on, and more of them begin where fewer ended.
    """
    from PIL import Image

    with _opened(plan, workdir, host) as work:
        choose(work)
        folder = work.folder / "samples"
        if not host.first:
            samples(work, work.step, work.target, count, seed=plan.seed)
            return _shared(work)
        for i, image in enumerate(
            _samples(work, count, folder / f"samples-{count}.npz")
        ):
            picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
            save = functools.partial(picture.save, format="png")
            write_atomic(folder / f"{i:05d}.png", save)
        return f"{count} samples: {folder}"


def _share(work: Work, shown: int = 0) -> str:
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
    if shown:
        samples(work, work.step, work.target, shown, seed=work.plan.seed)
    return _shared(work)


def _shared(work: Work) -> str:
    return f"{work.host.name}: its share is done, the rest is for host 0"


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


def _attack(
    work: Work, *, compute: bool = True
) -> tuple[list[Assessment], dict[str, Any], Checks]:
    """Signals of every attack, their assessments, metrics.json, and the checks.

    Args:
      work: the run.
      compute: whether to compute signals that are missing; if not, they are refused,
        and an attack that failed has failed still.
    """
    plan, split = work.plan, work.split
    selection = choose(work)
    digest = target_digest(work.target)
    results: dict[str, Assessment | Failure] = {}
    for one in plan.attacks:
        folders = [work.signal_folder(work.reader(name)) for name in one.signals]
        if not compute and not all(is_whole(folder) for folder in folders):
            results[one.name] = _failed_before(work, one)
            continue
        read = functools.partial(_evidence, work, one)
        judge = functools.partial(_judged, work, one, folders)
        results[one.name] = attempt(one, read, judge, _trace(work, one))
    assessments = [a for a in results.values() if isinstance(a, Assessment)]
    _require_some(results)
    checked = checks(work)
    for result in assessments:
        result.hold_against(checked.accuracy.get(result.attack.name))
    facts = _target_facts(work, digest)
    rule = "last" if plan.trained is None else plan.trained.snapshot
    facts["snapshot"] = {"rule": rule, **(selection or {})}
    quality = measure(work)
    if quality is not None:
        facts["quality"] = quality
    metrics = {
        "schema": SCHEMA,
        "title": plan.title,
        "config": config_digest(plan.config),
        "target": facts,
        "split": split.counts,
        "level": plan.report.level,
        "seed": plan.seed,
        "device": _devices(work),
        "attacks": {name: result.entry for name, result in results.items()},
        "controls": checked.controls,
    }
    if metrics != _kept_metrics(work):
        # A page never stands beside other numbers than its own.
        (work.folder / "report" / "index.html").unlink(missing_ok=True)
        save_sealed(work.folder / "metrics.json", metrics)
    return assessments, metrics, checked


def _kept_metrics(work: Work) -> dict[str, Any]:
    """What metrics.json says; nothing if it is missing or damaged."""
    try:
        return load_sealed(work.folder / "metrics.json", {"attacks": {str: dict}})
    except UserError:
        return {"attacks": {}}


def _failed_before(work: Work, one: Attack) -> Failure:
    """The failure of an attack without signals that metrics.json tells of."""
    reason = _kept_metrics(work)["attacks"].get(one.name, {}).get("failed")
    require(
        isinstance(reason, str),
        f"attack {one.name!r}",
        f"has not all of its signals in {work.folder / 'signals'}",
        "run 'attack' with this workdir first",
    )
    return Failure(one, str(reason))


def _trace(work: Work, one: Attack) -> Path:
    """Where the traceback of a failed attack is kept for the author of its parts."""
    return work.folder / "signals" / f"{one.name}-failed.txt"


def _devices(work: Work) -> str:
    """On what the signals of all attacks were computed."""
    folders = (work.signal_folder(work.reader(name)) for name in work.plan.signals)
    names = {name for folder in folders for name in devices(folder)}
    return ", ".join(sorted(names)) or device.name()


def _evidence(work: Work, one: Attack) -> Evidence:
    """What one attack's rule may see, computed or read."""
    readings = {}
    for name in one.signals:
        reader = work.reader(name)
        folder = work.signal_folder(reader)
        readings[name] = collect(reader, work.split.ids, folder, work.host)
    return Evidence(joined(readings))


def _judged(
    work: Work, one: Attack, folders: Sequence[Path], evidence: Evidence
) -> Assessment:
    """One attack's numbers."""
    spent = sum(seconds(folder) for folder in folders)
    return assess(one, evidence, work.split, work.plan, spent)


def _require_some(results: Mapping[str, Assessment | Failure]) -> None:
    """Without any numbers there is nothing to write."""
    failures = {n: r.reason for n, r in results.items() if isinstance(r, Failure)}
    if failures and len(failures) == len(results):
        raise UserError("; ".join(f"attack {n!r}: {r}" for n, r in failures.items()))


def _whole(text: str, metrics: Mapping[str, Any]) -> str:
    """The text to print; raises `Incomplete` with it where an attack failed."""
    failures = [
        f"attack {name!r} failed ({entry['failed']})"
        for name, entry in metrics["attacks"].items()
        if "failed" in entry
    ]
    if failures:
        raise Incomplete(
            f"{'; '.join(failures)}; mend it and run the same command again: what was "
            "done is kept",
            text,
        )
    return text


def _report(
    work: Work,
    assessments: list[Assessment],
    metrics: dict[str, Any],
    checked: Checks,
) -> str:
    count = work.plan.report.samples
    samples = None
    if count:
        samples = _samples(work, count, work.folder / "target" / "samples.npz")
    content = report_content(work, assessments, metrics, samples, checked)
    path = write(work.folder / "report", content)
    return _whole(f"{table_text(metrics)}\nreport: {path}", metrics)


def _samples(work: Work, count: int, path: Path) -> np.ndarray:
    """The first samples of the attacked target, uint8, also as one file."""
    drawn = samples(work, work.step, work.target, count, seed=work.plan.seed)
    images, digest = drawn.array("images"), target_digest(work.target)
    save_npz(path, images=images, target=np.asarray(digest))
    return images


def _target_facts(work: Work, digest: str) -> dict[str, Any]:
    about = describe(work.target_folder)
    spec, known = about["spec"], about["provenance"]
    leaves = jax.tree.leaves(work.target.params)
    return {
        "digest": digest,
        "sde": spec["sde"],
        "network": spec["network"],
        "parameters": int(sum(leaf.size for leaf in leaves)),
        "steps": known["step"],
        "members": known["members"],
        "training_seconds": known["seconds"],
        "privacy": known.get("privacy"),
        "imported": known.get("imported"),
    }


def versions() -> dict[str, str]:
    """Versions of score_mia and of what its numbers depend on."""
    names = ("score_mia", "jax", "flax", "optax", "diffrax", "numpy", "scikit-learn")
    return {name: importlib.metadata.version(name) for name in names}
