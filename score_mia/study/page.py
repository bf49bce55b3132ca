"""The study's folder: exhibits as files, and one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from score_mia.auditing.content import attack_title
from score_mia.files import write_atomic
from score_mia.report import figure, picture
from score_mia.report.controls import controls
from score_mia.report.glossary import GLOSSARY
from score_mia.report.page import TEMPLATES, template
from score_mia.report.table import booktabs, latex
from score_mia.report.text import distinct
from score_mia.report.verdict import verdict
from score_mia.study import draw
from score_mia.study.clock import columns_of
from score_mia.study.config import Study
from score_mia.study.exhibit import Built, Exhibit, Table
from score_mia.study.finished import Finished

FORMATS = ("png", "pdf", "csv", "tex")


def write(
    folder: Path,
    study: Study,
    finished: Mapping[str, Finished],
    built: Mapping[str, Built],
    failures: Mapping[str, str],
    problems: Mapping[str, str],
) -> Path:
    """Write exhibits/ and index.html; return the page's path.

    Args:
      folder: the study's.
      study: titles, labels, and the exhibits' headings.
      finished: the audits shown.
      built: the exhibits that could be built.
      failures: audit -> why it failed.
      problems: exhibit -> why it could not be built.
    """
    files: dict[str, bytes] = {}
    for name, one in built.items():
        files |= _files(name, heading(study.exhibits[name]), one)
    place = folder / "exhibits"
    for form in FORMATS:
        for path in place.glob(f"*.{form}"):
            if path.name not in files:
                path.unlink(missing_ok=True)
    shown = [
        _exhibit(name, exhibit, built.get(name), problems.get(name), study, finished)
        for name, exhibit in study.exhibits.items()
    ]
    html = template("study.html.j2").render(
        {
            "title": study.title,
            "css": _css(),
            "audits": [_audit(n, study, finished, failures) for n in study.audits],
            "exhibits": shown,
            "pictures": _pictures(study, built),
            "glossary": GLOSSARY,
            "formats": FORMATS,
        }
    )
    for name, data in files.items():
        write_atomic(place / name, lambda file, data=data: file.write(data))
    page = folder / "index.html"
    write_atomic(page, lambda file: file.write(html.encode()))
    return page


def _pictures(study: Study, built: Mapping[str, Built]) -> list[tuple[str, int]]:
    """Exhibits that show real images or samples, and how many."""
    return [
        (heading(study.exhibits[name]), sum(len(s.pictures) for s in one.strips))
        for name, one in built.items()
        if one.strips
    ]


def heading(exhibit: Exhibit) -> str:
    """What stands over an exhibit."""
    return exhibit.title or exhibit.heading or type(exhibit).__name__


def _css() -> Any:
    from markupsafe import Markup

    names = ("report.css", "study.css")
    return Markup("".join((TEMPLATES / n).read_text(encoding="utf-8") for n in names))


def _files(name: str, title: str, one: Built) -> dict[str, bytes]:
    """The four files of an exhibit."""
    drawn = one.figure
    if drawn is None and one.table is not None:
        drawn = draw.table(one.table)
    assert drawn is not None
    return {
        f"{name}.png": figure.png(drawn),
        f"{name}.pdf": figure.pdf(drawn),
        f"{name}.csv": one.csv.encode(),
        f"{name}.tex": tex(name, title, one).encode(),
    }


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


def _exhibit(
    name: str,
    exhibit: Exhibit,
    one: Built | None,
    problem: str | None,
    study: Study,
    finished: Mapping[str, Finished],
) -> dict[str, Any]:
    """What the template shows of an exhibit, or of its absence."""
    from markupsafe import Markup

    wanted = exhibit.among(study.audits)
    missing = [study.labels[n] for n in wanted if n not in finished]
    drawing = None
    if one is not None and one.figure is not None and not one.strips:
        drawing = Markup(figure.svg(one.figure, name, one.alt))
    return {
        "name": name,
        "title": heading(exhibit),
        "missing": missing,
        "problem": problem,
        "built": one is not None,
        "svg": drawing,
        "wide": _rem(one),
        "table": None if one is None else one.table,
        "caption": "" if one is None else one.caption,
        "strips": [] if one is None else [*map(_strip, one.strips)],
    }


def _rem(one: Built | None) -> float:
    """Width on the page at which a figure's words have the size of the page's."""
    return 0.0 if one is None or one.figure is None else 7.0 * one.figure.get_figwidth()


def _strip(strip: Any) -> dict[str, Any]:
    labels = strip.labels or [""] * len(strip.pictures)
    pairs = zip(strip.pictures, labels, strict=True)
    return {
        "name": strip.name,
        "tiles": [(picture.data_uri(p), text.splitlines()) for p, text in pairs],
    }


def _audit(
    name: str,
    study: Study,
    finished: Mapping[str, Finished],
    failures: Mapping[str, str],
) -> dict[str, Any]:
    """One line of the overview."""
    found = {
        "name": name,
        "label": study.labels[name],
        "link": None,
        "about": "",
        "controls": "",
    }
    if name in failures:
        return found | {"kind": "strong", "word": "Failed", "said": failures[name]}
    if name not in finished:
        return found | {"kind": "unclear", "word": "Not finished", "said": ""}
    one = finished[name]
    attacks = one.plan.attacks
    said = verdict(
        one.metrics,
        distinct({a.name: attack_title(columns_of(one.plan, a), a) for a in attacks}),
        {a.name: a.access for a in attacks},
    )
    target = one.metrics["target"]
    about = f"{target['members']:,} training images, {target['steps']:,} steps"
    beside = "; ".join(
        f"{c.name.lower()} {c.text}" for c in controls(one.metrics) if c.measured
    )
    return found | {
        "link": f"{name}/report/index.html",
        "about": about,
        "kind": said.kind,
        "word": said.word,
        "said": said.finding,
        "controls": beside,
    }
