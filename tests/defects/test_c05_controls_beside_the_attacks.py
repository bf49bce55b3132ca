"""The README promised a blind classifier in every report; no report showed it.

Without it a reader cannot tell a leak of the model from groups that differ by
themselves.
"""

from __future__ import annotations

import csv
import io
import json

import pytest

from score_mia.auditing import plan as build
from score_mia.auditing.study import planned
from score_mia.report import table, table_text, write
from score_mia.report.exhibits import Audit
from score_mia.report.exhibits.page import Shown, _audit
from tests.auditing.tiny import get_config as tiny
from tests.report.example import CONTROLS, attack, bare
from tests.report.example import controls as typed
from tests.report.test_page import Page


def content(**controls):
    return bare(attack(n=(20, 60)), controls=typed(**controls))


def page_of(folder, report):
    return Page(write(folder, report).read_text(encoding="utf-8")).text


SAID = (
    *("AUC 0.507", "[0.431, 0.583], p = 0.43, 40 members, 150 non-members"),
    *("3 pairs", "1 identical, of 3 members and 2 non-members, RMSE below 0.039"),
    *("5 of 80 members", "3 identical, the largest of 2 groups 3 images"),
    *("KID -0.0012", "[-0.004, 0.002], n = 40 and 150, seen by random_conv"),
)


def flat(text):
    return " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split())


def test_the_page_the_terminal_and_latex_show_the_controls(tmp_path):
    report = content(**CONTROLS)
    page = page_of(tmp_path, report)
    assert page.index("Controls:") < page.index("How well members stand out")
    terminal = flat(table_text(report.result))
    tex = flat(
        (tmp_path / "attacks.tex").read_text().replace("~", " ").replace(r"\_", "_")
    )
    for words in SAID:
        for text in (page, terminal, tex):
            assert words in text
    assert max(map(len, table_text(report.result).splitlines())) <= 80


def test_the_csv_has_the_controls_in_full_precision():
    text = table.attacks_csv(content(**CONTROLS).result)
    rows = {(r["attack"], r["measure"]): r for r in csv.DictReader(io.StringIO(text))}
    blind = rows["control: Blind classifier", "auc"]
    auc = CONTROLS["blind"]["auc"]
    assert [float(blind[k]) for k in ("value", "low", "high")] == [
        auc[k] for k in ("value", "low", "high")
    ]
    assert (blind["members"], blind["nonmembers"]) == ("40", "150")
    assert float(rows["control: Blind classifier", "p_value"]["value"]) == 0.43
    shift = rows["control: Shift of the groups", "kid[random_conv]"]
    assert [float(shift[k]) for k in ("value", "low", "high")] == [
        -0.0012,
        -0.004,
        0.002,
    ]
    pairs = rows["control: Near-duplicates", "pairs"]
    assert float(pairs["value"]) == 3
    repeated = rows["control: Repeated members", "largest"]
    assert float(repeated["value"]) == 3


@pytest.mark.parametrize(
    "missing", ["blind", "near_duplicates", "repeats", "shift", "p_value"]
)
def test_older_files_without_a_control_say_so(tmp_path, missing):
    entries = json.loads(json.dumps(CONTROLS))
    (entries["blind"] if missing == "p_value" else entries).pop(missing)
    report = content(**entries)
    page = page_of(tmp_path, report)
    expected = int(missing != "p_value")
    assert page.count("not measured") == expected
    assert table_text(report.result).count("not measured") == expected
    assert "None" not in (tmp_path / "attacks.tex").read_text()


def test_no_near_duplicates_are_none():
    none = {"pairs": 0, "exact_pairs": 0, "members": 0, "nonmembers": 0}
    entry = {**none, "threshold": 0.0392}
    text = table_text(content(near_duplicates=entry).result)
    assert "near-duplicates      none, RMSE below 0.039\n" in text


def test_no_controls_at_all_is_told(tmp_path):
    report = bare(attack(n=(20, 60)))
    assert page_of(tmp_path, report).count("not measured") == 4
    assert table_text(report.result).count("not measured") == 4


def test_a_study_tells_the_controls_of_each_audit(tmp_path):
    content(**CONTROLS).result.save(tmp_path)
    one = Audit("a", "A", planned(build.plan(tiny())), tmp_path)
    shown = Shown("", {"a": "A"}, {}, {"a": one}, {}, {}, {})
    assert "blind classifier AUC 0.507" in _audit("a", shown)["controls"]
