"""The numbers of four pages, from the results that are committed: pitfalls.md,
read-an-audit.md, benchmark.md and learned.md.

    python docs/pitfalls.py            writes them into the pages
    python docs/pitfalls.py --check    writes nothing; status 1 if a page is not current

A page holds blocks, from `<!-- made: NAME -->` to `<!-- end -->`, of names in BLOCKS.
"""

from __future__ import annotations

import functools
import itertools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import board
import example
import numpy as np
import speed
from measured import (
    audit,
    columns,
    every,
    per_cent,
    rate,
    scores,
    signed,
    table,
    unit,
)

from score_mia.metrics.intervals import clopper_pearson
from score_mia.metrics.roc import (
    allowed,
    auc,
    balanced_accuracy,
    roc,
    threshold_at,
    tpr_at_fpr,
)
from score_mia.results import Estimate

HERE = Path(__file__).parent
PAGES = ("pitfalls.md", "read-an-audit.md", "benchmark.md", "learned.md")
PAGES += ("performance.md", "../README.md")
BLOCK = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


class Size(NamedTuple):
    """How much one mistake changes a number.

    Attributes:
      number: which one.
      wrong, right: the number as the mistake has it, and as it is here.
      text: all that was found, for the mistake's own section.
    """

    number: str
    wrong: str
    right: str
    text: str


def halves(member: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mask [n] of half of the members and half of the others, drawn at random."""
    first = np.zeros(len(member), bool)
    for group in (member, ~member):
        rows = rng.permutation(np.flatnonzero(group))
        first[rows[: len(rows) // 2]] = True
    return first


def held_out_accuracy(name: str, rounds: int = 100) -> float:
    """Balanced accuracy at a threshold that other images set, the mean of splits."""
    values, member = scores(name)
    rng = np.random.default_rng(0)
    found = np.zeros(rounds)
    for i in range(rounds):
        first = halves(member, rng)
        curve = roc(values[first], member[first])
        best = curve.thresholds[np.argmax(curve.tpr - curve.fpr)]
        called, rest = values >= best, ~first
        tpr = called[rest & member].mean()
        found[i] = 0.5 + 0.5 * (tpr - called[rest & ~member].mean())
    return float(found.mean())


def threshold() -> Size:
    """Balanced accuracy ("ASR") at the threshold that is best for the test images."""
    cases = {
        "told no text": "text/tuned/untold",
        "told a similar caption": "text/tuned/similar",
        "Pang & Wang, attack II": "pang_wang/tuned/II-mean",
        "told the own caption": "text/tuned/loss",
    }
    rows = []
    for title, name in cases.items():
        best = per_cent(balanced_accuracy(*scores(name)))
        held = per_cent(held_out_accuracy(name))
        rows.append((title, f"{auc(*scores(name)):.2f}", best, held))
    head = ("attack", "AUC", "best for the test images", "set on the other half")
    text = (
        "Balanced accuracy of three attacks at chance and one that works; the last "
        "column sets the threshold on one half of the images and judges the other, the "
        f"mean of 100 splits.\n\n{table(head, rows)}"
    )
    best, held = rows[1][2:]
    return Size("balanced accuracy, an attack at chance", best, held, text)


def best_time() -> Size:
    """The best column on the test images, beside the one that was chosen before."""
    rows = []
    for name in ("text/tuned/loss", "text/tuned/similar", "laion_mi/tuned/wrong_start"):
        c = columns(name)
        assert c is not None
        j, k = int(c.chosen or 0), int(c.auc[0].argmax())
        shown = [unit(Estimate(*at)) for at in c.auc[:, [j, k]].T]
        low = c.tpr[0.01]
        rows.append((f"`{name}`", *shown, per_cent(low[j]), per_cent(low.max())))
    gains = []
    for name in every():
        c = columns(name)
        if c is not None and c.chosen is not None:
            at = c.tpr[0.01]
            pair = at.max() - at[c.chosen], c.auc[0].max() - c.auc[0][c.chosen]
            gains.append(pair)
    tpr, gain = np.array(gains).T
    head = ("attack", "AUC, chosen", "AUC, best", "TPR at 1 % FPR, chosen", "best")
    text = (
        f"{table(head, rows)}\n\nOver the {len(gains)} attacks of this kind in "
        f"docs/results the best column of the test images adds {100 * tpr.mean():.1f} "
        f"points to the TPR at 1 % FPR on average and {100 * tpr.max():.0f} at most, "
        f"and {gain.max():.3f} to the AUC at most. A part of that is luck, and a part "
        "knowledge that an attacker with few known images does not have. The attack "
        "`similar` is at chance; at its best time its interval leaves out 0.5, "
        "and it would pass for a leak."
    )
    return Size("TPR at 1 % FPR, loss of the text model", rows[0][4], rows[0][3], text)


def orientation(shuffles: int = 500) -> Size:
    """max(AUC, 1 - AUC) of scores that know nothing."""
    values, member = scores("text/tuned/untold")
    rng = np.random.default_rng(0)
    null = np.array([auc(values, rng.permutation(member)) for _ in range(shuffles)])
    turned = np.maximum(null, 1 - null)
    private = audit("mini/ddpm-dp").attacks["loss"].auc
    text = (
        f"The scores of `text/tuned/untold` with their labels shuffled {shuffles} "
        f"times have a mean AUC of {null.mean():.3f}; that of max(AUC, 1 - AUC) is "
        f"{turned.mean():.3f}, and one in twenty is above "
        f"{np.quantile(turned, 0.95):.3f}. The loss attack on the private target "
        f"`mini/ddpm-dp` has an AUC of {unit(private)}: turned round, "
        f"and without its interval, {1 - (private.value or 0):.3f} would pass for a "
        "leak through differential privacy."
    )
    wrong, right = f"{turned.mean():.3f}", f"{null.mean():.3f}"
    return Size("mean AUC of shuffled labels", wrong, right, text)


def nearest_point(name: str, fpr: float) -> tuple[float, float]:
    """FPR and TPR of the ROC point whose FPR is nearest to a limit."""
    curve = roc(*scores(name))
    gap = np.abs(curve.fpr - fpr)
    at = np.flatnonzero(gap == gap.min())[-1]
    return float(curve.fpr[at]), float(curve.tpr[at])


def nearest() -> Size:
    """The ROC point nearest to an FPR, beside the last that does not exceed it."""
    names = list(every())
    over = [n for n in names if nearest_point(n, 0.01)[0] > 0.01 * (1 + 1e-9)]
    tied = sum(n.endswith(("-tree", "-neighbours")) for n in over)
    shown = (
        ("laion_mi/tuned/full_300_unguided-tree", 0.01),
        ("cilloni/black/one_shot-psnr-blur-neighbours", 0.01),
        ("cilloni/black/complete-dssim-blur-tree", 0.1),
        ("mini/ddpm/loss", 0.001),
    )
    rows = []
    for name, limit in shown:
        reached, found = nearest_point(name, limit)
        honest = tpr_at_fpr(*scores(name), limit)
        stated = f"{100 * limit:g} %"
        cells = per_cent(found), per_cent(reached, 2), per_cent(honest)
        rows.append((f"`{name}`", stated, *cells))
    head = ("attack", "FPR asked for", "TPR, nearest", "its FPR", "TPR, not exceeding")
    text = (
        f"The nearest point to 1 % exceeds it in {len(over)} of {len(names)} attacks. "
        f"{tied} of these are trees and nearest neighbours, whose scores have many "
        f"ties.\n\n{table(head, rows)}\n\nIn the last row the limit is below what "
        "600 non-members resolve: the nearest point has one false positive, and the "
        "honest number is that at none."
    )
    return Size("TPR at 1 % FPR, a tree on LAION-mi", rows[0][2], rows[0][4], text)


def realised(
    name: str, count: int, cut: Callable[[np.ndarray], float], rounds: int = 300
) -> np.ndarray:
    """FPR on the other non-members of a threshold that `count` of them set [rounds]."""
    values, member = scores(name)
    outside, rng = values[~member], np.random.default_rng(0)
    found = np.zeros(rounds)
    for i in range(rounds):
        order = rng.permutation(outside)
        found[i] = np.mean(order[count:] > cut(order[:count]))
    return found


def on_the_roc(fpr: float) -> Callable[[np.ndarray], float]:
    """The threshold that permits a share of just those non-members who set it."""
    return lambda x: float(np.sort(x)[::-1][allowed(fpr, len(x))])


def resolution() -> Size:
    """A TPR at 0.1 % FPR from too few non-members."""
    rows = []
    for count in (50, 100, 300):
        found = realised("mini/ddpm/likelihood", count, on_the_roc(0.001))
        upper = clopper_pearson(0, count)[1]
        high = np.quantile(found, 0.95)
        cells = per_cent(found.mean(), 2), per_cent(high), per_cent(upper)
        rows.append((str(count), *cells))
    head = ("non-members", "true FPR, mean", "in one of 20, above", "what n shows")
    text = (
        "The likelihood attack on `mini/ddpm` has 600 non-members. Some of them, drawn "
        '300 times, set the threshold of a "TPR at 0.1 % FPR", which is the one that '
        f"none of them passes; the others tell its FPR.\n\n{table(head, rows)}\n\n"
        "The last column is the upper 95 % limit for no false positive among n."
    )
    return Size('FPR of a "0.1 %" that 100 non-members set', "0.10 %", rows[1][1], text)


def few() -> Size:
    """A threshold for 1 % FPR from few non-members, judged by others."""
    name, rows = "mini/ddpm/likelihood", []
    for count in (100, 300):
        cells = [str(count)]
        for cut in (on_the_roc(0.01), lambda x: threshold_at(x, 0.01)):
            found = realised(name, count, cut)
            span = f"{per_cent(found.mean())} ({per_cent(np.quantile(found, 0.95))})"
            cells.append(span)
        rows.append(cells)
    fixed = [
        a.at_fixed_threshold
        for n, a in audit("cilloni/black").attacks.items()
        if n.endswith("tree") and a.at_fixed_threshold
    ]
    found = np.array([f.fpr.value for f in fixed], float)
    head = ("non-members that set it", "the ROC's own threshold", "`threshold_at`")
    text = (
        "A threshold for 1 %, set on some non-members of `mini/ddpm` and held against "
        "the others: the FPR that it comes to, the mean of 300 draws, and in brackets "
        f"what one draw in 20 exceeds.\n\n{table(head, rows)}\n\nRules transfer "
        f"unequally well. Of Cilloni's classifiers on `cilloni/black` the {len(found)} "
        f"trees are set for 1 % and come to {per_cent(found.mean())} on average, "
        f"{per_cent(found.max())} at worst."
    )
    wrong, right = (cell.split(" (")[0] for cell in rows[0][1:])
    return Size("true FPR of a threshold for 1 %", wrong, right, text)


def inverted() -> Size:
    """TPR at 1 % FPR with non-members as the positive class."""
    rows = []
    for name in (
        *("lessons/half/loss", "lessons/long/loss", "lessons/long/baseline"),
        *("pang_wang/tuned/I-mean", "laion_mi/tuned/full_300"),
    ):
        values, member = scores(name)
        mirrored = per_cent(tpr_at_fpr(-values, ~member, 0.01))
        honest = per_cent(tpr_at_fpr(values, member, 0.01))
        rows.append((f"`{name}`", f"{auc(values, member):.3f}", mirrored, honest))
    head = ("attack", "AUC of both", "non-members positive", "members positive")
    text = f"TPR at 1 % FPR. It may be too high or too low.\n\n{table(head, rows)}"
    return Size("TPR at 1 % FPR, loss, 1,000 steps", rows[1][2], rows[1][3], text)


def known_members() -> Size:
    """Pang & Wang's attacks with and without the members that the attacker knew."""
    attacks = audit("pang_wang/tuned").attacks
    rows = []
    for attack, rule in itertools.product(("I", "II"), ("mean", "gaussians", "mlp")):
        ours, theirs = (attacks[f"{attack}-{rule}{s}"] for s in ("", "-published"))
        counts = f"{theirs.known_members} of {theirs.members}"
        rows.append((f"{attack}, `{rule}`", unit(theirs.auc), counts, unit(ours.auc)))
    head = ("attack", "AUC as published", "members known to it", "without them")
    last = rows[-1]
    text = (
        f"{table(head, rows)}\n\nIn attack II the classifier goes from an interval "
        "that leaves out 0.5 to chance: nothing is left of what it seemed to find."
    )
    return Size("AUC, attack II, classifier", last[1], last[3], text)


def shifted() -> Size:
    """An AUC on groups that differ by themselves, and its margin."""
    rows = []
    for title, name in (("as drawn", "shifted"), ("sanitised", "mended")):
        a = audit(f"lessons/{name}").attacks["drawn"]
        blind = (a.auc.value or 0) - (a.margin.value if a.margin else 0)
        counts = f"{a.members} / {a.nonmembers}"
        rows.append((title, counts, unit(a.auc), f"{blind:.3f}", signed(a.margin)))
    head = ("split", "n", "AUC of the attack", "blind classifier", "margin")
    text = (
        "The black-box attack of `lessons`, one drawn image a candidate, on members "
        "that are brighter than the non-members, and on the same pools after "
        f"`score-mia sanitise`.\n\n{table(head, rows)}\n\nThe two AUCs are alike. "
        "The first shows nothing of the model; the second does."
    )
    return Size("AUC, and what of it is the model's", rows[0][2], rows[0][4], text)


def duplicates() -> Size:
    """Non-members that are copies of members, simulated."""
    rows = []
    for name in ("mini/ddpm/loss", "lessons/long/baseline"):
        values, member = scores(name)
        outside = np.flatnonzero(~member)
        cells = [per_cent(tpr_at_fpr(values, member, 0.01))]
        for part in (0.01, 0.02, 0.05):
            found = []
            for seed in range(50):
                rng = np.random.default_rng(seed)
                mixed = values.copy()
                some = rng.choice(outside, round(part * len(outside)), replace=False)
                mixed[some] = rng.choice(values[member], len(some))
                found.append(tpr_at_fpr(mixed, member, 0.01))
            cells.append(per_cent(float(np.mean(found))))
        rows.append((f"`{name}`", *cells))
    head = ("TPR at 1 % FPR", "no copies", "1 % copies", "2 %", "5 %")
    text = (
        "No audit in docs/results reports near-duplicates across its split, so this is "
        "a simulation on its scores: a share of the non-members gets the scores of "
        f"members, drawn 50 times.\n\n{table(head, rows)}"
    )
    return Size("TPR at 1 % FPR, 2 % copies", rows[0][3], rows[0][1], text)


def captions() -> Size:
    """What the prompt is worth."""
    attacks = audit("text/tuned").attacks
    own, similar, none = (attacks[n].auc for n in ("loss", "similar", "untold"))
    text = (
        f"One model, one attack (`text/tuned`): AUC {unit(own)} with each image's own "
        f"caption, {unit(similar)} with the caption of a similar image, {unit(none)} "
        "with none."
    )
    return Size("AUC, own caption; no caption", unit(own), unit(none), text)


def length() -> Size:
    """The same target, attacked along its training."""
    rows = []
    for name in ("brief", "half", "long"):
        result = audit(f"lessons/{name}")
        a, steps = result.attacks["baseline"], result.target.steps
        cells = unit(a.auc), rate(a.tpr_at_fpr[0.01])
        rows.append((f"{steps:,}", *cells))
    head = ("steps", "AUC", "TPR at 1 % FPR")
    text = f"LAION-mi's baseline on one fine-tuning:\n\n{table(head, rows)}"
    return Size("AUC after 1,000 steps; after 250", rows[2][1], rows[0][1], text)


def no_interval(rounds: int = 100) -> Size:
    """Mean and spread of resamples, beside an interval."""
    name = "laion_mi/tuned/full_300_unguided"
    values, member = scores(name)
    rng = np.random.default_rng(0)
    parts = [halves(member, rng) for _ in range(rounds)]
    draws = [tpr_at_fpr(values[p], member[p], 0.01) for p in parts]
    attacks = audit("laion_mi/tuned").attacks
    plain = [a for n, a in attacks.items() if not n.endswith(("-logistic", "-tree"))]
    ends = [a.tpr_at_fpr[0.01].interval for a in plain]
    pairs = list(itertools.combinations(ends, 2))
    apart = sum(a[1] > b[2] or b[1] > a[2] for a, b in pairs)
    mean, spread = 100 * np.mean(draws), 100 * np.std(draws)
    shown = rate(attacks["full_300_unguided"].tpr_at_fpr[0.01])
    text = (
        f"`{name}`, TPR at 1 % FPR with 188 members and 300 non-members: {rounds} "
        f"resamples of half of the images give {mean:.1f} ± {spread:.1f} % (mean and "
        "standard deviation), and the "
        f"interval is {shown}, since three images decide about the threshold. Of the "
        f"{len(pairs)} pairs of LAION-mi's {len(plain)} settings, {apart} have "
        "intervals that lie apart at this rate: it orders no two of them."
    )
    wrong = f"{mean:.1f} ± {spread:.1f} %"
    return Size("TPR at 1 % FPR, one setting", wrong, shown, text)


def many() -> Size:
    """The best of many attacks on shuffled labels."""
    rows = []
    for name in ("cilloni/grey", "cilloni/black", "laion_mi/tuned"):
        null = [a.permuted for a in audit(name).attacks.values() if a.permuted]
        value = np.array([e.value for e in null], float)
        out = sum((e.low or 0) > 0.5 for e in null)
        cells = f"{value.mean():.3f}", f"{value.max():.3f}"
        rows.append((f"`{name}`", str(len(null)), *cells, str(out)))
    head = ("audit", "attacks", "mean", "best", "intervals above 0.5")
    text = (
        "AUC with shuffled labels, which must be 0.5; the attacks of an audit share "
        f"one shuffle, so their numbers move together:\n\n{table(head, rows)}"
    )
    return Size("best AUC with shuffled labels", rows[2][3], rows[2][2], text)


def least_squares(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Fitted on rows x [n, K] with labels y, read at other rows."""
    design, there = (np.c_[a, np.ones(len(a))] for a in (x, at))
    return there @ np.linalg.lstsq(design, y - 0.5, rcond=None)[0]


def own_images() -> Size:
    """A rule that is judged on the images it was fitted on."""
    names = [
        f"pang_wang/tuned/{n}"
        for n in sorted(audit("pang_wang/tuned").attacks)
        if n.startswith(("II-", "IV-", "untold")) and not n.endswith("published")
    ]
    member = scores(names[0])[1]
    x = np.stack([scores(n)[0] for n in names], 1)
    x = (x - x.mean(0)) / x.std(0)
    label = member.astype(float)
    fitted = auc(least_squares(x, label, x), member)
    crossed = []
    for seed in range(20):
        fold = np.random.default_rng(seed).permutation(len(member)) % 5
        out = np.zeros(len(member))
        for j in range(5):
            test = fold == j
            out[test] = least_squares(x[~test], label[~test], x[test])
        crossed.append(auc(out, member))
    best = max(auc(x[:, k], member) for k in range(len(names)))
    text = (
        f"{len(names)} attacks of `pang_wang/tuned` that are all at chance (AUC at "
        f"most {best:.3f}), combined by least squares on {len(member)} images: AUC "
        f"{fitted:.3f} on the images of the fit, {np.mean(crossed):.3f} cross-fitted "
        "in five folds (mean of 20 deals; where nothing is to be found cross-fitting "
        "tends to fall below 0.5)."
    )
    right = f"{np.mean(crossed):.3f}"
    return Size("AUC of attacks at chance, combined", f"{fitted:.3f}", right, text)


def area() -> Size:
    """Attacks with one AUC and different rates of confident accusations."""
    attacks = audit("cilloni/grey").attacks
    pair = ("complete-dssim-bayes", "complete-rmse-svm")
    rows = [
        (f"`{n}`", unit(attacks[n].auc), rate(attacks[n].tpr_at_fpr[0.01]))
        for n in pair
    ]
    text = "Two of the attacks of `cilloni/grey`, looked for among all pairs:\n\n"
    text += table(("attack", "AUC", "TPR at 1 % FPR"), rows)
    same = " and ".join(f"{attacks[n].auc.value:.3f}" for n in pair)
    same = f"AUC {same}"
    low, high = (per_cent(attacks[n].tpr_at_fpr[0.01].value) for n in pair)
    return Size("two attacks", same, f"TPR {low} and {high}", text)


def clocks() -> Size:
    """How late a leak ends, by the step and by the log-SNR."""
    rows = []
    for name in ("ddpm", "smld"):
        c = columns(f"mini/{name}/loss")
        assert c is not None
        last = int(np.flatnonzero(c.auc[0] >= 0.75)[-1])
        cells = f"{c.time[last]:.0f} of 999", f"{c.log_snr[last]:+.1f}"
        rows.append((name.upper(), *cells))
    head = ("process", "last step with an AUC of 0.75 or more", "its log-SNR")
    text = (
        f"{table(head, rows)}\n\nBy the step SMLD seems to leak up to more noise than "
        "DDPM; by the noise it is the other way round."
    )
    wrong, right = (f"{a} / {b}" for a, b in zip(*(r[1:] for r in rows), strict=True))
    return Size("end of the leak, DDPM / SMLD", wrong, f"log-SNR {right}", text)


def noise_level() -> Size:
    """The network told another noise level than the image has; LAION-mi's settings."""
    found = {}
    for name in ("wrong_start", "partial"):
        c = columns(f"laion_mi/tuned/{name}")
        assert c is not None
        at = c.names.index("model@300")
        found[name] = unit(Estimate(*c.auc[:, at])), per_cent(c.tpr[0.01][at])
    wrong, right = found["wrong_start"], found["partial"]
    same = np.abs(
        scores("laion_mi/tuned/latent_shift_as_published")[0]
        - scores("laion_mi/tuned/partial")[0]
    ).max()
    text = (
        "LAION-mi's setting `wrong_start` noises the image to level 100 and asks the "
        f"network at 300. The network's error there has an AUC of {wrong[0]} and finds "
        f"{wrong[1]} at 1 % FPR; with the noise that belongs to 300 (`partial`) "
        f"{right[0]} and {right[1]}. The latent shift that their code never adds "
        f"changes no score by more than {same:g}."
    )
    return Size("TPR at 1 % FPR at level 300", wrong[1], right[1], text)


def distances() -> Size:
    """The Fréchet distance of two groups of one source."""
    rows = []
    for name in ("ddpm-dp", "ddpm-dp-1024"):
        quality = audit(f"mini/{name}").target.quality
        assert quality is not None
        apart = quality.members_to_nonmembers
        k = apart.kid
        kid = f"{k.value:+.3f} [{k.low:+.3f}, {k.high:+.3f}]"
        count = f"{k.n[0]} and {k.n[1]}"
        rows.append((count, f"{apart.frechet.value:.0f}", kid))
    head = ("images", "Fréchet distance", "KID")
    text = (
        "Real members to real non-members of one source, which perfect samples would "
        f"reach, in the features of EfficientNet-Lite0:\n\n{table(head, rows)}"
    )
    return Size("Fréchet distance of 64 images; of 400", rows[0][1], rows[1][1], text)


def private() -> Size:
    """What a failing attack says of differential privacy."""
    rows = []
    for name, title in (
        ("ddpm", "not private"),
        ("ddpm-clip-only", "clipped, no noise"),
        ("ddpm-noise-only", "noise, not clipped"),
        ("ddpm-dp-loose", "private, loosely"),
        ("ddpm-dp", "private"),
    ):
        result = audit(f"mini/{name}")
        facts, a = result.target.privacy, result.attacks["loss"]
        given = None if facts is None else facts.epsilon_pld
        bound = a.epsilon_lower_bound
        assert bound is not None
        shown = "none" if given is None else f"{given:.0f}"
        most = f"{bound.value:.2f} of {bound.largest:.2f}"
        rows.append((title, shown, unit(a.auc), most))
    head = ("target", "ε accounted", "AUC of the loss", "ε shown, of at most")
    text = (
        f"{table(head, rows)}\n\nThe loss is at chance under noise that guarantees "
        "nothing, and under an ε of 1,000, which forbids nothing. And no attack on 48 "
        "+ 300 images could have shown an ε above the last number."
    )
    number = "AUC under ε = 10; under noise without guarantee"
    return Size(number, rows[4][2], rows[2][2], text)


SIZES: dict[str, Callable[[], Size]] = {
    "threshold": threshold,
    "best_time": best_time,
    "own_images": own_images,
    "many": many,
    "known_members": known_members,
    "inverted": inverted,
    "orientation": orientation,
    "nearest": nearest,
    "resolution": resolution,
    "few": few,
    "no_interval": no_interval,
    "area": area,
    "shifted": shifted,
    "duplicates": duplicates,
    "captions": captions,
    "length": length,
    "clocks": clocks,
    "noise_level": noise_level,
    "distances": distances,
    "private": private,
}
"""The mistakes of pitfalls.md, in its order."""


@functools.cache
def size(name: str) -> Size:
    """Measured once, for the table and the section."""
    return SIZES[name]()


def sizes() -> str:
    """All mistakes, a line each."""
    page = (HERE / "pitfalls.md").read_text(encoding="utf-8")
    rows = []
    for name in SIZES:
        before = page[: page.index(f"<!-- made: {name} -->")]
        title = re.findall(r"^### (.*)$", before, re.MULTILINE)[-1]
        anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        one = size(name)
        rows.append((f"[{title}](#{anchor})", one.number, one.wrong, one.right))
    return table(("mistake", "number", "with it", "as it is"), rows)


def section(name: str) -> Callable[[], str]:
    """What was found of one mistake."""
    return lambda: size(name).text


BLOCKS: dict[str, Callable[[], str]] = {
    "sizes": sizes,
    **{name: section(name) for name in SIZES},
    **example.BLOCKS,
    **board.BLOCKS,
    **speed.BLOCKS,
}


def page(name: str) -> str:
    """A page, its blocks made again."""
    text = (HERE / name).read_text(encoding="utf-8")

    def made(found: re.Match[str]) -> str:
        # A report's no-break spaces are of no use in Markdown.
        told = BLOCKS[found[2]]().replace("\N{NO-BREAK SPACE}", " ")
        return f"{found[1]}{told}\n{found[3]}"

    return BLOCK.sub(made, text)


def main() -> int:
    """Write the pages, or check them."""
    differ = 0
    for name in PAGES:
        path, text = HERE / name, page(name)
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif text != path.read_text(encoding="utf-8"):
            print(f"{path} is not current: run `python docs/pitfalls.py`")
            differ = 1
    return differ


if __name__ == "__main__":
    sys.exit(main())
