"""Run or resume the audits of a study, then build what is shown of them."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from score_mia import auditing
from score_mia.check import UserError, one_line, one_of, printable
from score_mia.study.config import Study
from score_mia.study.exhibit import Built
from score_mia.study.finished import Finished, is_finished
from score_mia.study.page import write

_TRACE = "failed.txt"
"""In an audit's folder: where the error came from, if it was no mistake of the user."""


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
    folder = Path(workdir)
    for name in only:
        one_of("--only", name, study.audits)
    failures = _audits(study, folder, tuple(only) or tuple(study.audits))
    finished = {
        name: Finished(name, study.labels[name], plan, folder / name)
        for name, plan in study.audits.items()
        if name not in failures and is_finished(plan, folder / name)
    }
    built, problems = _exhibits(study, finished)
    page = write(folder, study, finished, built, failures, problems)
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
    for name, plan in study.audits.items():
        folder = None if workdir is None else Path(workdir) / name
        parts.append(f"audit {name}\n\n{auditing.describe(plan, folder)}")
    lines = [
        f"{name:12s} {type(one).__name__} of {', '.join(one.among(study.audits))}"
        for name, one in study.exhibits.items()
    ]
    return "\n\n".join([*parts, "\n".join(["exhibits", *lines])])


def _audits(study: Study, folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Run the named audits in the study's order; returns why some failed."""
    failures: dict[str, str] = {}
    wanted = [name for name in study.audits if name in names]
    for i, name in enumerate(wanted, 1):
        plan, trace = study.audits[name], folder / name / _TRACE
        if is_finished(plan, folder / name):
            continue
        _say(f"audit {i} of {len(wanted)}, {name}")
        try:
            auditing.run(plan, folder / name)
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
    study: Study, finished: Mapping[str, Finished]
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
