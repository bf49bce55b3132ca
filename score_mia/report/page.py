"""The report's folder: one self-contained page, and its figures and tables as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from score_mia.check import Incomplete
from score_mia.files import write_atomic
from score_mia.lease import lease
from score_mia.report import (
    controls,
    copies,
    draw,
    picture,
    plates,
    privacy,
    style,
    table,
)
from score_mia.report.content import AttackContent, ReportContent
from score_mia.report.curves import finite_roc
from score_mia.report.files import load
from score_mia.report.text import (
    ABOVE,
    SECTION,
    SPACE,
    above_nominal,
    estimate,
    grid_error,
    mark_lines,
    quantity,
    reversed_sign,
)
from score_mia.report.verdict import Verdict, verdict
from score_mia.results import AuditResult
from score_mia.storage import locate
from score_mia.storage import workdir as check_workdir

TEMPLATES = Path(__file__).parent / "templates"
STEMS = (
    *("roc", "scores", "tpr_by_step", "tpr_by_log_snr", "perturbed", "samples"),
    *("training", "attacks", "by_step"),
)
"""Names of the files this room writes: an older report's are removed."""
ACCESS = {
    "none": "blind: needs no model",
    "samples": "black box: needs samples only",
    "observed": "black box: needs samples and the way to them",
    "scores": "grey box: needs network outputs",
    "gradients": "white box: needs the parameters",
}


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
    return whole(f"{table.table_text(content.result)}\nreport: {path}", content.result)


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


def write(folder: str | Path, content: ReportContent) -> Path:
    """Write `index.html`, figures and tables; return the page's path.

    Every file is written atomically, the page last: a page that exists has all its
    files beside it. Files of an earlier report that this one lacks are removed.
    """
    folder = locate(folder)
    made = {a.name: finite_roc(a.scores, a.member) for a in content.attacks}
    curves = {name: curve for name, curve in made.items() if curve is not None}
    drawn = plates.plates(content, curves)
    texts = {
        "attacks.csv": table.attacks_csv(content.result, content.copies),
        "attacks.tex": table.attacks_tex(content.result, content.titles),
        "roc.csv": table.roc_csv(curves),
        "by_step.csv": table.by_step_csv(content.attacks),
    }
    files = {name: text.encode() for name, text in texts.items()}
    files |= {p.file: style.png(p.figure) for p in drawn.values()}
    files |= _sheets(content)
    html = _render(content, drawn)
    for stem in STEMS:
        for path in folder.glob(f"{stem}*.*"):
            if path.suffix in (".png", ".csv", ".tex") and path.name not in files:
                path.unlink(missing_ok=True)
    write_all(folder, {**files, "index.html": html.encode()})
    return folder / "index.html"


def write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, each whole or not at all, in the order given."""
    for name, data in files.items():
        write_atomic(folder / name, lambda file, data=data: file.write(data))


def _sheets(content: ReportContent) -> dict[str, bytes]:
    """samples.png and perturbed.png."""
    out, near = {}, content.nearest
    if near is not None and near.samples is not None:
        rows = [("samples", near.samples[:10])]
        if near.members is not None:
            rows.append(("nearest\nmembers", near.members[:10]))
        out["samples.png"] = style.png(draw.sheet(rows))
    if content.perturbed is not None:
        images = [picture.unit_pictures(row) for row in content.perturbed.images]
        labels = [content.perturbed.labels]
        sheet = draw.sheet([("", row) for row in images], labels)
        out["perturbed.png"] = style.png(sheet)
    return out


def _render(content: ReportContent, drawn: dict[str, plates.Plate]) -> str:
    """The page; every value is escaped, only our own SVG and CSS are not."""
    from markupsafe import Markup

    def shown(group: str) -> list[dict[str, Any]]:
        return [
            {
                "svgs": [
                    Markup(style.svg(part, f"{p.file}-{i}", p.alt))
                    for i, part in enumerate(p.parts or (p.figure,))
                ],
                **{"title": p.title, "caption": p.caption},
            }
            for p in drawn.values()
            if p.group == group
        ]

    result, titles = content.result, content.titles
    attacks = [_attack(content, a) for a in content.attacks]
    steps = shown("steps")
    answer = verdict(result, titles)
    values = {
        "title": result.title,
        "css": css("report.css"),
        "verdict": answer,
        "squares": _squares(answer),
        "warnings": _warnings(content),
        "labels": next(
            ([c.label for c in a["cells"]] for a in attacks if not a["failed"]), []
        ),
        "marks": mark_lines(result, titles),
        "controls": controls.rows(result),
        "attacks": attacks,
        "remarks": [r for a in content.attacks if (r := _remarks(content, a))],
        "separation": shown("separation"),
        "copies": _copies(content),
        "steps": [steps[i : i + 2] for i in range(0, len(steps), 2)],
        "training": next(iter(shown("training")), None),
        "facts": content.facts,
        "holds": picture.held(content),
        "shows": bool(picture.kinds(content)),
        **_pictures(content),
    }
    values["sections"] = _sections(values)
    return template("report.html.j2").render(values)


def css(*names: str) -> Any:
    """Style sheets, to be put into a page as they are."""
    from markupsafe import Markup

    return Markup("".join((TEMPLATES / n).read_text(encoding="utf-8") for n in names))


def template(name: str) -> Any:
    """A page's template; it escapes every value and refuses what it was not given."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(name)


def _sections(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Anchor and name of the sections that this page has."""
    return [
        (anchor, name)
        for anchor, name, there in (
            ("attacks", "Attacks", True),
            ("separation", "How members stand out", values["separation"]),
            ("steps", "Diffusion steps", values["steps"]),
            ("copies", "Copies", values["copies"]),
            ("pictures", "Pictures", True),
            ("made", "How this was made", values["training"] or values["facts"]),
            ("words", "How to read", True),
        )
        if there
    ]


def _attack(content: ReportContent, attack: AttackContent) -> dict[str, Any]:
    """One row of the table of attacks."""
    result = attack.result
    row = {
        "title": content.titles[attack.name],
        "access": ACCESS.get(result.access, result.access),
        "failed": attack.failed,
    }
    if attack.failed:
        return row
    seconds = quantity(content.result.timings.seconds.get(attack.name))
    timed = seconds != "not measured"
    error = grid_error(result)
    return row | {
        "error": f"grid error {error}" if error else "",
        "above": f"FPR {ABOVE}{SPACE}{SECTION}" if above_nominal(result) else "",
        "rows": table.counted(result),
        "cells": table.rows(result),
        "cost": table.cost(result),
        "seconds": f"{seconds}{SPACE}s" if timed else "time unknown",
    }


def _remarks(content: ReportContent, attack: AttackContent) -> dict[str, Any] | None:
    """What the fit chose, the diagnostics and the notes of one attack."""
    lines, result = [], attack.result
    if result.chosen:
        steps = attack.stepped
        chosen = steps.in_words(result.chosen) if steps else result.chosen
        lines.append(f"Chosen: {chosen}")
    rows = len(attack.member)
    fixed = table.threshold_rows(result)
    lines += [f"{x.label}: {x.value} {x.interval}" for x in fixed]
    lines += [
        f"{name}: {value:.4g} (mean over n{SPACE}={SPACE}{rows:,} images)"
        for name, value in attack.diagnostics.items()
    ]
    published = result.as_published
    if published is not None:
        rates = ", ".join(
            f"{100 * tpr:.4g} % at {100 * fpr:g} %"
            for fpr, tpr in published.tpr_at_fpr.items()
        )
        lines.append(
            "As the paper counts, with the non-members as the positive class: share of "
            f"non-members recognised at a share of members misjudged: {rates}."
        )
    lines += [*privacy.remark(result), *attack.notes]
    return {"title": content.titles[attack.name], "lines": lines} if lines else None


def _copies(content: ReportContent) -> dict[str, Any] | None:
    """The section about copies among the samples, if any were looked at."""
    if (c := content.copies) is None:
        return None
    return {
        "finding": copies.finding(c),
        "rows": copies.rows(c),
        "notes": copies.notes(c),
    }


def _pictures(content: ReportContent) -> dict[str, Any]:
    """Everything on the page that is a picture, as `data:` addresses."""

    def uris(pictures: np.ndarray | None) -> list[str]:
        shown = () if pictures is None else picture.tiles(pictures[: picture.SHOWN])
        return [uri for uri, _ in shown]

    near, noised, pairs = content.nearest, content.perturbed, []
    if near is not None and near.samples is not None:
        samples = uris(near.samples)
        members = [None] * len(samples) if near.members is None else uris(near.members)
        far = [f"{d:.3f}" for d in near.distances]
        if near.relative is not None:
            far = [f"{d} ({r:.2f})" for d, r in zip(far, near.relative, strict=True)]
        pairs = [*zip(samples, members, far, strict=False)]
    rows = () if noised is None else noised.images
    return {
        "pairs": pairs,
        "pairs_caption": picture.pairs_caption(near) if pairs and near else "",
        "members": uris(content.members),
        "nonmembers": uris(content.nonmembers),
        "perturbed": [picture.tiles(row, noised.labels) for row in rows if noised],
    }


def _squares(said: Verdict) -> list[dict[str, Any]]:
    """The quoted rate as two fields of a hundred squares, or nothing."""
    if said.quoted is None:
        return []
    value, low, high, rate = (round(100 * part) for part in said.quoted)
    sure = ["sure"] * low + ["maybe"] * (high - low) + [""] * (100 - high)
    return [
        {
            "kinds": sure,
            "caption": f"Of 100 training images about {value} are recognised "
            f"(95{SPACE}% interval {low} to {high}, pale)",
        },
        {
            "kinds": ["wrong"] * rate + [""] * (100 - rate),
            "caption": f"Of 100 other images at most {rate} "
            f"{'is' if rate == 1 else 'are'} wrongly accused in this test",
        },
    ]


def _warnings(content: ReportContent) -> list[str]:
    """The audit's warnings, and what the report itself finds strange."""
    found, result, titles = [], content.result, content.titles
    for attack in content.attacks:
        lost = int(np.count_nonzero(~np.isfinite(attack.scores)))
        if lost:
            found.append(
                f"{titles[attack.name]}: {lost:,} of {len(attack.scores):,} membership "
                "scores are not finite; figures leave these images out."
            )
        if attack.result.non_finite:
            # Without ids: which image it was is no business of the page's readers.
            found.append(
                f"{attack.name}: {attack.result.non_finite} images gave NaN or "
                "infinite signals and are left out of its numbers."
            )
        if reversed_sign(attack.result):
            auc = " ".join(estimate(attack.result.auc, None, False))
            found.append(
                f"{titles[attack.name]}: non-members score higher than members (AUC "
                f"{auc}). Something tells the groups apart, in the wrong direction: "
                "check the split and the signal's sign."
            )
    return [
        *controls.warnings(result.controls),
        *content.warnings,
        *privacy.overruns(result),
        *found,
    ]
