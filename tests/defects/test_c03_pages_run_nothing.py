"""Pages had no content policy, cells could be formulas, escapes reached the terminal.

A reader who opened a report (or its CSV in a spreadsheet) trusted every name in it: an
attack or an audit called "=HYPERLINK(...)" was run, and one with an escape sequence
wrote over the terminal.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re

import numpy as np
import pytest

from score_mia.check import printable
from score_mia.report import table, table_text, write
from score_mia.report.page import TEMPLATES, template
from tests.report.example import attack, bare, full, metrics_of
from tests.report.test_page import Page

POLICY = {
    "default-src": "'none'",
    "img-src": "data:",
    "style-src": "'unsafe-inline'",
    "base-uri": "'none'",
    "form-action": "'none'",
}
FORMULAS = (
    "=1+1",
    "+1+A1",
    "-2+A1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "\N{FULLWIDTH EQUALS SIGN}1",
)
HOSTILE = "<script>alert(1)</script>"
ESCAPE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202etxt.exe\u2066\r\n"


def policy(text):
    """The page's policy, which must be what follows its charset."""
    head = text[text.index("<head>") :]
    meta = (
        r'<head>\s*<meta charset="utf-8">\s*<meta http-equiv="Content-Security-Policy"'
    )
    content = re.match(meta + r' content="([^"]*)">', head)
    assert content is not None
    parts = (part.strip().partition(" ") for part in content.group(1).split(";"))
    return {name: value for name, _, value in parts}


def study_page():
    values = {"title": "t", "css": "", "audits": [], "exhibits": []}
    values["pictures"] = []
    return template("study.html.j2").render(values)


def test_every_template_is_a_page_tested_here():
    pages = {
        path.name
        for path in TEMPLATES.glob("*.j2")
        if "<html" in path.read_text(encoding="utf-8")
    }
    assert pages == {"report.html.j2", "study.html.j2", "pairs.html.j2"}


def test_the_study_page_has_the_policy():
    assert policy(study_page()) == POLICY


def test_the_page_of_pairs_has_the_policy_and_runs_no_name():
    pair = ("data:image/png;base64,AA", "data:image/png;base64,BB", HOSTILE)
    values = {"title": HOSTILE, "css": "", "groups": {HOSTILE: [pair]}}
    text = template("pairs.html.j2").render(values)
    assert policy(text) == POLICY
    assert "<script" not in text


def test_the_report_has_the_policy_and_keeps_to_it(tmp_path):
    text = write(tmp_path, full()).read_text(encoding="utf-8")
    assert policy(text) == POLICY
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "form", "base"} & set(page.tags)
    assert not [key for _, key, _ in page.attributes if key.startswith("on")]
    sources = [v for key in ("src", "srcset", "data") for v in page.values(key)]
    assert all(uri.startswith("data:image/") for uri in sources)
    assert all(link.startswith("#") for link in page.values("href"))


@pytest.mark.parametrize("name", FORMULAS)
def test_no_text_of_a_csv_is_a_formula(name):
    metrics = metrics_of([attack(name=name)])
    tables = (
        table.attacks_csv(metrics),
        table.csv_text(("attack", name), [(name, -1.5, "-0.25", -3, "1e-3")]),
    )
    for text in tables:
        for row in csv.reader(io.StringIO(text)):
            for cell in row:
                assert cell[:1] not in ("\t", "\r", "\n")
                number = re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell)
                start = cell.lstrip()[:1]
                assert number or start not in set("=+-@\N{FULLWIDTH EQUALS SIGN}")


def test_negative_numbers_stay_numbers():
    text = table.csv_text(("x",), [(-1.5,), ("-0.25",), (-3,), (np.float64(-1e-9),)])
    assert [float(x) for x in text.split()[1:]] == [-1.5, -0.25, -3, -1e-9]


def test_no_control_character_reaches_the_terminal_csv_or_latex():
    metrics = metrics_of([attack(name=ESCAPE)])
    titles = {ESCAPE: ESCAPE}
    for text in (
        table_text(metrics),
        table.attacks_csv(metrics),
        table.attacks_tex(metrics, titles),
    ):
        assert "owned" in text
        assert not re.search(
            "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text
        )


def test_printable_leaves_other_writing_alone():
    same = "Größe µ 日本語 עברית \N{NO-BREAK SPACE}%"
    assert printable(same) == same
    assert printable("a\x1b\x00\u202e\udcff\n") == r"a\x1b\x00\u202e\udcff\n"


@pytest.mark.parametrize(
    "text", ["a|b", "\x1b[1m", "\\input{/etc/passwd}", "#$%&_^~{}"]
)
def test_latex_has_no_command_of_a_name(text):
    made = table.latex(text)
    allowed = r"\\text(backslash|bar|asciitilde|asciicircum)\{\}|\\[&%$#_{}]"
    rest = re.sub(allowed, "", made)
    assert not re.search(r"[\\{}$&#^_~%|\x00-\x1f]", rest)


def test_hostile_titles_are_words_on_the_page(tmp_path):
    hostile = dataclasses.replace(bare(attack(title="<img src=x onerror=a>")))
    page = Page(write(tmp_path, hostile).read_text(encoding="utf-8"))
    assert "img" not in page.tags
