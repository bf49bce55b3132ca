"""Many audits side by side: run or resumed, then shown by exhibits over them."""

from __future__ import annotations

import dataclasses
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from score_mia.attacks.protocol import Attack, HostSignal, side_by_side
from score_mia.auditing import plan as build
from score_mia.auditing import stages
from score_mia.auditing.bill import bill as bill_audit
from score_mia.auditing.content import log_snr_at, noised
from score_mia.auditing.describe import describe as describe_audit
from score_mia.auditing.plan import Plan
from score_mia.auditing.sections import plain
from score_mia.auditing.work import config_digest, open_work
from score_mia.check import (
    UserError,
    did_you_mean,
    file_name,
    one_line,
    one_of,
    printable,
    require,
    within,
)
from score_mia.codecs import bound
from score_mia.fields import check_value
from score_mia.registry import make
from score_mia.report.exhibits import (
    EXHIBITS,
    Audit,
    Built,
    Exhibit,
    Noised,
    Planned,
    PlannedAttack,
)
from score_mia.report.exhibits.base import Steps
from score_mia.report.exhibits.page import Shown, write
from score_mia.report.files import FACTS
from score_mia.report.text import distinct
from score_mia.results import METRICS, AuditResult
from score_mia.rules.best import Best
from score_mia.rules.column import Column
from score_mia.storage import locate
from score_mia.target import Target
from score_mia.views import view

SECTIONS = ("title", "audits", "labels", "exhibits")
_TAKEN = ("exhibits", "index.html")
"""What a study writes into its folder beside its audits."""
_TRACE = "failed.txt"
"""In an audit's folder: where the error came from, if it was no mistake of the user."""


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """A whole study, built but not begun.

    Attributes:
      title: its heading.
      audits: name -> plan, in the order run and shown.
      labels: name -> how exhibits call the audit.
      exhibits: name -> exhibit, in the order shown.
    """

    title: str
    audits: Mapping[str, Plan]
    labels: Mapping[str, str]
    exhibits: Mapping[str, Exhibit]


# --- from a config -------------------------------------------------------------------


def plan(config: Any) -> Study:
    """Build a `Study` from a ConfigDict (or mapping); every mistake is a UserError."""
    config = plain(config, as_written=True)
    for name in config:
        if name not in SECTIONS:
            remedy = did_you_mean(name, SECTIONS)
            raise UserError(f"study has no section {name!r}; {remedy}")
    audits = _section(config, "audits")
    require(len(audits) > 0, "audits", "none is given", "add one to the config")
    plans = {name: _audit(name, audits[name]) for name in audits}
    labels = _section(config, "labels")
    for name, label in labels.items():
        one_of("labels", name, plans)
        check_value("labels", name, label, str)
    title = config.get("title", "Study")
    check_value("study", "title", title, str)
    known = {name: planned(one) for name, one in plans.items()}
    exhibits = {
        name: _exhibit(name, spec, known)
        for name, spec in _section(config, "exhibits").items()
    }
    labels = {name: labels.get(name, name) for name in plans}
    return Study(title, plans, distinct(labels), exhibits)


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name, {})
    check_value("study", name, section, Mapping)
    return section


def _audit(name: str, config: Any) -> Plan:
    _check_name("audit", name)
    check_value("audits", name, config, Mapping)
    try:
        return build.plan(config)
    except UserError as error:
        raise UserError(f"audit {name!r}: {error}") from error


def _exhibit(name: str, spec: Any, known: Mapping[str, Planned]) -> Exhibit:
    _check_name("exhibit", name)
    try:
        exhibit = make("kind", EXHIBITS, spec)
        ok = isinstance(exhibit, Exhibit)
        remedy = "derive it from score_mia.report.exhibits.Exhibit"
        require(ok, type(exhibit).__name__, "is no exhibit", remedy)
        exhibit.check(known)
        return exhibit
    except UserError as error:
        raise UserError(f"exhibit {name!r}: {error}") from error


def _check_name(what: str, name: str) -> None:
    """Names become files and folders."""
    file_name(what, name)
    problem = "cannot be the name of a folder of a study, which writes it itself"
    remedy = f"take another than {', '.join(_TAKEN)}"
    require(what != "audit" or name not in _TAKEN, f"{what} {name!r}", problem, remedy)


def planned(one: Plan) -> Planned:
    """An audit's plan as exhibits see it."""
    sde = None if one.model is None else one.model.sde  # nothing is known of a service

    def times(steps: Steps, audit: str) -> list[float]:
        return _times(one, steps, audit)

    def show(folder: Path, times: Sequence[float], count: int) -> Noised:
        work = open_work(one, folder)
        pictures, labels = noised(work, work.split.members[:count], times)
        levels = log_snr_at(one.known.sde, np.asarray(times)).tolist()
        return Noised(pictures, labels, times, levels)

    return Planned(
        process="" if sde is None else str(one.config["sde"]["name"]),
        clock=sde,
        discrete_steps=None if sde is None else sde.discrete_steps,
        attacks={a.name: _planned_attack(one, a) for a in one.attacks},
        samples=one.shown,
        sampler=str(one.config["sampler"]["name"]),
        seed=one.seed,
        level=one.report.level,
        replicates=one.report.replicates,
        pictures=one.report.pictures,
        times=times,
        noised=show,
    )


def _planned_attack(one: Plan, attack: Attack) -> PlannedAttack:
    single = isinstance(attack.rule, Best | Column)
    kind = type(next(iter(attack.signals.values())))
    signal = f"{kind.__module__}.{kind.__qualname__}"
    if any(isinstance(s, HostSignal) for s in attack.signals.values()):
        # Their columns may hang on the shape of images that are not read yet.
        return PlannedAttack(signal, (), None, single)
    model = one.known
    codec = bound(model.codec)
    nothing = Target(None, model.sde, model.parameterisation, _nothing, codec)
    columns = side_by_side(
        {n: s.columns(view(nothing, s.access)) for n, s in attack.signals.items()}
    )
    times = None if columns.times is None else tuple(map(float, columns.times))
    return PlannedAttack(signal, columns.names, times, single)


def _nothing(*_: Any) -> Any:
    raise NotImplementedError


def _times(one: Plan, steps: Steps, audit: str) -> list[float]:
    """The times of an exhibit that needs no column: any that the process has."""
    sde = one.known.sde
    if steps.log_snr:
        exact = [float(sde.time_at(level)) for level in steps.log_snr]
        whole = sde.discrete_steps is not None
        return list(dict.fromkeys(float(round(t)) if whole else t for t in exact))
    times = []
    for time in steps.of(audit):
        remedy = "name the times of pictures"
        require(not isinstance(time, str), f"times={time!r}", "is no number", remedy)
        # t0 and t1 may be rounded by float32, and so are the times.
        low, high = float(np.float32(sde.t0)), float(np.float32(sde.t1))
        rounded = float(np.float32(time))
        within("times", time if low <= time <= high else rounded, low, high)
        times.append(float(time))
    return times


# --- run and show --------------------------------------------------------------------


def run(study: Study, workdir: str | Path, only: Sequence[str] = ()) -> str:
    """Run or resume the audits, build the exhibits and the page.

    Args:
      study: the study.
      workdir: its folder; each audit has one of its own within.
      only: names of the audits to run; all by default. Exhibits show every finished
        one all the same.

    Returns:
      Where the page is, and what is missing from it.

    Raises:
      UserError: an unknown name in `only`; and, after all else is done and written,
        an audit or an exhibit that failed.
    """
    folder = locate(workdir)
    for name in only:
        one_of("--only", name, study.audits)
    failures = _audits(study, folder, tuple(only) or tuple(study.audits))
    finished = {
        name: Audit(name, study.labels[name], planned(one), folder / name)
        for name, one in study.audits.items()
        if name not in failures and is_finished(one, folder / name)
    }
    built, problems = _exhibits(study, finished)
    shown = Shown(
        study.title, study.labels, study.exhibits, finished, built, failures, problems
    )
    page = write(folder, shown)
    failed = [f"audit {n!r} ({r})" for n, r in failures.items()]
    failed += [f"exhibit {n!r} ({r})" for n, r in problems.items()]
    if failed:
        raise UserError(
            f"{len(failed)} of the study failed: {'; '.join(failed)}; mend it and run "
            f"the same command again, what was done is kept and shown in {page}"
        )
    missing = [name for name in study.audits if name not in finished]
    note = f"\nnot finished, and not shown: {', '.join(missing)}" if missing else ""
    return f"{len(built)} exhibits of {len(finished)} audits{note}\nstudy: {page}"


def describe(study: Study, workdir: str | Path | None = None) -> str:
    """`--dry_run`: each audit's config, sizes and cost, and the exhibits."""
    parts = [study.title]
    for name, one in study.audits.items():
        folder = None if workdir is None else locate(workdir) / name
        parts.append(f"audit {name}\n\n{describe_audit(one, folder)}")
    lines = [
        f"{name:12s} {type(one).__name__} of {', '.join(one.among(study.audits))}"
        for name, one in study.exhibits.items()
    ]
    return "\n\n".join([*parts, "\n".join(["exhibits", *lines])])


def bill(study: Study, share: float) -> str:
    """`--bill`: of each audit; see `auditing.bill`."""
    parts = [f"audit {n}\n{bill_audit(one, share)}" for n, one in study.audits.items()]
    return "\n\n".join([study.title, *parts])


def is_finished(one: Plan, folder: Path) -> bool:
    """Whether the folder holds this very audit, with its page and all its attacks."""
    needed = ("split.npz", METRICS, FACTS, "report/index.html")
    if not all((folder / name).exists() for name in needed):
        return False
    try:
        result = AuditResult.load(folder)
    except UserError:
        return False  # damaged, or of an older version: the audit writes it again
    return result.config == config_digest(one.config) and not result.failures


def _audits(study: Study, folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Run the named audits in the study's order; returns why some failed."""
    failures: dict[str, str] = {}
    wanted = [name for name in study.audits if name in names]
    for i, name in enumerate(wanted, 1):
        one, trace = study.audits[name], folder / name / _TRACE
        if is_finished(one, folder / name):
            continue
        _say(f"audit {i} of {len(wanted)}, {name}")
        try:
            stages.run(one, folder / name)
            trace.unlink(missing_ok=True)
        except UserError as error:
            failures[name] = one_line(error)
        except Exception as error:
            # The others go on; what only a developer can read is kept for him.
            where = ""
            if trace.parent.is_dir():
                trace.write_text(traceback.format_exc())
                where = f"; see {trace}"
            failures[name] = f"{type(error).__name__}: {one_line(error)}{where}"
        if name in failures:
            _say(f"audit {name!r} failed: {failures[name]}")
    return failures


def _exhibits(
    study: Study, finished: Mapping[str, Audit]
) -> tuple[dict[str, Built], dict[str, str]]:
    """What could be built, and why the rest could not."""
    built, problems = {}, {}
    for name, exhibit in study.exhibits.items():
        shown = [finished[n] for n in exhibit.among(study.audits) if n in finished]
        if not shown:
            continue
        try:
            built[name] = exhibit.build(shown)
        except UserError as error:
            problems[name] = one_line(error)
            _say(f"exhibit {name!r} failed: {problems[name]}")
    return built, problems


def _say(text: str) -> None:
    print(f"study: {printable(text)}", file=sys.stderr, flush=True)
