"""What every registered conditioner must do, and what becomes of a user's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from score_mia import auditing
from score_mia.auditing import plan as planning
from score_mia.auditing.work import open_work
from score_mia.check import UserError
from score_mia.conditions import CONDITIONERS, Conditioner, Label, Tokens, Words, gather
from score_mia.data.source import COLUMNS
from tests.auditing.tiny import get_config
from tests.data.makers import pictures, source_of

GOLDEN = Path(__file__).parents[1] / "golden"
EXAMPLES = {
    "label": Label(classes=4, nothing=3),
    "tokens": Tokens(str(GOLDEN / "models" / "sd1" / "tokenizer"), length=12),
    "words": Words("emoji", length=4),
}
CAPTIONS = ("red heart", "Xq Cat!", "", "xyzzy; cat", "heart", "cat")
SOURCE = dataclasses.replace(
    source_of(pictures(), np.asarray([0, 2, 1, 2, 0, 1])), captions=CAPTIONS
)


def test_every_registered_one_is_tried():
    assert EXAMPLES.keys() == CONDITIONERS.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_image_is_told_its_own_row_wherever_it_stands(name):
    conditioner = EXAMPLES[name]
    assert isinstance(conditioner, Conditioner)
    assert set(conditioner.columns) <= set(COLUMNS) - {"file"}
    order = np.asarray([3, 0, 3, 5])
    whole = gather(conditioner, SOURCE.columns, SOURCE.ids)
    turned = gather(conditioner, SOURCE.columns, SOURCE.ids[order])
    assert whole.keys() == turned.keys() == {"own", "null"}
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(turned), strict=True):
        np.testing.assert_array_equal(a[order], b)
        assert a.dtype.kind == "i"
    null = jax.tree.leaves(whole["null"])
    assert all((leaf == leaf[:1]).all() for leaf in null)


def test_a_model_that_is_told_nothing_has_no_conditions():
    assert gather(None, SOURCE.columns, SOURCE.ids) == {}
    assert gather(Label(3), SOURCE.columns, SOURCE.ids).keys() == {"own"}


def test_wrong_labels_are_told():
    with pytest.raises(UserError, match="run from 0 to 2; set it to 3 or more"):
        gather(Label(2), SOURCE.columns, SOURCE.ids)
    with pytest.raises(UserError, match="nothing"):
        Label(2, nothing=2)


def test_words_are_numbers_whatever_their_case():
    tokens = gather(EXAMPLES["words"], SOURCE.columns, SOURCE.ids)["own"]
    red, heart, cat = tokens[0, 0], tokens[0, 1], tokens[5, 0]
    assert len({0, 1, red, heart, cat}) == 5
    assert max(red, heart, cat) < EXAMPLES["words"].size
    rows = [[red, heart], [1, cat], [], [1, cat], [heart], [cat]]
    expected = [row + [0] * (4 - len(row)) for row in rows]
    np.testing.assert_array_equal(tokens, expected)


def test_a_longer_caption_is_told_and_not_cut_unasked():
    long = {"caption": np.asarray(["one two three four five"])}
    with pytest.raises(UserError, match="has 5 words, more than the 4 of the model"):
        Words("emoji", length=4)(long)
    assert Words("emoji", length=4, cut=True)(long).shape == (1, 4)
    with pytest.raises(UserError, match="the data set has none"):
        Words("emoji")({})
    with pytest.raises(UserError, match="vocabulary"):
        Words("no/such.file")(long)


MINE = """
import dataclasses
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class Darkness:
    levels: int = 10
    columns = ("image",)

    def __call__(self, columns):
        mean = 1 - columns["image"].mean((1, 2, 3))
        return np.minimum((mean * self.levels).astype(np.int64), self.levels - 1)

    def null(self):
        return None
"""


def test_a_users_own_is_named_in_the_config_and_in_the_target(tmp_path, monkeypatch):
    (tmp_path / "my_conditions.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = get_config()
    config.train.steps = 2
    config.network.classes = 10
    config.conditioner = dict(name="my_conditions:Darkness")
    plan = planning.plan(config)
    auditing.train(plan, tmp_path / "run")
    work = open_work(plan, tmp_path / "run")
    assert len(set(work.conditions(work.split.ids)["own"])) > 2
    config.conditioner = dict(name="my_conditions:Darkness", levels=9)
    with pytest.raises(UserError, match=r"differs in conditioner\.levels"):
        open_work(planning.plan(config), tmp_path / "run")
