"""A paper is reached as a user's own package is: by "module:Name" in a config."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import score_mia
from score_mia.attacks import SIGNALS, Counted
from score_mia.data import SOURCES
from score_mia.papers import hu_pang
from score_mia.registry import make

ROOT = Path(score_mia.__file__).parent
PAPERS = sorted(
    path.name for path in (ROOT / "papers").iterdir() if (path / "__init__.py").exists()
)
PARTS = {"PublishedLoss": SIGNALS, "PublishedLikelihood": SIGNALS}
NEEDED = {
    "calibrated": {"signal": SIGNALS["loss"]()},
    "against": {"signal": SIGNALS["loss"](), "folder": "elsewhere"},
    "ranged": {"signal": SIGNALS["loss"]()},
    "refined": {"signal": SIGNALS["loss"]()},
    "probe": {"base": "elsewhere"},
}
"""Fields without which an attack of the library is none."""


def test_there_are_four_papers():
    assert PAPERS == ["cilloni", "hu_pang", "laion_mi", "pang_wang"]


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_exports_what_it_says(name):
    paper = importlib.import_module(f"score_mia.papers.{name}")
    assert len({*paper.__all__}) == len(paper.__all__) > 0
    assert all(part in vars(paper) for part in paper.__all__)


def test_nothing_in_the_library_names_a_paper():
    for path in ROOT.rglob("*.py"):
        if "papers" not in path.relative_to(ROOT).parts:
            text = path.read_text()
            assert not [name for name in PAPERS if name in text], path
            assert "score_mia.papers" not in text, path
    assert not {"ffhq", "drd"} & set(SOURCES)


@pytest.mark.parametrize("name", PARTS)
def test_its_attacks_are_made_from_a_config(name):
    part = make("signal", PARTS[name], {"name": f"score_mia.papers.hu_pang:{name}"})
    assert part == getattr(hu_pang, name)()
    assert isinstance(part, Counted)


@pytest.mark.parametrize("name", SIGNALS)
def test_the_librarys_own_attacks_count_members_only(name):
    assert not isinstance(SIGNALS[name](**NEEDED.get(name, {})), Counted)
