"""A study's folder: exhibits as files, and one self-contained page over all audits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from score_mia.report import controls, picture, style
from score_mia.report.content import titles_of
from score_mia.report.exhibits.base import Audit, Built, Exhibit, Table
from score_mia.report.page import css, template, write_all
from score_mia.report.table import booktabs, latex
from score_mia.report.verdict import verdict

DRAWN, SET = ("png", "pdf", "csv", "tex"), ("csv", "tex")
"""Formats of an exhibit with a figure, and of a table."""
FEW = 4
"""Attacks of an audit whose controls its line has room for."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """What a study's page is made of.

    Attributes:
      title: its heading.
      labels: how exhibits call each audit, in the order shown.
      exhibits: by name, in the order shown.
      finished: the audits that can be shown.
      built: the exhibits that could be built.
      failures: audit -> why it failed.
      problems: exhibit -> why it could not be built.
    """

    title: str
    labels: Mapping[str, str]
    exhibits: Mapping[str, Exhibit]
    finished: Mapping[str, Audit]
    built: Mapping[str, Built]
    failures: Mapping[str, str]
    problems: Mapping[str, str]


def write(folder: Path, shown: Shown) -> Path:
    """Write exhibits/ and index.html; return the page's path."""
    files: dict[str, bytes] = {}
    for name, one in shown.built.items():
        files |= _files(name, shown.exhibits[name].head, one)
    place = folder / "exhibits"
    for form in DRAWN:
        for path in place.glob(f"*.{form}"):
            if path.name not in files:
                path.unlink(missing_ok=True)
    html = template("study.html.j2").render(
        {
            "title": shown.title,
            "css": css("report.css", "study.css"),
            "audits": [_audit(name, shown) for name in shown.labels],
            "exhibits": [_exhibit(name, shown) for name in shown.exhibits],
            "pictures": _pictures(shown),
        }
    )
    write_all(place, files)
    write_all(folder, {"index.html": html.encode()})
    return folder / "index.html"


def _pictures(shown: Shown) -> list[tuple[str, int]]:
    """Exhibits that show real images or samples, and how many."""
    return [
        (shown.exhibits[name].head, sum(len(s.pictures) for s in one.strips))
        for name, one in shown.built.items()
        if one.strips
    ]


def _files(name: str, title: str, one: Built) -> dict[str, bytes]:
    """The files of an exhibit: numbers and LaTeX, and a figure as a figure."""
    files = {
        f"{name}.csv": one.csv.encode(),
        f"{name}.tex": tex(name, title, one).encode(),
    }
    if one.figure is not None:
        files[f"{name}.png"] = style.png(one.figure)
        files[f"{name}.pdf"] = style.pdf(one.figure)
    return files


def tex(name: str, title: str, one: Built) -> str:
    """A floating table or figure, to be read into a paper with \\input."""
    kind = "figure" if one.figure is not None else "table"
    lines = [r"% \usepackage{booktabs,graphicx}", rf"\begin{{{kind}}}", r"\centering"]
    if one.figure is not None:
        lines.append(rf"\includegraphics[width=\linewidth]{{{name}.pdf}}")
    if one.table is not None:
        lines += [r"\footnotesize", _tabular(one.table)]
    label = f"{'fig' if kind == 'figure' else 'tab'}:{name}"
    lines += [
        rf"\caption{{{latex(title)}. {latex(one.caption)}}}",
        rf"\label{{{label}}}",
        rf"\end{{{kind}}}",
    ]
    return "\n".join([*lines, ""])


def _tabular(table: Table) -> str:
    """Two lines a row: values, and what is said of them in small."""
    body: list[list[str]] = []
    for row in table.rows:
        form = r"\textit{%s}" if row.published else "%s"
        body.append([form % latex(c.value) if c.value else "" for c in row.cells])
        if any(c.below for c in row.cells):
            small = r"{\scriptsize %s}"
            body.append([small % latex(c.below) if c.below else "" for c in row.cells])
    return booktabs([*map(latex, table.header)], body)


def _exhibit(name: str, shown: Shown) -> dict[str, Any]:
    """What the template shows of an exhibit, or of its absence."""
    from markupsafe import Markup

    exhibit, one = shown.exhibits[name], shown.built.get(name)
    wanted = exhibit.among(shown.labels)
    drawing, wide, formats = None, 0.0, SET
    if one is not None and one.figure is not None:
        # The width at which a figure's words have the size of the page's.
        wide, formats = 7.0 * one.figure.get_figwidth(), DRAWN
        if not one.strips:
            drawing = Markup(style.svg(one.figure, name, one.alt))
    return {
        "name": name,
        "title": exhibit.head,
        "missing": [shown.labels[n] for n in wanted if n not in shown.finished],
        "problem": shown.problems.get(name),
        "built": one is not None,
        "svg": drawing,
        "wide": wide,
        "formats": formats,
        "table": None if one is None else one.table,
        "caption": "" if one is None else one.caption,
        "strips": [
            {"name": x.name, "tiles": picture.tiles(x.pictures, x.labels)}
            for x in (one.strips if one else ())
        ],
    }


def _audit(name: str, shown: Shown) -> dict[str, Any]:
    """One line of the overview."""
    line: dict[str, Any] = {"name": name, "label": shown.labels[name]}
    line |= {"link": None, "about": "", "controls": ""}
    if name in shown.failures:
        said = shown.failures[name]
        return line | {"kind": "strong", "word": "Failed", "said": said}
    if name not in shown.finished:
        return line | {"kind": "unclear", "word": "Not finished", "said": ""}
    result = shown.finished[name].result
    answer, target = verdict(result, titles_of(result)), result.target
    few = len(result.attacks) <= FEW  # the others' stand on the audit's own page
    said = [r for r in controls.rows(result) if few or r.name in controls.OF_SPLIT]
    rows = [row for row in said if row.measured]
    return line | {
        "link": f"{name}/report/index.html",
        "about": f"{target.members:,} training images, {target.steps:,} steps",
        "kind": answer.kind,
        "word": answer.word,
        "said": answer.finding,
        "controls": "; ".join(f"{row.name.lower()} {row.text}" for row in rows),
    }
