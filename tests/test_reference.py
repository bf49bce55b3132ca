"""The pages made from docstrings are current, and leave no field unexplained."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from runpy import run_path

import pytest

import score_mia
from score_mia.auditing import sections

ROOT = Path(__file__).parents[1]
MAKER = run_path(str(ROOT / "docs" / "reference.py"))


@pytest.mark.parametrize("name", MAKER["PAGES"])
def test_a_made_page_is_current(name):
    kept = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert kept == MAKER["PAGES"][name](), "run `make docs`"


def test_every_field_is_explained():
    page = MAKER["config_page"]()
    unexplained = [row for row in page.splitlines() if row.endswith("|  |")]
    assert not unexplained
    for section in (*sections.REQUIRED, *sections.OPTIONAL):
        assert f"\n## {section}\n" in page


def test_every_public_name_is_there_and_documented():
    for name in score_mia.__all__:
        assert getattr(score_mia, name).__doc__
    assert set(score_mia.__all__) == set(score_mia._HOMES)
    with pytest.raises(AttributeError, match="no attribute 'adit'"):
        _ = score_mia.adit


def test_the_package_is_cheap_to_import():
    code = "import sys, score_mia; sys.exit('numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert run.returncode == 0
