"""A paper is reached as a user's own package is: by "module:Name" in a config."""

from __future__ import annotations

from pathlib import Path

import pytest

import score_mia
from score_mia.attacks import SIGNALS, Counted
from score_mia.data import SOURCES
from score_mia.papers import hu_pang
from score_mia.registry import make

ROOT = Path(score_mia.__file__).parent
PARTS = {"PublishedLoss": SIGNALS, "PublishedLikelihood": SIGNALS}


def test_nothing_in_the_library_names_a_paper():
    for path in ROOT.rglob("*.py"):
        if "papers" not in path.relative_to(ROOT).parts:
            text = path.read_text()
            assert "hu_pang" not in text, path
            assert "score_mia.papers" not in text, path
    assert not {"ffhq", "drd"} & set(SOURCES)


@pytest.mark.parametrize("name", PARTS)
def test_its_attacks_are_made_from_a_config(name):
    part = make("signal", PARTS[name], {"name": f"score_mia.papers.hu_pang:{name}"})
    assert part == getattr(hu_pang, name)()
    assert isinstance(part, Counted)


@pytest.mark.parametrize("name", SIGNALS)
def test_the_librarys_own_attacks_count_members_only(name):
    assert not isinstance(SIGNALS[name](), Counted)
