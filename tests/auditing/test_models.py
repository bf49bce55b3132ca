"""Where a target comes from: training, a file, or a function of one's own."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from score_mia import auditing
from score_mia.auditing import plan as planning
from score_mia.auditing.work import config_digest, open_work
from score_mia.check import UserError
from score_mia.checkpoint import describe, target_digest
from score_mia.models import MODELS, Model
from tests.auditing.tiny import get_config
from tests.interop.golden import case

OF_TARGET = ("sde", "network", "train")


def nested():
    """The tiny config with the target's sections within `target`."""
    config = get_config().to_dict()
    inner = {name: config.pop(name) for name in OF_TARGET}
    return {**config, "target": {"name": "trained", **inner}}


def read_from(**target):
    """The tiny config of a target that is not trained here: colour digits, one loss."""
    config = get_config().to_dict()
    del config["train"]
    config["data"]["channels"] = 3
    config["attacks"] = {"loss": {"signal": {"name": "loss", "times": [199.0]}}}
    config["report"]["samples"] = 0
    return {**config, "target": target}


CALLED = """
import jax
import numpy as np
from score_mia.interop import Foreign
from score_mia.spec import parts

COUNT = []


def client(spec):
    COUNT.append(1)
    params = parts(spec).network.init(jax.random.key(7))
    params = jax.tree.map(np.asarray, params)
    origin = {"file": "my client", "format": "mine", "sha256": "0" * 64}
    return Foreign(spec, params, params, 12, origin)


def nothing(spec):
    return spec
"""


@pytest.fixture
def client(tmp_path, monkeypatch):
    (tmp_path / "my_client.py").write_text(CALLED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_client:client"


def test_within_the_target_and_beside_it_are_one_config():
    flat, within = planning.plan(get_config()), planning.plan(nested())
    assert config_digest(flat.config) == config_digest(within.config)
    assert flat.target == within.target
    assert all(isinstance(kind, type) for kind in MODELS.values())
    assert isinstance(flat.target, Model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(sde={"name": "vp"}), "within `target` and beside it"),
        (lambda c: c["target"].pop("train"), "section 'train': is missing"),
        (lambda c: c["target"].pop("network"), "section 'network': is missing"),
        (lambda c: c["target"].update(sde=3), "sde=3"),
        (lambda c: c["target"].update(name="trainde"), "did you mean 'trained'"),
        (lambda c: c["target"].update(name="score_sde", file="x"), "means nothing to"),
        (lambda c: c["target"].update(file="x"), "has no field 'file'"),
        (lambda c: c["target"].update(snapshot="best"), "target.snapshot"),
    ],
)
def test_mistakes_are_told_in_a_line(change, said):
    config = nested()
    change(config)
    with pytest.raises(UserError, match=said) as caught:
        planning.plan(config)
    assert "\n" not in str(caught.value)


def test_a_function_of_the_users_gives_the_target(client, tmp_path):
    plan = planning.plan(read_from(name="callable", call=client))
    auditing.run(plan, tmp_path / "run")
    work = open_work(plan, tmp_path / "run")
    params = work.plan.model.at(work.source.shape).network.init(jax.random.key(7))
    leaves = zip(
        jax.tree.leaves(work.target.params), jax.tree.leaves(params), strict=True
    )
    assert all(np.array_equal(a, b) for a, b in leaves)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["target"]["steps"] == 12
    assert metrics["target"]["imported"]["file"] == "my client"
    assert metrics["target"]["digest"] == target_digest(work.target)
    # Another spec, another source of the same workdir, and what is no target.
    other = read_from(name="callable", call=client)
    other["sde"] = {"name": "smld"}
    for config, said in (
        (other, "differs in"),
        (read_from(name="callable", call="my_client:nothing"), "returned a dict"),
    ):
        with pytest.raises(UserError, match=said):
            auditing.train(planning.plan(config), tmp_path / "run")


def test_a_target_that_was_trained_is_not_taken_for_one_that_was_read(client, tmp_path):
    config = get_config()
    config.train.steps = 2
    auditing.train(planning.plan(config), tmp_path / "run")
    read = {**read_from(name="callable", call=client), "data": dict(config.data)}
    with pytest.raises(UserError, match="holds a target that was trained"):
        open_work(planning.plan(read), tmp_path / "run")


def test_a_file_in_the_config_is_what_import_takes(tmp_path):
    golden = case("smld", tmp_path)
    spec = {k: v for k, v in golden.spec.items() if k != "shape"}
    config = read_from(name="score_sde", file=str(golden.path), **spec)
    for name in ("sde", "network"):
        del config[name]
    auditing.train(planning.plan(config), tmp_path / "named")
    imported = {**get_config().to_dict(), **spec, "data": config["data"]}
    plan = planning.plan(imported)
    auditing.import_target(plan, tmp_path / "imported", golden.path)
    named, by_hand = (
        describe(tmp_path / name / "target") for name in ("named", "imported")
    )
    assert named["digest"] == by_hand["digest"]
    assert named["spec"] == by_hand["spec"]
    assert named["provenance"]["imported"] == by_hand["provenance"]["imported"]
    assert open_work(planning.plan(config), tmp_path / "named").step == 1
