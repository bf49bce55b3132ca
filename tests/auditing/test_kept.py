"""A target of another workdir, attacked again in one of its own."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from score_mia import auditing
from score_mia.auditing import plan as build
from score_mia.auditing.describe import describe
from score_mia.auditing.work import open_work
from score_mia.check import UserError
from score_mia.results import AuditResult
from tests.defects.tiny_work import config, plan


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    auditing.run(plan(train__snapshot_every=10), folder)
    return folder


def again(folder, **target):
    made = config()
    for section in ("sde", "network", "train"):
        del made[section]
    made.target = dict(name="kept", folder=str(folder), **target)
    return made


def test_the_same_attack_says_the_same_in_another_workdir(trained, tmp_path):
    auditing.run(build.plan(again(trained)), tmp_path / "run")
    here, there = (AuditResult.load(f) for f in (tmp_path / "run", trained))
    assert here.attacks["loss"].auc == there.attacks["loss"].auc
    assert here.attacks["loss"].tpr_at_fpr == there.attacks["loss"].tpr_at_fpr
    shutil.move(trained, trained.with_name("gone"))
    try:  # it is whole without the workdir that it came from
        work = open_work(build.plan(again(trained.with_name("gone"))), tmp_path / "x")
        assert work.plan.known.sde == build.plan(config()).known.sde
        assert AuditResult.load(tmp_path / "run").attacks["loss"].failed is None
    finally:
        shutil.move(trained.with_name("gone"), trained)


def test_a_snapshot_is_a_target_of_its_own(trained, tmp_path):
    auditing.run(build.plan(again(trained, step=10)), tmp_path / "run")
    first, last = (AuditResult.load(f) for f in (tmp_path / "run", trained))
    assert first.target.steps == 10
    assert first.attacks["loss"].auc != last.attacks["loss"].auc
    kept = open_work(build.plan(again(trained, step=10)), tmp_path / "run").target
    own = open_work(plan(train__snapshot_every=10), trained).load(10)
    for a, b in zip(kept.params.values(), own.params.values(), strict=True):
        np.testing.assert_array_equal(*map(_first, (a, b)))


def _first(tree):
    while isinstance(tree, dict):
        tree = next(iter(tree.values()))
    return np.asarray(tree)


def test_others_are_refused(trained, tmp_path):
    other = again(trained)
    other.split.seed = 7
    with pytest.raises(UserError, match="on other images than the split's members"):
        auditing.run(build.plan(other), tmp_path / "a")
    with pytest.raises(UserError, match="is of step 20; give the step of a snapshot"):
        auditing.run(build.plan(again(trained, step=15)), tmp_path / "b")
    with pytest.raises(UserError, match=r"does not exist \(no target.json\)"):
        build.plan(again(tmp_path / "nowhere"))
    assert not (tmp_path / "a" / "target" / "target.json").exists()


def test_a_sample_of_the_members_is_judged_on_the_same_target(trained, tmp_path):
    """The other members are trained on all the same, and nobody reads them."""
    part = again(trained)
    part.split = dict(name="sampled", split=part.split, members=6, nonmembers=8)
    auditing.run(build.plan(part), tmp_path / "kept")
    made = config()
    made.split = part.split
    auditing.run(build.plan(made), tmp_path / "trained")
    some, own, whole = (
        AuditResult.load(f) for f in (tmp_path / "kept", tmp_path / "trained", trained)
    )
    assert own.target.digest == whole.target.digest == some.target.digest
    assert own.target.members == whole.target.members > 6
    counts = some.split
    assert counts.members + counts.nonmembers + counts.reference == 14
    assert own.attacks["loss"].auc == some.attacks["loss"].auc
    work = open_work(build.plan(made), tmp_path / "trained")
    assert {*work.split.known, *work.split.evaluation} == {*work.split.ids}
    told = describe(build.plan(made), tmp_path / "trained")
    assert f"and {len(work.split.unjudged)} members are only trained on" in told
