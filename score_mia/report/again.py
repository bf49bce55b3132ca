"""The page of a finished audit, made again: no model, no data set, no accelerator."""

from __future__ import annotations

from pathlib import Path

from score_mia.check import Incomplete
from score_mia.check import workdir as check_workdir
from score_mia.lease import lease
from score_mia.report.files import load
from score_mia.report.page import write
from score_mia.report.table import table_text
from score_mia.results import AuditResult


def make(workdir: str | Path) -> str:
    """Write the page from the workdir's files; metrics.json stays as it is.

    Returns:
      The table, and where the page is.

    Raises:
      UserError: a file is missing, damaged, or another process uses the workdir.
      Incomplete: an attack failed; the page is written.
    """
    folder = check_workdir(workdir)
    with lease(folder):
        return remake(folder)


def remake(folder: Path) -> str:
    """`make`, for whoever holds the workdir already."""
    content = load(folder)
    path = write(folder / "report", content)
    return whole(f"{table_text(content.result)}\nreport: {path}", content.result)


def whole(text: str, result: AuditResult) -> str:
    """The text to print; raises `Incomplete` with it where an attack failed."""
    failures = [f"attack {n!r} failed ({why})" for n, why in result.failures.items()]
    if failures:
        raise Incomplete(
            f"{'; '.join(failures)}; mend it and run the same command again: what was "
            "done is kept",
            text,
        )
    return text
