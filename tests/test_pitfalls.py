"""Pages of docs/ say what the committed results say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("pitfalls.md", "read-an-audit.md", "benchmark.md", "learned.md")
PAGES += ("../README.md",)
BLOCK = re.compile(r"<!-- made: (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)
RULES = {"0.5", "0.1", "0.01", "0.001", "0.05"}
"""Decimals of the text that are no result: rates, chance, limits, published levels."""


@pytest.fixture(scope="module")
def maker():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        import pitfalls
    return pitfalls


def kept(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_numbers_of_the_pages_are_current():
    # In a process of its own, where no annotation is checked at every call.
    command = [sys.executable, str(DOCS / "pitfalls.py"), "--check"]
    environment = {**os.environ, "PYTHONPATH": str(DOCS.parent)}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_block_is_on_a_page_and_filled(maker):
    blocks = [found for name in PAGES for found in BLOCK.findall(kept(name))]
    assert sorted(name for name, _ in blocks) == sorted(maker.BLOCKS)
    assert all(text.strip() for _, text in blocks)


@pytest.mark.parametrize("name", ["pitfalls.md", "read-an-audit.md"])
def test_no_other_number_stands_in_the_text(name):
    # Links and code aside, what the text says of a result must stand in a block.
    page = kept(name)
    made = " ".join(text for _, text in BLOCK.findall(page))
    text = BLOCK.sub("", page)
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\]\([^)]*\)|`[^`]*`", "", text)
    numbers = set(re.findall(r"\d+\.\d+", text))
    assert numbers - RULES <= set(re.findall(r"\d+\.\d+", made))


def test_links_of_the_table_lead_to_sections():
    page = kept("pitfalls.md")
    sections = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^### (.*)$", page, re.MULTILINE)
    }
    linked = re.findall(r"\]\(#([^)]*)\)", page)
    assert set(linked) == sections
    assert len(linked) == len(sections)


def test_what_the_reader_is_told_in_round_numbers(maker):
    attack = maker.audit("text/tuned").attacks["loss"]
    assert round(100 * attack.auc.value) == 97
    found = [re.search(rf"\| {n} of 100 .*", maker.example.suspects()) for n in (1, 50)]
    rare, half = (row[0].split("|")[-2].strip() for row in found if row)
    assert (rare, half) == ("38.0 %", "98.4 %")
    assert attack.members + attack.nonmembers == 325
    words = [
        maker.example.judge(maker.audit(f"lessons/{n}")).word for n in ("half", "long")
    ]
    assert words == ["Partly", "Yes"]


def test_a_changed_number_is_noticed(maker, tmp_path, monkeypatch, capsys):
    name = "read-an-audit.md"
    changed = kept(name).replace("92.8 %", "92.9 %")
    (tmp_path / name).write_text(changed, encoding="utf-8")
    monkeypatch.setattr(maker, "HERE", tmp_path)
    monkeypatch.setattr(maker, "PAGES", (name,))
    monkeypatch.setattr("sys.argv", ["pitfalls.py", "--check"])
    assert maker.main() == 1
    assert "read-an-audit.md is not current" in capsys.readouterr().out


def test_nearest_is_never_below_the_conservative_rate(maker):
    for name in ("mini/ddpm/loss", "laion_mi/tuned/text_shift-tree"):
        reached, found = maker.nearest_point(name, 0.01)
        scores, member = maker.scores(name)
        honest = maker.tpr_at_fpr(scores, member, 0.01)
        assert found >= honest or reached < 0.01


def test_halves_are_halves_of_either_group(maker):
    member = np.arange(30) < 11
    half = maker.halves(member, np.random.default_rng(0))
    assert half[member].sum() == 5
    assert half[~member].sum() == 9
