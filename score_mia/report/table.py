"""The numbers as text: terminal table, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from score_mia.check import printable
from score_mia.metrics.copies import Copies
from score_mia.report import controls, copies, privacy
from score_mia.report.content import AttackContent, Stepped
from score_mia.report.curves import RATES, RocCurve
from score_mia.report.text import (
    SECTION,
    SPACE,
    aside,
    estimate,
    grid_error,
    level,
    mark_lines,
    marks,
    numbers,
    quantity,
    symbols,
    without_folders,
)
from score_mia.report.verdict import reversals
from score_mia.results import AttackResult, AuditResult, Estimate


class Line(NamedTuple):
    """An estimate in words: its label, value, interval, and what else it says."""

    label: str
    value: str
    interval: str
    aside: str
    known: bool


def rows(entry: AttackResult) -> list[Line]:
    """The estimates of an attack, in the order shown."""
    rates = {f"TPR at {level(r)}{SPACE}FPR": entry.tpr_at_fpr[r] for r in entry.rates}
    rates |= {f"TPR at zero{SPACE}FP": entry.tpr_at_zero_fp}
    auc = _line(entry, "AUC", entry.auc, percent=False)
    return [
        auc._replace(value=auc.value + symbols(entry)),
        _line(entry, "Balanced accuracy", entry.balanced_accuracy),
        *(_line(entry, label, rate) for label, rate in rates.items()),
    ]


def threshold_rows(entry: AttackResult) -> list[Line]:
    """The rates at a threshold fixed on reference data, if the attack has one."""
    fixed = entry.at_fixed_threshold
    if fixed is None:
        return []
    fpr = _line(entry, "FPR, fixed threshold", fixed.fpr)
    above = SECTION if fixed.above_nominal else ""
    return [
        _line(entry, "TPR, fixed threshold", fixed.tpr),
        fpr._replace(value=fpr.value + above),
    ]


def _line(entry: AttackResult, label: str, e: Estimate, percent: bool = True) -> Line:
    return Line(label, *estimate(e, entry.nonmembers, percent), aside(e), e.known)


def table_text(result: AuditResult, width: int = 80) -> str:
    """The table printed at the end of an audit: plain, aligned, one column per attack.

    Every number stands beside its 95 % interval; what the non-members cannot resolve
    reads "below resolution (n = 500)". More attacks than fit `width` go below.
    """
    if not result.attacks:
        return "no attack was run\n"
    out = _attack_blocks(result, width)
    lines = [
        f"{result.split.members:,} members and {result.split.nonmembers:,} "
        "non-members; intervals are 95 %; members are the positive class.",
        *(f"{name}: failed ({why})" for name, why in result.failures.items()),
        *mark_lines(result),
        *reversals(result),
        privacy.sentence(result.target.privacy),
        *privacy.overruns(result),
    ]
    for line in lines:
        out += textwrap.wrap(printable(line), width)
    out += ["", *_control_lines(result, width)]
    return "\n".join(line.rstrip() for line in out).replace(SPACE, " ") + "\n"


def _control_lines(result: AuditResult, width: int) -> list[str]:
    """The controls, names to the left of wrapped words."""
    shown = controls.rows(result)
    left = max(len(row.name) for row in shown) + 2
    out = []
    for row in shown:
        lines = textwrap.wrap(
            printable(row.text), max(20, width - left), break_on_hyphens=False
        )
        out.append(row.name.lower().ljust(left) + lines[0])
        out += [" " * left + line for line in lines[1:]]
    return out


def _attack_blocks(result: AuditResult, width: int) -> list[str]:
    """One column an attack that gave numbers; as many side by side as fit."""
    seconds = result.timings.seconds
    blocks = [
        (printable(name), _lines(entry, seconds.get(name)))
        for name, entry in result.scored.items()
    ]
    out: list[str] = []
    if not blocks:
        return out
    labels: list[str] = []
    for _, lines in blocks:
        labels += [label for label, _ in lines if label not in labels]
    left = max(map(len, labels))
    cell = max(len(t) for name, ls in blocks for t in (name, *(v for _, v in ls)))
    per = max(1, (width - left) // (cell + 2))
    for start in range(0, len(blocks), per):
        part = blocks[start : start + per]
        names = [name for name, _ in part]
        texts = [
            ("", names),
            *((x, [dict(ls).get(x, "") for _, ls in part]) for x in labels),
        ]
        made = [
            x.ljust(left) + "".join("  " + t.ljust(cell) for t in ts) for x, ts in texts
        ]
        out += [made[0], "-" * (left + len(part) * (cell + 2)), *made[1:], ""]
    return out


def _lines(entry: AttackResult, seconds: float | None) -> list[tuple[str, str]]:
    lines = []
    for line in rows(entry) + threshold_rows(entry):
        value, interval = line.value, line.interval
        text = f"{value} {interval}" if "[" in interval else f"{value} ({interval})"
        lines.append((line.label, text))
        if line.aside:
            lines.append(("  " + line.aside.split(" up")[0], line.aside[9:]))
    if entry.accuracy is not None:
        error = f"{entry.accuracy.mean:.2g} (at most {entry.accuracy.max:.2g})"
        lines.append(("grid error, bits/dim", error))
    shown = privacy.bound(entry)
    if shown is not None:
        lines.append(("epsilon, at least", f"{shown[0]} (n shows {shown[1]} at most)"))
    each, unit = cost(entry)
    lines += [
        (f"{unit} per image", each),
        ("seconds", quantity(seconds)),
        ("members / non-members", f"{entry.members:,} / {entry.nonmembers:,}"),
    ]
    return lines


def attacks_csv(result: AuditResult, found: Copies | None = None) -> str:
    """One row per attack and measure, in full precision, empty where unknown.

    Then one per control, and per number of the copies found among the samples.
    """
    header = (
        *("attack", "measure", "fpr", "value", "low", "high", "resolvable"),
        *("members", "nonmembers", "remark"),
    )
    table: list[Sequence[Any]] = []
    for name, entry in result.attacks.items():
        if entry.failed is not None:
            blank = [""] * 7
            table.append((name, "failed", *blank, without_folders(entry.failed)))
            continue
        counts = (entry.members, entry.nonmembers)
        said = {m: words.replace(SPACE, " ") for m, words in marks(entry).items()}
        remarks = {"fpr_at_fixed_threshold": said.pop(SECTION, "")}
        remarks["auc"] = "; ".join(said.values())
        for measure, rate, e in measures(entry):
            remark = remarks.get(measure, "")
            table.append((name, measure, rate, *numbers(e), *counts, remark))
        seconds = result.timings.seconds.get(name)
        for measure, value in _plain_measures(entry, seconds).items():
            table.append((name, measure, "", value, "", "", "", *counts))
    beside = [*controls.csv_rows(result.controls)]
    beside += [] if found is None else copies.csv_rows(found)
    return csv_text(header, [*table, *beside])


def _plain_measures(
    entry: AttackResult, seconds: float | None
) -> dict[str, float | None]:
    """What has no interval: bounds, measured errors, costs, p-values."""
    innocent, shown, error = entry.innocent, entry.epsilon_lower_bound, entry.accuracy
    made: dict[str, float | None] = {
        "p_value": entry.p_value,
        "p_value_of_nonmembers": innocent.p_value if innocent else None,
        "epsilon_lower_bound": shown.value if shown else None,
        "largest_epsilon_lower_bound": shown.largest if shown else None,
        "grid_error_mean_bits_per_dim": error.mean if error else None,
        "grid_error_max_bits_per_dim": error.max if error else None,
        "grid_error_images": error.images if error else None,
    }
    known = {name: value for name, value in made.items() if value is not None}
    costs = {"queries_per_image": entry.queries_per_image}
    if entry.queries_per_image is None:
        costs = {"network_evaluations_per_image": entry.network_evaluations_per_image}
    return known | costs | {"seconds": seconds}


def amount(entry: AttackResult) -> tuple[float | None, str]:
    """What an image costs, if it is known, and in what it is counted."""
    if entry.queries_per_image is not None:
        return entry.queries_per_image, "queries"
    return entry.network_evaluations_per_image, "evaluations"


def cost(entry: AttackResult) -> tuple[str, str]:
    """The same in words."""
    value, unit = amount(entry)
    return quantity(value), unit


def counted(entry: AttackResult) -> str:
    """By how many images an attack was judged, in words."""
    known = entry.known_members
    told = f" ({known:,} of them known to the attacker)" if known else ""
    return f"{entry.members:,} members{told}, {entry.nonmembers:,} non-members"


def measures(entry: AttackResult) -> Iterable[tuple[str, str, Estimate]]:
    """(measure, FPR or "", estimate) of every estimate of an attack."""
    innocent = entry.innocent
    further = {
        "margin": entry.margin,
        "auc_of_shuffled_labels": entry.permuted,
        "auc_of_untrained": entry.untrained,
        "share_of_generated": entry.generated,
        "share": entry.share,
        "share_of_nonmembers": None if innocent is None else innocent.share,
    }
    yield from ((n, "", e) for n, e in further.items() if e is not None)
    if entry.kind == "set":
        return
    yield "auc", "", entry.auc
    yield "balanced_accuracy", "", entry.balanced_accuracy
    yield "tpr_at_zero_fp", "", entry.tpr_at_zero_fp
    for rate in entry.rates:
        yield "tpr", f"{rate:g}", entry.tpr_at_fpr[rate]
    fixed = entry.at_fixed_threshold
    if fixed is not None:
        yield "tpr_at_fixed_threshold", "", fixed.tpr
        yield "fpr_at_fixed_threshold", "", fixed.fpr


def roc_csv(curves: Mapping[str, RocCurve]) -> str:
    """The ROC of Fig. 2: at each FPR the exact TPR and its pointwise 95 % band."""
    return csv_text(
        ("attack", *ROC), [(n, *row) for n, c in curves.items() for row in roc_rows(c)]
    )


ROC = ("fpr", "tpr", "low", "high", "members", "nonmembers")
"""Header of `roc_rows`."""


def roc_rows(curve: RocCurve) -> Iterable[Sequence[Any]]:
    """A row for each point of a ROC."""
    for point in zip(curve.fpr, curve.tpr, curve.low, curve.high, strict=True):
        yield (*map(float, point), curve.members, curve.nonmembers)


def by_step_csv(attacks: Sequence[AttackContent]) -> str:
    """The curves of Fig. 1: AUC and TPRs of every column, empty below resolution."""
    stepped = [(a.name, a.stepped) for a in attacks if a.stepped is not None]
    table = [(name, *row) for name, steps in stepped for row in by_step_rows(steps)]
    return csv_text(("attack", *BY_STEP), table)


BY_STEP = (
    *("column", "time", "log_snr"),
    *(
        measure + end
        for measure in ("auc", *(f"tpr@{f:g}" for f in RATES))
        for end in ("", "_low", "_high")
    ),
    *("chosen", "members", "nonmembers"),
)
"""Header of `by_step_rows`."""


def by_step_rows(steps: Stepped) -> Iterable[Sequence[Any]]:
    """AUC and TPRs of every column with their limits, "" below resolution."""
    curve = steps.curves
    for k, name in enumerate(steps.names):
        row = [name, float(steps.time[k]), float(steps.log_snr[k])]
        for number in (curve.auc, *(curve.tpr[f] for f in RATES)):
            unknown = number is None or not np.isfinite(number[:, k]).all()
            row += [""] * 3 if unknown else map(float, number[:, k])
        yield (*row, k == steps.chosen, curve.members, curve.nonmembers)


def csv_text(header: Sequence[str], table: Iterable[Sequence[Any]]) -> str:
    """A header and rows; None is an empty cell, and so is what a row lacks.

    Texts are written so that no spreadsheet takes them for a formula; numbers stay as
    they are, negative ones too.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in (header, *table):
        cells = ["" if c is None else _cell(c) for c in row]
        writer.writerow(cells + [""] * (len(header) - len(cells)))
    return out.getvalue()


_FORMULA = tuple("=+-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}")
_FORMULA += ("\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def _cell(value: Any) -> Any:
    """A cell: a text that a spreadsheet would run begins with an apostrophe instead."""
    if not isinstance(value, str):
        return value
    formula = value.lstrip().startswith(_FORMULA) and not _NUMBER.fullmatch(value)
    if formula or value.startswith(("\t", "\r", "\n")):
        value = f"'{value}"
    return printable(value)


_GREEK = {
    "\N{GREEK SMALL LETTER ALPHA}": r"\alpha",
    "δ": r"\delta",
    "ε": r"\varepsilon",
    "\N{GREEK SMALL LETTER SIGMA}": r"\sigma",
    "∞": r"\infty",
    "≤": r"\leq",
    "\N{DAGGER}": r"^\dagger",
    "\N{DOUBLE DAGGER}": r"^\ddagger",
    "\N{SECTION SIGN}": r"^\S",
}
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    SPACE: "~",
    # What pdflatex has no letters for.
    "\N{MINUS SIGN}": "$-$",
    "\N{SUPERSCRIPT TWO}": "$^2$",
    **{c: rf"${name}$" for c, name in _GREEK.items()},
}


def latex(text: str) -> str:
    """Text with every character that LaTeX reads as a command made harmless."""
    plain = printable(" ".join(text.splitlines()))
    return "".join(_LATEX.get(c, c) for c in plain)


def attacks_tex(result: AuditResult, titles: Mapping[str, str]) -> str:
    """A booktabs table, one row per attack, intervals in brackets below the values.

    Below them stand what marks mean, the measured errors, and the controls.
    """
    labels: list[str] = []
    for entry in result.scored.values():
        labels += [x.label for x in rows(entry) if x.label not in labels]
    labels = labels or [""]  # of failed attacks only: room for their reasons
    body: list[Sequence[str]] = []
    for name, entry in result.attacks.items():
        if name in result.sets:
            continue  # no AUC: below, among the controls
        body += _tex_rows(entry, latex(titles.get(name, name)), labels)
    errors = [
        f"{titles.get(name, name)}: measured error {grid_error(entry)}"
        for name, entry in result.attacks.items()
        if grid_error(entry)
    ]
    for line in (*mark_lines(result, titles), *errors):
        body.append(["", _across(line, len(labels))])
    for row in controls.rows(result):
        if row.measured:
            body.append([latex(row.name), _across(row.text, len(labels))])
    note = (
        r"% \usepackage{booktabs}; intervals are 95 %, members are the positive class"
    )
    return f"{note}\n{booktabs(['Attack', *map(latex, labels)], body)}"


def _tex_rows(
    entry: AttackResult, title: str, labels: Sequence[str]
) -> list[list[str]]:
    """The rows of one attack: values and intervals, or why it has none."""
    if entry.failed is not None:
        reason = without_folders(entry.failed)
        return [[title, _across(f"failed: {reason}", len(labels))]]
    lines = {line.label: line for line in rows(entry)}
    there = [lines.get(label) for label in labels]
    small = r"{\footnotesize %s}"
    return [
        [title, *(latex(line.value) if line else "" for line in there)],
        ["", *(small % latex(line.interval) if line else "" for line in there)],
    ]


def _across(text: str, columns: int) -> str:
    """Words that stand in all columns but the first; wrapped, so as not to widen it."""
    box = rf"\parbox[t]{{{_INCHES * columns:g}in}}"
    words = rf"{{\footnotesize\raggedright {latex(text)}\strut}}"
    return rf"\multicolumn{{{columns}}}{{l}}{{{box}{words}}}"


_INCHES = 0.8
"""Of a column of numbers in LaTeX, about."""


def booktabs(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A tabular of cells that are LaTeX already; the first column names its row."""
    # In braces: a row that began with "[" or "*" would be read as part of \\.
    made = [" & ".join([f"{{{row[0]}}}" if row[0] else "", *row[1:]]) for row in body]
    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        " & ".join(header) + r" \\",
        r"\midrule",
        *(row + r" \\" for row in made),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join([*lines, ""])
