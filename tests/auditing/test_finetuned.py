"""Fine-tuning of models that others trained: kept in the workdir with what it gave."""

from __future__ import annotations

import json
import shutil

import jax
import numpy as np
import pytest

from score_mia.auditing import plan as planning
from score_mia.auditing import stages
from score_mia.auditing.work import open_work
from score_mia.check import UserError
from score_mia.checkpoint import load_target
from score_mia.interop import Foreign
from score_mia.spec import parts
from tests.auditing.test_diffusers import MODELS, tuned
from tests.defects import tiny_work

MINE = "tests.auditing.test_finetuned:mine"


def mine(spec):
    """A model of a user's own code."""
    params = parts(spec).init(jax.random.key(5))
    about = {"file": "mine", "format": "mine", "sha256": "0" * 64}
    return Foreign(dict(spec), params, params, 0, about)


def test_a_model_of_any_source_may_be_tuned(tmp_path):
    config = dict(tiny_work.plan().config)
    config["target"] = dict(name="finetuned", base=dict(name="callable", call=MINE))
    config["train"] = {**config["train"], "steps": 1, "warmup": 5}
    work = open_work(planning.plan(config), tmp_path)
    stages.train(work.plan, tmp_path)
    # The first step is made at learning rate 0, as published.
    want = mine(work.plan.spec(work.source.shape)).params
    found = load_target(tmp_path / "target").params
    jax.tree.map(np.testing.assert_array_equal, found, want)
    config["target"] = dict(name="finetuned", base=dict(name="none", file="a"))
    with pytest.raises(UserError, match=r"target\.base.*none"):
        planning.plan(config)


@pytest.mark.slow
def test_what_was_tuned_is_opened_without_the_weights_that_it_began_with(tmp_path):
    folder, run = tmp_path / "sd1", tmp_path / "run"
    shutil.copytree(MODELS / "sd1", folder)
    config = tuned("attention")
    config["target"]["base"] = dict(folder=str(folder))
    stages.train(planning.plan(config), run)
    kept = json.loads((run / "config.json").read_text())
    for file in (folder / "unet").iterdir():
        file.unlink()
    target = open_work(planning.plan(kept), run).target
    base = load_target(run / "target" / "base")
    jax.tree.map(np.testing.assert_array_equal, target.codec, base.codec)
