"""The numbers as text: terminal table, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from score_mia.check import printable
from score_mia.report import privacy
from score_mia.report.content import AttackContent, ColumnContent
from score_mia.report.controls import controls
from score_mia.report.controls import csv_rows as control_rows
from score_mia.report.curves import RATES, ColumnCurves, RocCurve
from score_mia.report.marks import grid_error, marks, symbols
from score_mia.report.text import (
    SPACE,
    aside,
    counts,
    estimate,
    level,
    quantity,
    without_folders,
)
from score_mia.report.verdict import reversals

Row = tuple[str, Mapping[str, Any] | None, bool]
"""Label, estimate, whether it is printed in per cent."""


def rows(entry: Mapping[str, Any]) -> list[Row]:
    """The estimates of an attack's entry of metrics.json, in the order shown."""
    rates = sorted(entry.get("tpr_at_fpr", {}), key=float, reverse=True)
    return [
        ("AUC", entry.get("auc"), False),
        ("Balanced accuracy", entry.get("balanced_accuracy"), True),
        *(
            (f"TPR at {level(float(r))}{SPACE}FPR", entry["tpr_at_fpr"][r], True)
            for r in rates
        ),
        (f"TPR at zero{SPACE}FP", entry.get("tpr_at_zero_fp"), True),
    ]


def threshold_rows(entry: Mapping[str, Any]) -> list[Row]:
    """The rates at a threshold fixed on reference data, if the attack has one."""
    fixed = entry.get("at_fixed_threshold")
    if not fixed:
        return []
    return [
        ("TPR, fixed threshold", fixed.get("tpr"), True),
        ("FPR, fixed threshold", fixed.get("fpr"), True),
    ]


def table_text(metrics: Mapping[str, Any], width: int = 80) -> str:
    """The table printed at the end of an audit: plain, aligned, one column per attack.

    Every number stands beside its 95 % interval; what the non-members cannot resolve
    reads "below resolution (n = 500)". More attacks than fit `width` go below.
    """
    if not metrics["attacks"]:
        return "no attack was run\n"
    out = _attack_blocks(metrics, width)
    split = metrics.get("split", {})
    said = [
        f"{split.get('members', 0):,} members and {split.get('nonmembers', 0):,} "
        "non-members; intervals are 95 %; members are the positive class.",
        *failures(metrics),
        *mark_lines(metrics),
        *reversals(metrics),
        privacy.sentence(metrics),
        *privacy.overruns(metrics),
    ]
    for line in said:
        out += textwrap.wrap(printable(line), width)
    out += ["", *_control_lines(metrics, width)]
    return "\n".join(line.rstrip() for line in out).replace(SPACE, " ") + "\n"


def failures(metrics: Mapping[str, Any]) -> list[str]:
    """A line for each attack that gave no numbers."""
    return [
        f"{name}: failed ({entry['failed']})"
        for name, entry in metrics["attacks"].items()
        if "failed" in entry
    ]


def mark_lines(
    metrics: Mapping[str, Any], titles: Mapping[str, str] | None = None
) -> list[str]:
    """What the marks beside numbers mean, a line for each; attacks by their titles."""
    return [
        f"{mark} {(titles or {}).get(name, name)}: {words}."
        for name, entry in metrics["attacks"].items()
        for mark, words in marks(entry).items()
    ]


def _control_lines(metrics: Mapping[str, Any], width: int) -> list[str]:
    """The controls, names to the left of wrapped words."""
    rows = controls(metrics)
    left = max(len(row.name) for row in rows) + 2
    out = []
    for row in rows:
        lines = textwrap.wrap(
            printable(row.text), max(20, width - left), break_on_hyphens=False
        )
        out.append(row.name.lower().ljust(left) + lines[0])
        out += [" " * left + line for line in lines[1:]]
    return out


def _attack_blocks(metrics: Mapping[str, Any], width: int) -> list[str]:
    """One column an attack that gave numbers; as many side by side as fit."""
    blocks = [
        (printable(name), _lines(metrics, entry))
        for name, entry in metrics["attacks"].items()
        if "failed" not in entry
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
        out.append(_line("", [name for name, _ in part], left, cell))
        out.append("-" * (left + len(part) * (cell + 2)))
        for label in labels:
            out.append(
                _line(label, [dict(ls).get(label, "") for _, ls in part], left, cell)
            )
        out.append("")
    return out


def _line(label: str, cells: Sequence[str], left: int, cell: int) -> str:
    return label.ljust(left) + "".join("  " + text.ljust(cell) for text in cells)


def _lines(
    metrics: Mapping[str, Any], entry: Mapping[str, Any]
) -> list[tuple[str, str]]:
    members, nonmembers = counts(metrics, entry)
    lines = []
    for label, number, percent in rows(entry) + threshold_rows(entry):
        value, interval = estimate(number, nonmembers, percent)
        if label == "AUC":
            value += symbols(entry)
        text = f"{value} {interval}" if "[" in interval else f"{value} ({interval})"
        lines.append((label, text))
        if aside(number):
            lines.append(("  " + aside(number).split(" up")[0], aside(number)[9:]))
    accuracy = entry.get("accuracy")
    if accuracy:
        said = f"{accuracy['mean']:.2g} (at most {accuracy['max']:.2g})"
        lines.append(("grid error, bits/dim", said))
    shown = privacy.bound(entry)
    if shown is not None:
        lines.append(("epsilon, at least", f"{shown[0]} (n shows {shown[1]} at most)"))
    cost = entry.get("cost", {})
    lines += [
        ("evaluations per image", quantity(cost.get("network_evaluations_per_image"))),
        ("seconds", quantity(cost.get("seconds"))),
        ("members / non-members", f"{members:,} / {nonmembers:,}"),
    ]
    return lines


def attacks_csv(metrics: Mapping[str, Any]) -> str:
    """One row per attack and measure, in full precision, empty where unknown."""
    header = (
        *("attack", "measure", "fpr", "value", "low", "high", "resolvable"),
        *("members", "nonmembers", "remark"),
    )
    table: list[Sequence[Any]] = []
    for name, entry in metrics["attacks"].items():
        if "failed" in entry:
            blank = [""] * 7
            table.append((name, "failed", *blank, without_folders(entry["failed"])))
            continue
        held = counts(metrics, entry)
        remark = "; ".join(marks(entry).values()).replace(SPACE, " ")
        for measure, rate, number in measures(entry):
            got = [number.get(key) for key in ("value", "low", "high")]
            resolvable = bool(number.get("resolvable", True))
            about = remark if measure == "auc" else ""
            table.append((name, measure, rate, *got, resolvable, *held, about))
        plain = {**_bound(entry), **_accuracy(entry), **entry.get("cost", {})}
        for measure, value in plain.items():
            table.append((name, measure, "", value, "", "", "", *held))
    return csv_text(header, [*table, *control_rows(metrics)])


def _accuracy(entry: Mapping[str, Any]) -> dict[str, float]:
    """The measured error of a likelihood's grid, in bits/dim."""
    accuracy = entry.get("accuracy")
    if not accuracy:
        return {}
    return {
        "grid_error_mean_bits_per_dim": accuracy["mean"],
        "grid_error_max_bits_per_dim": accuracy["max"],
        "grid_error_images": accuracy["images"],
    }


def _bound(entry: Mapping[str, Any]) -> dict[str, float]:
    found = entry.get("epsilon_lower_bound")
    if found is None:
        return {}
    return {
        "epsilon_lower_bound": found["value"],
        "largest_epsilon_lower_bound": found["largest"],
    }


def measures(
    entry: Mapping[str, Any],
) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    """(measure, FPR or "", estimate) of every estimate of an entry of metrics.json."""
    for measure in ("auc", "balanced_accuracy", "tpr_at_zero_fp"):
        if entry.get(measure):
            yield measure, "", entry[measure]
    for rate, number in entry.get("tpr_at_fpr", {}).items():
        yield "tpr", rate, number
    fixed = entry.get("at_fixed_threshold") or {}
    for measure in ("tpr", "fpr"):
        if fixed.get(measure):
            yield f"{measure}_at_fixed_threshold", "", fixed[measure]


def roc_csv(curves: Mapping[str, RocCurve]) -> str:
    """The ROC of Fig. 2: at each FPR the exact TPR and its pointwise 95 % band."""
    return csv_text(
        ("attack", "fpr", "tpr", "low", "high", "members", "nonmembers"),
        [
            (name, *map(float, point), c.members, c.nonmembers)
            for name, c in curves.items()
            for point in zip(c.fpr, c.tpr, c.low, c.high, strict=True)
        ],
    )


def by_step_csv(
    attacks: Sequence[AttackContent], curves: Mapping[str, ColumnCurves]
) -> str:
    """The curves of Fig. 1: AUC and TPRs of every column, empty below resolution."""
    table: list[Sequence[Any]] = []
    for attack in attacks:
        columns, curve = attack.columns, curves.get(attack.name)
        if columns is not None and curve is not None:
            table += [(attack.name, *row) for row in by_step_rows(columns, curve)]
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


def by_step_rows(
    columns: ColumnContent, curve: ColumnCurves
) -> Iterable[Sequence[Any]]:
    """AUC and TPRs of every column with their limits, "" below resolution."""
    for k, name in enumerate(columns.names):
        row = [name, float(columns.time[k]), float(columns.log_snr[k])]
        for number in (curve.auc, *(curve.tpr[f] for f in RATES)):
            unknown = number is None or not np.isfinite(number[:, k]).all()
            row += [""] * 3 if unknown else map(float, number[:, k])
        chosen = k == columns.chosen_index
        yield (*row, chosen, curve.members, curve.nonmembers)


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


def attacks_tex(metrics: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """A booktabs table, one row per attack, intervals in brackets below the values.

    Below them stand what marks mean, the measured errors, and the controls.
    """
    entries = metrics["attacks"]
    labels: list[str] = []
    for entry in entries.values():
        if "failed" not in entry:
            labels += [label for label, _, _ in rows(entry) if label not in labels]
    labels = labels or [""]  # of failed attacks only: room for their reasons
    body: list[Sequence[str]] = []
    for name, entry in entries.items():
        body += _tex_rows(metrics, entry, latex(titles.get(name, name)), labels)
    said = [
        f"{titles.get(name, name)}: measured error {grid_error(entry)}"
        for name, entry in entries.items()
        if grid_error(entry)
    ]
    for line in (*mark_lines(metrics, titles), *said):
        body.append(["", _across(line, len(labels))])
    for row in controls(metrics):
        if row.measured:
            body.append([latex(row.name), _across(row.text, len(labels))])
    note = (
        r"% \usepackage{booktabs}; intervals are 95 %, members are the positive class"
    )
    return f"{note}\n{booktabs(['Attack', *map(latex, labels)], body)}"


def _tex_rows(
    metrics: Mapping[str, Any],
    entry: Mapping[str, Any],
    title: str,
    labels: Sequence[str],
) -> list[list[str]]:
    """The rows of one attack: values and intervals, or why it has none."""
    if "failed" in entry:
        reason = without_folders(entry["failed"])
        return [[title, _across(f"failed: {reason}", len(labels))]]
    _, nonmembers = counts(metrics, entry)
    values, intervals = {}, {}
    for label, number, percent in rows(entry):
        value, interval = estimate(number, nonmembers, percent)
        values[label] = latex(value + (symbols(entry) if label == "AUC" else ""))
        intervals[label] = rf"{{\footnotesize {latex(interval)}}}"
    return [
        [title, *(values.get(label, "") for label in labels)],
        ["", *(intervals.get(label, "") for label in labels)],
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
