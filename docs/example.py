"""The blocks of read-an-audit.md: one committed report, as its reader sees it."""

from __future__ import annotations

import re
from collections.abc import Callable

from measured import audit, per_cent, rate, signed, table, unit

from score_mia.metrics.epsilon import largest_certifiable
from score_mia.metrics.intervals import clopper_pearson
from score_mia.report.verdict import verdict as judge

EXAMPLE = "text/tuned"
"""The report that is read."""


def answer() -> str:
    """The verdict of the example, as its report has it."""
    said = judge(audit(EXAMPLE))
    return f"> **{said.word}.** {said.finding} {said.meaning}"


def attacks_table() -> str:
    """The table of the example's report, turned."""
    attacks = audit(EXAMPLE).attacks
    titles = {"loss": "own caption", "similar": "similar caption", "untold": "no text"}
    chosen = [attacks[n] for n in titles]
    rows = [
        ("AUC", *(unit(a.auc) for a in chosen)),
        ("Balanced accuracy", *(rate(a.balanced_accuracy) for a in chosen)),
    ]
    for fpr in chosen[0].rates:
        cells = (rate(a.tpr_at_fpr[fpr]) for a in chosen)
        rows.append((f"TPR at {100 * fpr:g} % FPR", *cells))
    rows.append(("TPR at zero FP", *(rate(a.tpr_at_zero_fp) for a in chosen)))
    upper = (a.tpr_at_zero_fp.fpr_upper for a in chosen)
    rows.append(("true FPR there, up to", *map(per_cent, upper)))
    fixed = [a.at_fixed_threshold for a in chosen]
    for name, take in (("TPR", lambda f: f.tpr), ("FPR", lambda f: f.fpr)):
        cells = (rate(take(f)) for f in fixed)
        rows.append((f"{name}, fixed threshold", *cells))
    bounds = [a.epsilon_lower_bound for a in chosen]
    cells = (f"{b.value:.2f} (at most {b.largest:.2f})" for b in bounds if b)
    rows.append(("epsilon, at least", *cells))
    calls = (f"{a.network_evaluations_per_image:g}" for a in chosen)
    rows.append(("evaluations an image", *calls))
    return table(("", *titles.values()), rows)


def controls_table() -> str:
    """The controls of the example."""
    result = audit(EXAMPLE)
    blind, near, shift = (
        result.controls.blind,
        result.controls.near_duplicates,
        result.controls.shift,
    )
    assert blind is not None
    assert near is not None
    assert shift is not None
    kid = shift.kid
    margins = [f"{n} {signed(a.margin)}" for n, a in result.attacks.items()]
    shuffled = [
        f"{n} {unit(a.permuted)}" for n, a in result.attacks.items() if a.permuted
    ]
    rows = (
        ("blind classifier", f"AUC {unit(blind.auc)}, p = {blind.p_value:.2f}"),
        ("near-duplicates", f"{near.pairs} pairs"),
        ("shift of the groups", f"KID {kid.value:.4f} [{kid.low:.4f}, {kid.high:.4f}]"),
        ("beyond the blind classifier", "; ".join(margins)),
        ("shuffled labels", "; ".join(shuffled)),
    )
    return table(("control", "in the example"), rows)


def suspects() -> str:
    """How many accusations are right, by how many suspects are members."""
    tprs = audit(EXAMPLE).attacks["loss"].tpr_at_fpr
    rows = []
    for prior in (0.5, 0.1, 0.01, 0.001):
        cells = []
        for fpr in (0.1, 0.01):
            right = prior * (tprs[fpr].value or 0)
            cells.append(per_cent(right / (right + (1 - prior) * fpr)))
        shown = f"{100 * prior:g} of 100" if prior >= 0.01 else "1 of 1,000"
        rows.append((shown, *cells))
    head = [
        f"{per_cent(tprs[f].value)} found at {100 * f:g} % FPR" for f in (0.1, 0.01)
    ]
    return table(("members among the suspects", *head), rows)


def images() -> str:
    """What n images of either group can show."""
    rows = []
    for n in (100, 300, 1000, 3000, 10000):
        none, half = clopper_pearson(0, n)[1], clopper_pearson(n // 2, n)
        most = largest_certifiable(n, n, 1e-5, searched=True)
        cells = (
            per_cent(1 / n, 2),
            per_cent(none, 2),
            f"± {50 * (half[1] - half[0]):.1f}",
        )
        rows.append((f"{n:,}", *cells, f"{most:.1f}"))
    head = (
        *("n of either", "smallest FPR", "no error seen: FPR up to"),
        *("a share of 50 %, points", "largest ε"),
    )
    return table(head, rows)


def verdicts() -> str:
    """One committed report for each verdict."""
    rows = []
    for name in (EXAMPLE, "lessons/brief", "mini/ddpm-dp-1024", "mini/ddpm-noise-only"):
        said = judge(audit(name))
        first = re.split(r"(?<=\.) (?=[A-Z])", said.finding)[0]
        link = f"[`{name}`](results/{name}/report/index.html)"
        rows.append((f"**{said.word}**", link, first))
    return table(("verdict", "report", "what it says"), rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "answer": answer,
    "attacks_table": attacks_table,
    "controls_table": controls_table,
    "suspects": suspects,
    "images": images,
    "verdicts": verdicts,
}
"""What the page holds of them."""
