"""Tables: what is written parses back to the same numbers."""

from __future__ import annotations

import csv
import dataclasses
import io

import numpy as np
import pytest

from score_mia.metrics.roc import tpr_at_fpr
from score_mia.report import table, table_text
from score_mia.report.curves import finite_roc
from score_mia.report.text import level, share, unit

from .example import attack, drawn, metrics_of


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def attacks():
    return attack(), attack(name='other, "quoted"', title="Other", shift=0.5, seed=3)


@pytest.fixture(scope="module")
def metrics(attacks):
    return metrics_of(attacks)


def test_attacks_csv_parses_back(metrics):
    rows = rows_of(table.attacks_csv(metrics))
    for name, entry in metrics.attacks.items():
        expected = {("auc", ""): entry.auc}
        expected[("balanced_accuracy", "")] = entry.balanced_accuracy
        expected[("tpr_at_zero_fp", "")] = entry.tpr_at_zero_fp
        expected |= {("tpr", f"{f:g}"): e for f, e in entry.tpr_at_fpr.items()}
        mine = [r for r in rows if r["attack"] == name]
        seen = {(r["measure"], r["fpr"]): r for r in mine if r["resolvable"]}
        assert seen.keys() == expected.keys()
        for key, e in expected.items():
            for part in ("value", "low", "high"):
                said = seen[key][part]
                assert (float(said) if said else None) == getattr(e, part)
            assert seen[key]["resolvable"] == str(e.resolvable)
            assert (seen[key]["members"], seen[key]["nonmembers"]) == ("40", "150")
        cost = {r["measure"]: float(r["value"]) for r in mine if not r["resolvable"]}
        assert cost == {"network_evaluations_per_image": 5, "seconds": 1.25}


def test_roc_csv_holds_the_exact_conservative_rates(attacks):
    curves = {a.name: finite_roc(a.scores, a.member) for a in attacks}
    rows = rows_of(table.roc_csv(curves))
    for a in attacks:
        mine = [r for r in rows if r["attack"] == a.name]
        assert float(mine[0]["fpr"]) == 1 / 150
        assert float(mine[-1]["fpr"]) == 1
        for row in mine:
            expected = tpr_at_fpr(a.scores, a.member, float(row["fpr"]))
            assert float(row["tpr"]) == expected
            assert float(row["low"]) <= expected <= float(row["high"])


def test_by_step_csv_agrees_with_counting(attacks):
    rows = rows_of(table.by_step_csv(attacks))
    assert len(rows) == 10
    for a, values in zip(attacks, (drawn()[0], drawn(0.5, seed=3)[0]), strict=True):
        mine = [r for r in rows if r["attack"] == a.name]
        for k, row in enumerate(mine):
            inside, outside = values[a.member, k], values[~a.member, k]
            wins = np.mean(inside[:, None] > outside[None])
            assert float(row["auc"]) == pytest.approx(wins, abs=1e-12)
            assert float(row["auc_low"]) < wins < float(row["auc_high"])
            bar = np.sort(outside)[-16]  # 15 of 150 non-members lie above it
            assert float(row["tpr@0.1"]) == np.mean(inside > bar)
            assert row["tpr@0.001"] == row["tpr@0.001_high"] == ""
            assert float(row["log_snr"]) == a.stepped.log_snr[k]
            assert row["chosen"] == str(k == 2)


def test_a_perfect_column_is_not_certain():
    a = attack(shift=60.0)
    auc = a.stepped.curves.auc[:, 2]
    # 40 of 40: Clopper-Pearson's lower limit is 0.025 ** (1 / 40).
    assert auc == pytest.approx([1, 0.025 ** (1 / 40), 1], abs=1e-9)


def test_terminal_table_has_intervals_and_fits(metrics):
    text = table_text(metrics)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("below resolution (n = 150)") == 4
    for entry in metrics.attacks.values():
        value, low, high = entry.auc.interval
        assert f"{value:.3f} [{low:.3f}, {high:.3f}]" in text
        value, low, high = (100 * x for x in entry.tpr_at_fpr[0.1].interval)
        assert f"{value:.1f} % [{low:.1f}, {high:.1f}] %" in text
    line = next(x for x in text.splitlines() if x.startswith("AUC"))
    head = text.splitlines()[0]
    # Aligned: every attack's name stands above its first number.
    for name, entry in metrics.attacks.items():
        at = head.index(name)
        assert line[at:].startswith(f"{entry.auc.value:.3f}")


def test_terminal_table_wraps_many_attacks(metrics):
    names = [f"attack-{i}" for i in range(5)]
    entry = metrics.attacks["loss"]
    many = dict.fromkeys(names, entry)
    text = table_text(dataclasses.replace(metrics, attacks=many))
    assert max(map(len, text.splitlines())) <= 80
    assert all(text.count(name) == 1 for name in names)
    assert text.count(f"{entry.auc.value:.3f} [") == 5


def test_terminal_table_without_attacks(metrics):
    assert table_text(dataclasses.replace(metrics, attacks={})) == "no attack was run\n"


def test_rows_of_an_attack_that_held_some_back_say_so(metrics):
    entry = dataclasses.replace(metrics.attacks["loss"], nonmembers=75)
    less = dataclasses.replace(metrics, attacks={"loss": entry})
    assert "below resolution (n = 75)" in table_text(less)
    assert "40 / 75" in table_text(less)


def test_latex_escapes_every_command_character():
    assert table.latex(r"a_b & 50% #1 $x$ {y} \z ~ ^ <>") == (
        r"a\_b \& 50\% \#1 \$x\$ \{y\} \textbackslash{}z \textasciitilde{} "
        r"\textasciicircum{} \textless{}\textgreater{}"
    )
    assert table.latex("one\ntwo % three") == r"one two \% three"


def test_latex_table_is_well_formed(metrics):
    text = table.attacks_tex(metrics, {"loss": "[loss] & co_\\input{x}"})
    lines = text.splitlines()
    columns = lines[1].count("r") - "tabular".count("r")
    assert r"\toprule" in lines
    assert lines[-1] == r"\end{tabular}"
    body = [x for x in lines if x.endswith(r"\\")]
    assert len(body) == 1 + 2 * 2
    for line in body:
        cells = line.replace(r"\&", "").count("&")
        assert cells == columns
        assert not line.lstrip().startswith(("[", "*"))
    assert r"{[loss] \& co\_\textbackslash{}input\{x\}}" in text
    assert text.count("below resolution") == 4
    assert all("%" not in x.replace(r"\%", "") for x in lines[1:])


@pytest.mark.parametrize(
    ("value", "percent", "plain"),
    [
        (0.0, "0.0 %", "0.000"),
        (1.0, "100.0 %", "1.000"),
        (0.9996, ">99.9 %", ">0.999"),
        (0.0004, "<0.1 %", "<0.001"),
        (0.82, "82.0 %", "0.820"),
    ],
)
def test_rounding_never_reaches_certainty(value, percent, plain):
    assert share(value).replace("\xa0", " ") == percent
    assert unit(value) == plain


def test_levels_read_as_people_write_them():
    said = [level(f).replace("\xa0", " ") for f in (0.1, 0.01, 0.001, 0.0001, 1e-5)]
    assert said == ["10 %", "1 %", "0.1 %", "0.01 %", "0.001 %"]
