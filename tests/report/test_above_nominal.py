"""An FPR above nominal stands beside the attack wherever its FPR is told."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from score_mia.auditing import plan as build
from score_mia.auditing.study import planned
from score_mia.auditing.verify import verify
from score_mia.files import load_sealed, save_sealed
from score_mia.metrics.intervals import evaluate, proportion, widened
from score_mia.report import AttackContent, table, table_text, write
from score_mia.report.exhibits import Audit
from score_mia.report.exhibits.attacks import AttackGrid, AttackTable
from score_mia.report.exhibits.page import tex
from score_mia.report.files import FACTS, save_attack, save_facts
from score_mia.report.text import PROMISES, above_nominal, thresholds
from tests.auditing.tiny import get_config as tiny
from tests.report.example import bare
from tests.report.test_page import Page

SAID = "above nominal: a nominal FPR of 1 % became 4.0 % [2.5, 6.1] % (20 of 500 non-"
HONEST = "a nominal FPR of 1 % became 1.0 % [0.3, 2.3] % (5 of 500 non-members)"


def attack(name, accused, n=500):
    """An attack whose threshold of 0, set for 1 %, accuses so many of n."""
    rng = np.random.default_rng(accused)
    outside = -rng.uniform(0.1, 1, n)
    outside[:accused] *= -1
    scores = np.concatenate([rng.uniform(-1, 2, 40), outside])
    member = np.arange(len(scores)) < 40
    entry = evaluate(scores, member, replicates=100, threshold=0.0)
    fixed = dataclasses.replace(entry.at_fixed_threshold, nominal_fpr=0.01)
    entry = dataclasses.replace(
        entry, title=name, calibration_nonmembers=99, at_fixed_threshold=fixed
    )
    return AttackContent(name, entry, scores, member)


@pytest.fixture(scope="module")
def report():
    content = bare(attack("greedy", 20), attack("honest", 5))
    result = dataclasses.replace(content.result, seed=0)
    return dataclasses.replace(content, result=result, facts=thresholds(result))


@pytest.fixture
def folder(report, tmp_path):
    """What an audit leaves of these."""
    report.result.save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"report": {"replicates": 100}}))
    for one in report.attacks:
        save_attack(tmp_path, one, np.arange(len(one.scores)), {}, "")
    save_facts(tmp_path, report.result, report.facts, [])
    return tmp_path


def flat(text):
    return " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split())


def test_the_page_the_terminal_latex_and_csv_tell_it(report, tmp_path):
    page = flat(Page(write(tmp_path, report).read_text(encoding="utf-8")).text)
    terminal = flat(table_text(report.result))
    plain = (tmp_path / "attacks.tex").read_text().replace("~", " ")
    latex = flat(plain.replace(r"\%", "%").replace(r"$^\S$", "§"))
    for text in (page, terminal, latex):
        assert (
            f"§ greedy: {SAID}members). The fixed threshold, set on 99 others" in text
        )
        assert "§ honest" not in text
    assert "4.0 %§ [2.5, 6.1] %" in terminal
    assert page.count("FPR above nominal §") == 1
    assert f"{HONEST}" in page  # among the facts, with no flag
    assert f"{HONEST}: above" not in page
    rows = csv.DictReader(io.StringIO(table.attacks_csv(report.result)))
    remarks = {(r["attack"], r["measure"]): r["remark"] for r in rows}
    assert remarks["greedy", "fpr_at_fixed_threshold"].startswith(SAID)
    assert remarks["greedy", "auc"] == ""
    assert not remarks["honest", "fpr_at_fixed_threshold"]


def test_a_study_tells_it_in_its_tables(folder):
    one = Audit("a", "A", planned(build.plan(tiny())), folder)
    built = AttackTable().build([one])
    cells = {r.cells[0].value: r.cells[4] for r in built.table.rows}
    assert flat(cells["greedy"].value) == "1 % to 4.0 %"
    assert flat(cells["greedy"].below) == "[2.5, 6.1] %, above nominal"
    assert "above" not in cells["honest"].below
    grid = AttackGrid(cells=dict(row=dict(one="greedy", other="honest")))
    for exhibit in (built, grid.build([one])):
        caption = flat(exhibit.caption)
        assert "“Above nominal”: the realised FPR's lower limit exceeds" in caption
        assert f"(greedy: {SAID.removeprefix('above nominal: ')}members))." in caption
        rows = list(csv.DictReader(io.StringIO(exhibit.csv)))
        told = {
            r["attack"]: r for r in rows if r["measure"] == "fpr_at_fixed_threshold"
        }
        flags = {name: r["above_nominal"] for name, r in told.items()}
        assert flags == {"greedy": "True", "honest": "False"}
        assert {r["nominal_fpr"] for r in told.values()} == {"0.01"}
        assert "above nominal" in tex("t", "T", exhibit).lower()


def test_an_honest_study_says_nothing(folder):
    one = Audit("a", "A", planned(build.plan(tiny())), folder)
    assert "nominal”" not in AttackTable(attacks=("honest",)).build([one]).caption


def test_verify_makes_the_flag_again_and_facts_must_agree(folder):
    verdict = verify(folder)
    assert verdict.differing == []
    (line,) = verdict.above
    assert line.startswith(f"greedy: {SAID}")
    assert line in verdict.text
    kept = load_sealed(folder / FACTS)
    assert dict(kept["facts"])[PROMISES][0][1].endswith(": above nominal")
    # Cut by hand, and sealed again.
    facts = json.loads(json.dumps(kept["facts"]).replace(": above nominal", ""))
    save_sealed(folder / FACTS, {**kept, "facts": facts})
    (change,) = verify(folder).differing
    assert change.name == f"{PROMISES}.greedy"
    assert change.now.endswith(": above nominal")
    assert "facts.json says" in verify(folder).text
    save_sealed(folder / FACTS, {**kept, "facts": []})  # of an earlier version
    assert verify(folder).differing == []


def test_limits_of_cross_fitted_rates_are_made_again(report, folder):
    attacks = dict(report.result.attacks)
    entry = attacks["greedy"]
    rate = widened(proportion(20, 500), 2.0)
    again = evaluate(
        report.attacks[0].scores, report.attacks[0].member, replicates=100, excess=2.0
    )
    for low, differing in ((rate.low, 0), (0.009, 1)):
        fixed = dataclasses.replace(
            entry.at_fixed_threshold,
            fpr=dataclasses.replace(rate, low=low),
            tpr=widened(entry.at_fixed_threshold.tpr, 2.0),
        )
        attacks["greedy"] = dataclasses.replace(
            again, excess=2.0, at_fixed_threshold=fixed
        )
        changed = dataclasses.replace(report.result, attacks=attacks)
        assert bool(above_nominal(attacks["greedy"])) == (not differing)
        changed.save(folder)
        save_facts(folder, changed, {}, [])
        assert len(verify(folder).differing) == differing
