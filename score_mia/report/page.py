"""The report's folder: one self-contained page, and its figures and tables as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from score_mia.files import write_atomic
from score_mia.report import (
    controls,
    figure,
    holds,
    marks,
    picture,
    plates,
    privacy,
    table,
)
from score_mia.report.content import AttackContent, ReportContent
from score_mia.report.curves import measure
from score_mia.report.glossary import GLOSSARY
from score_mia.report.text import SPACE, aside, counts, estimate, known, quantity
from score_mia.report.verdict import Verdict, verdict

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


def write(folder: str | Path, content: ReportContent) -> Path:
    """Write `index.html`, figures and tables; return the page's path.

    Every file is written atomically, the page last: a page that exists has all its
    files beside it. Files of an earlier report that this one lacks are removed.
    """
    folder = Path(folder)
    content = content.with_distinct_titles()
    curves = measure(content.attacks)
    drawn = plates.plates(content, curves)
    texts = {
        "attacks.csv": table.attacks_csv(content.metrics),
        "attacks.tex": table.attacks_tex(content.metrics, content.titles),
        "roc.csv": table.roc_csv(curves.roc),
        "by_step.csv": table.by_step_csv(content.attacks, curves.columns),
    }
    files = {name: text.encode() for name, text in texts.items()}
    files |= {p.file: figure.png(p.figure) for p in drawn.values()}
    files |= _sheets(content)
    html = _render(content, drawn)
    for stem in STEMS:
        for path in folder.glob(f"{stem}*.*"):
            if path.suffix in (".png", ".csv", ".tex") and path.name not in files:
                path.unlink(missing_ok=True)
    for name, data in (*files.items(), ("index.html", html.encode())):
        write_atomic(folder / name, lambda file, data=data: file.write(data))
    return folder / "index.html"


def _sheets(content: ReportContent) -> dict[str, bytes]:
    """samples.png and perturbed.png."""
    out = {}
    pairs = plates.pairs(content)
    if pairs:
        rows = [("samples", np.stack([p.sample for p in pairs[:10]]))]
        if pairs[0].member is not None:
            found = [p.member for p in pairs[:10] if p.member is not None]
            rows.append(("nearest\nmembers", np.stack(found)))
        out["samples.png"] = figure.png(figure.sheet(rows))
    if content.perturbed is not None:
        images = [picture.unit_pictures(row) for row in content.perturbed.images]
        labels = [content.perturbed.labels]
        sheet = figure.sheet([("", row) for row in images], labels)
        out["perturbed.png"] = figure.png(sheet)
    return out


def _render(content: ReportContent, drawn: dict[str, plates.Plate]) -> str:
    """The page; every value is escaped, only our own SVG and CSS are not."""
    from markupsafe import Markup

    def shown(group: str) -> list[dict[str, Any]]:
        return [
            {
                "svgs": [
                    Markup(figure.svg(part, f"{p.file}-{i}", p.alt))
                    for i, part in enumerate(p.parts or (p.figure,))
                ],
                **{"title": p.title, "caption": p.caption},
            }
            for p in drawn.values()
            if p.group == group
        ]

    attacks = [_attack(content, a) for a in content.attacks]
    steps = shown("steps")
    said = verdict(
        content.metrics,
        content.titles,
        {a.name: a.access for a in content.attacks},
    )
    values = {
        "title": content.title,
        "css": Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        "verdict": said,
        "squares": _squares(said),
        "warnings": _warnings(content),
        "labels": _labels(attacks),
        "marks": table.mark_lines(content.metrics, content.titles),
        "controls": controls.controls(content.metrics),
        "attacks": attacks,
        "remarks": [r for a in content.attacks if (r := _remarks(content, a))],
        "separation": shown("separation"),
        "steps": [steps[i : i + 2] for i in range(0, len(steps), 2)],
        "training": next(iter(shown("training")), None),
        "facts": content.facts,
        "glossary": GLOSSARY,
        "holds": holds.lines(content),
        "shows": holds.shows(content),
        **_pictures(content),
    }
    values["sections"] = _sections(values)
    return template("report.html.j2").render(values)


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
            ("pictures", "Pictures", True),
            ("made", "How this was made", values["training"] or values["facts"]),
            ("words", "How to read", True),
        )
        if there
    ]


def _labels(attacks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Headings of the table of attacks."""
    rows = [attack["cells"] for attack in attacks if not attack["failed"]]
    return [cell["label"] for cell in rows[0]] if rows else []


def _attack(content: ReportContent, attack: AttackContent) -> dict[str, Any]:
    """One row of the table of attacks."""
    members, nonmembers = counts(content.metrics, attack.metrics)
    about = {
        "title": attack.title,
        "access": ACCESS.get(attack.access, attack.access),
        "failed": attack.failed,
    }
    if attack.failed:
        return about
    cells = []
    for label, number, percent in table.rows(attack.metrics):
        value, interval = estimate(number, nonmembers, percent)
        if label == "AUC":
            value += marks.symbols(attack.metrics)
        found = {"value": value, "interval": interval, "known": known(number)}
        cells.append({"label": label, "aside": aside(number), **found})
    cost = attack.metrics.get("cost", {})
    seconds = quantity(cost.get("seconds"))
    error = marks.grid_error(attack.metrics)
    return about | {
        "error": f"grid error {error}" if error else "",
        "rows": f"{members:,} members, {nonmembers:,} non-members",
        "cells": cells,
        "evaluations": quantity(cost.get("network_evaluations_per_image")),
        "seconds": f"{seconds}{SPACE}s"
        if seconds != "not measured"
        else "time unknown",
    }


def _remarks(content: ReportContent, attack: AttackContent) -> dict[str, Any] | None:
    """What the fit chose, the diagnostics and the notes of one attack."""
    lines = []
    chosen = attack.metrics.get("chosen")
    if chosen:
        chosen = attack.columns.in_words(chosen) if attack.columns else chosen
        lines.append(f"Chosen: {chosen}")
    rows = len(attack.member)
    _, nonmembers = counts(content.metrics, attack.metrics)
    for label, number, percent in table.threshold_rows(attack.metrics):
        value, interval = estimate(number, nonmembers, percent)
        lines.append(f"{label}: {value} {interval}")
    lines += [
        f"{name}: {value:.4g} (mean over n{SPACE}={SPACE}{rows:,} images)"
        for name, value in attack.diagnostics.items()
    ]
    lines += privacy.remark(attack.metrics)
    lines += attack.notes
    return {"title": attack.title, "lines": lines} if lines else None


def _pictures(content: ReportContent) -> dict[str, Any]:
    """Everything on the page that is a picture, as `data:` addresses."""

    def uris(pictures: np.ndarray | None) -> list[str]:
        if pictures is None:
            return []
        shown = picture.unit_pictures(pictures[: holds.SHOWN])
        return [picture.data_uri(p) for p in shown]

    pairs = [
        {
            "sample": picture.data_uri(p.sample),
            "member": None if p.member is None else picture.data_uri(p.member),
            "distance": f"{p.distance:.3f}",
        }
        for p in plates.pairs(content)
    ]
    return {
        "pairs": pairs,
        "pairs_caption": plates.pairs_caption(content),
        "members": uris(content.members),
        "nonmembers": uris(content.nonmembers),
        "perturbed": _perturbed(content),
    }


def _perturbed(content: ReportContent) -> list[list[dict[str, Any]]]:
    if content.perturbed is None:
        return []
    return [
        [
            {"uri": picture.data_uri(p), "lines": label.splitlines()}
            for p, label in zip(
                picture.unit_pictures(row), content.perturbed.labels, strict=True
            )
        ]
        for row in content.perturbed.images
    ]


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


def _warnings(content: ReportContent) -> tuple[str, ...]:
    """The audit's warnings, and what the report itself finds strange."""
    found = []
    for attack in content.attacks:
        lost = int(np.count_nonzero(~np.isfinite(attack.scores)))
        if lost:
            found.append(
                f"{attack.title}: {lost:,} of {len(attack.scores):,} membership scores "
                "are not finite; figures leave these images out."
            )
        auc = attack.metrics.get("auc")
        if auc and known(auc) and auc["high"] < 0.5:
            found.append(
                f"{attack.title}: non-members score higher than members (AUC "
                f"{' '.join(estimate(auc, None, False))}). Something tells the groups "
                "apart, in the wrong direction: check the split and the signal's sign."
            )
    return (*content.warnings, *privacy.overruns(content.metrics), *found)
