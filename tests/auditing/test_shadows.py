"""Shadow models: who is in them, what is read off them, and that they are resumed."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from score_mia import auditing
from score_mia.auditing import plan as build
from score_mia.auditing import stages
from score_mia.auditing.ready import require_ready
from score_mia.auditing.shadows import known_to, others, shadow, spent
from score_mia.auditing.work import open_work
from score_mia.check import UserError
from score_mia.checkpoint import describe, has_arrays, load_target
from score_mia.data.given import files
from score_mia.data.shadows import Shadows
from score_mia.data.source import ArraySource
from score_mia.data.split import Split, coin, shuffled
from score_mia.hosts import Host
from score_mia.lease import lease
from score_mia.spec import FAMILIES
from score_mia.train import log
from tests.defects.tiny_work import plan

# --- who is in them ----------------------------------------------------------------


SOURCE = ArraySource("noughts", np.zeros((100, 2, 2, 1), np.uint8), 3 * np.arange(100))


def a_split(members=20, nonmembers=40, auxiliary=12, reference=0.5):
    return shuffled(SOURCE, members, nonmembers, reference, auxiliary=auxiliary)


def members(config, split, count, seed=0):
    return [set(config.split(split, k, seed).members.tolist()) for k in range(count)]


def test_candidates_are_drawn_without_a_look_at_the_labels():
    split = a_split()
    swapped = dataclasses.replace(
        split, member=split.member[::-1], reference=split.reference[::-1]
    )
    for config in (Shadows(), Shadows(overlap=0.5)):
        assert members(config, split, 4) == members(config, swapped, 4)
        assert members(config, split, 4) != members(config, split, 4, seed=1)
    assert all(len(one) == 20 for one in members(Shadows(), split, 5))
    assert not set().union(*members(Shadows(), split, 5)) & {*split.auxiliary.tolist()}


@pytest.mark.parametrize("overlap", [0.5, 0.25, None])
def test_each_candidate_is_in_as_many_shadows_as_any_other(overlap):
    split, config = a_split(), Shadows(overlap=overlap)
    share = 20 / 60 if overlap is None else overlap
    drawn = members(config, split, round(2 / share))
    times = [sum(int(i) in one for one in drawn) for i in split.ids]
    assert set(times) == {2}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_the_auxiliary_pool_is_known_images_in_the_share_that_was_asked(share):
    split, config = a_split(), Shadows(pool="auxiliary", overlap=share)
    judged = set(split.ids[~split.reference].tolist())
    drawn = members(config, split, 6)
    for one in drawn:
        inside = len(one & set(split.members.tolist()))
        assert not one & judged
        assert inside == round(share * len(one))
        assert len(one) >= 10
    assert share == 1.0 or drawn[0] != drawn[1]
    if share == 0.0:
        assert set().union(*drawn) & {*split.auxiliary.tolist()}


def test_a_shadow_is_asked_about_every_image():
    split = a_split()
    own = Shadows().split(split, 0, 0)
    np.testing.assert_array_equal(own.ids, np.union1d(split.ids, split.auxiliary))
    for share in (0.0, 1.0):
        with pytest.raises(UserError, match=r"trains a shadow on (0|60) of 60 images"):
            Shadows(overlap=share).split(a_split(auxiliary=0), 0, 0)


def test_a_shadow_may_be_asked_about_known_images_alone():
    split = a_split()
    few = Shadows(pool="auxiliary", overlap=0.5, asked="known")
    known = np.union1d(split.ids[split.reference], split.auxiliary)
    np.testing.assert_array_equal(few.split(split, 0, 0).ids, known)
    every = dataclasses.replace(few, asked="all")
    assert members(few, split, 3) == members(every, split, 3)
    with pytest.raises(UserError, match=r"set shadows.pool='auxiliary'"):
        Shadows(asked="known")
    with pytest.raises(UserError, match="asked"):
        Shadows(asked="some")


def test_auxiliary_images_are_kept_with_the_split(tmp_path):
    split = a_split()
    split.save(tmp_path / "split.npz")
    assert Split.load(tmp_path / "split.npz") == split
    assert split != dataclasses.replace(split, auxiliary=split.auxiliary[1:])
    drawn = coin(SOURCE, 60, auxiliary=12)
    np.testing.assert_array_equal(drawn.ids, coin(SOURCE, 60).ids)
    listed = [tuple(x.tolist()) for x in (split.members, split.nonmembers)]
    given = files(SOURCE, *listed, auxiliary=tuple(split.auxiliary.tolist()))
    for one in (drawn, given):
        assert len(one.auxiliary) == 12
        assert not set(one.auxiliary.tolist()) & set(one.ids.tolist())
    with pytest.raises(UserError, match="are member and non-member"):
        files(SOURCE, *listed, auxiliary=listed[0])
    for other in (a_split(auxiliary=0), a_split(auxiliary=40)):
        np.testing.assert_array_equal(other.ids, split.ids)  # nobody else moves
    with pytest.raises(
        UserError, match="auxiliary or unjudged images that play another"
    ):
        dataclasses.replace(split, auxiliary=split.ids[:1])


# --- in an audit -------------------------------------------------------------------


def an_audit(attacks=None, **shadows):
    signal = {"name": "loss", "times": 2}
    lira = {"name": "lira", "columns": ("loss@0",)}
    made = {"lira": {"signal": signal, "rule": lira, "knows": "shadows"}}
    return plan(
        split__nonmembers=24,
        split__reference=0.25,
        attacks={**made, **(attacks or {})},
        shadows={"count": 3, **shadows},
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    auditing.train(an_audit(), folder)
    auditing.attack(an_audit(), folder)
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def shadows_of(folder):
    """Name of each trained shadow -> when its target was written."""
    return {
        path.parts[-3]: path.stat().st_mtime_ns
        for path in sorted(folder.glob("shadows/*/target/target.json"))
    }


def read(audit, folder, train=stages._train):
    work = open_work(audit, folder)
    return others(work, audit.attacks[0], train)


def never(work):
    raise AssertionError("there is nothing to train")


def test_each_shadow_knows_its_own_members(whole):
    audit = an_audit()
    work = open_work(audit, whole)
    found = read(audit, whole, never)
    for number, readings in enumerate(found):
        one = shadow(work, number, work.plan.shadows[""])
        kept = Split.load(one.folder / "split.npz")
        assert kept == one.split
        about = describe(one.folder / "target")["provenance"]
        assert about["members"] == int(readings.member.sum()) == len(kept.members)
        np.testing.assert_array_equal(readings.ids[readings.member], kept.members)
        assert one.digest == one.whole.digest != work.digest
        assert one.collect("lira").matrix().tolist() == readings.matrix().tolist()
    first, second, _ = found
    assert not (first.member & second.member).any()
    assert (first.matrix() != second.matrix()).all()
    read_in = sum(
        sum(one["seconds"] for one in json.loads(path.read_text())["devices"].values())
        for path in whole.glob("shadows/*/signals/*/seconds-*.json")
    )
    trained_in = sum(
        describe(path)["provenance"]["seconds"]
        for path in whole.glob("shadows/*/target")
    )
    assert read_in > 0
    assert trained_in > 0
    np.testing.assert_allclose(spent(work, audit.attacks[0]), read_in + trained_in)


def test_what_is_there_is_kept_and_only_what_is_new_is_trained(copied):
    before = shadows_of(copied)
    auditing.attack(an_audit(), copied)
    assert shadows_of(copied) == before
    auditing.attack(an_audit(count=4), copied)
    more = shadows_of(copied)
    assert len(more) == 4
    assert {name: more[name] for name in before} == before
    read(an_audit(overlap=0.25), copied)
    assert {name: shadows_of(copied)[name] for name in more} == more
    assert len(shadows_of(copied)) == 7


def test_a_training_that_is_stopped_goes_on_to_the_same_shadow(
    whole, copied, monkeypatch
):
    (folder, *_) = sorted(copied.glob("shadows/00-*"))
    shutil.rmtree(folder)
    append = log.append

    def stop(path, line):
        append(path, line)
        if line["step"] == 20:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(log, "append", stop)
        with pytest.raises(KeyboardInterrupt):
            read(an_audit(), copied)
    assert (folder / "target" / "state" / "step-00000010.json").exists()
    again = read(an_audit(), copied)[0]
    np.testing.assert_array_equal(again.matrix(), read(an_audit(), whole)[0].matrix())


def test_weights_may_go_once_they_are_read_and_come_again_when_they_are_missed(copied):
    audit = an_audit(weights=False)
    before = read(audit, copied, never)
    for path in copied.glob("shadows/*/target"):
        assert not has_arrays(path)
        assert not (path / "state").exists()
    for readings, kept in zip(read(audit, copied, never), before, strict=True):
        np.testing.assert_array_equal(readings.matrix(), kept.matrix())
    digests = [describe(p)["digest"] for p in sorted(copied.glob("shadows/*/target"))]
    wanted = {"signal": {"name": "loss", "times": 3}, "knows": "shadows"}
    wanted["rule"] = {"name": "lira", "columns": ("loss@0",)}
    auditing.attack(an_audit({"more": wanted}, weights=False), copied)
    again = [describe(p)["digest"] for p in sorted(copied.glob("shadows/*/target"))]
    assert again == digests
    assert not any(map(has_arrays, copied.glob("shadows/*/target")))


def test_sets_of_shadows_stand_side_by_side(whole, copied):
    """Two sets by name: each attack reads its own; what was trained is found again."""
    config = copy.deepcopy(dict(an_audit().config))
    one = config.pop("shadows")
    few = {**one, "pool": "auxiliary", "count": 1, "asked": "known"}
    config["shadows"] = {"same": one, "few": few}
    with pytest.raises(UserError, match=r"attacks\.lira\.shadows"):
        build.plan(config)
    first = config["attacks"]["lira"]
    config["attacks"]["lira"] = {**first, "shadows": "same"}
    mean = {**first, "rule": {"name": "mean"}}
    config["attacks"]["other"] = {**mean, "shadows": "few"}
    audit = build.plan(config)
    lira, other = audit.attacks
    work = open_work(audit, copied)
    again = others(work, lira, never)
    for mine, kept in zip(again, read(an_audit(), whole, never), strict=True):
        np.testing.assert_array_equal(mine.matrix(), kept.matrix())
        np.testing.assert_array_equal(mine.member, kept.member)
    (single,) = known_to(work, other)
    assert not single.is_trained
    judged = work.split.ids[~work.split.reference]
    assert not np.isin(single.split.ids, judged).any()
    auditing.attack(audit, copied)
    assert not np.isin(others(work, other, never)[0].ids, judged).any()
    wrong = {**config["attacks"], "x": {**mean, "knows": "none", "shadows": "few"}}
    with pytest.raises(UserError, match=r"attacks.x.shadows: names shadow models"):
        build.plan({**config, "attacks": wrong})


def test_a_shadow_may_begin_with_the_parameters_of_another_target(whole, copied):
    audit = an_audit(count=1, base=str(whole))
    # The first step is made at learning rate 0, as published.
    trained = dataclasses.replace(
        audit.trained, train=dataclasses.replace(audit.train, steps=1, warmup=5)
    )
    audit = dataclasses.replace(audit, target=trained)
    one = shadow(
        dataclasses.replace(open_work(an_audit(), copied), plan=audit),
        0,
        audit.shadows[""],
    )
    stages._train(one.whole)
    base = load_target(whole / "target")
    jax.tree.map(np.testing.assert_array_equal, one.whole.target.params, base.params)


def tuned_audit(whole, base):
    """An audit of the target, fine-tuned, with shadows of a base of their own."""
    config = {k: v for k, v in an_audit().config.items() if k not in FAMILIES}
    target = {"name": "finetuned", "base": str(whole)}
    shadows = {"count": 4, "overlap": 0.5, "base": base}
    return build.plan({**config, "target": target, "shadows": shadows})


@pytest.mark.slow
def test_a_fine_tuned_target_s_shadows_may_be_tuned_from_a_base_of_another_kind(
    whole, tmp_path
):
    vp = {"sde": {"name": "vp"}, "network": {"name": "mlp", "features": 16}}
    other = plan(**vp)
    auditing.train(other, tmp_path / "other")
    audit = tuned_audit(whole, str(tmp_path / "other"))
    readings, *_ = read(audit, tmp_path / "audit")
    work = open_work(audit, tmp_path / "audit")
    one = shadow(work, 0, audit.shadows[""])
    assert one.target.sde == other.model.sde != audit.model.sde
    about = describe(one.target_folder)
    assert about["provenance"]["start"].startswith(
        describe(tmp_path / "other" / "target")["digest"]["ema"]
    )
    np.testing.assert_array_equal(readings.ids[readings.member], one.split.members)
    # Sections instead of a base: from fresh parameters.
    fresh = shadow(work, 0, dataclasses.replace(audit.shadows[""], base=vp))
    assert fresh.plan.trained.begins_with is None
    assert fresh.target.sde == other.model.sde


def test_a_base_that_cannot_be_is_told_before_anything_is_trained(whole):
    with pytest.raises(UserError, match=r"target\.base.*'foldr'"):
        tuned_audit(whole, {"name": "diffusers", "foldr": "x"})


def test_a_target_that_was_fine_tuned_is_not_taken_for_a_fresh_one(whole, tmp_path):
    tuned = an_audit()
    tuned = dataclasses.replace(
        tuned, target=dataclasses.replace(tuned.trained, start=str(whole / "target"))
    )
    auditing.train(tuned, tmp_path)
    auditing.train(tuned, tmp_path)
    about = describe(tmp_path / "target")
    assert about["digest"] != describe(whole / "target")["digest"]
    assert about["provenance"]["start"] == describe(whole / "target")["digest"]["ema"]
    with pytest.raises(UserError, match=r"differs in target\.start"):
        auditing.attack(an_audit(), tmp_path)


def test_a_host_that_shares_the_rows_trains_nothing(whole, copied):
    audit = an_audit()
    for folder in copied.glob("shadows/*/signals"):
        shutil.rmtree(folder)
    work = dataclasses.replace(open_work(audit, copied), host=Host(1, 2, copied))
    for mine, first in zip(
        others(work, audit.attacks[0], never), read(audit, whole, never), strict=True
    ):
        np.testing.assert_array_equal(mine.matrix(), first.matrix())
    (folder,) = copied.glob("shadows/02-*")
    (folder / "target" / "target.json").unlink()
    with lease(copied, 0):
        Host(0, 2, copied).tell(copied, UserError("the disk is full"))
    with pytest.raises(UserError, match="host 0 of 2 failed: the disk is full"):
        others(work, audit.attacks[0], never)


def test_shadows_may_be_of_another_family(copied):
    base = {"sde": {"name": "vp"}, "network": {"name": "mlp", "features": 16}}
    audit = an_audit(base=base)
    work = open_work(audit, copied)
    one = shadow(work, 0, work.plan.shadows[""])
    (readings, *_) = read(audit, copied)
    assert one.target.sde != work.target.sde
    assert one.plan.model.parameterisation != work.plan.model.parameterisation
    assert readings.names != work.collect("lira").names
    np.testing.assert_array_equal(readings.ids[readings.member], one.split.members)


@pytest.mark.parametrize("spoilt", ["target/target.json", "signals/*/part-00000*"])
def test_a_damaged_file_of_a_shadow_is_named_with_its_remedy(copied, spoilt):
    (path,) = copied.glob(f"shadows/01-*/{spoilt}")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match=rf"{path.name}.*(delete|restore|run) "):
        _ = [readings.matrix() for readings in read(an_audit(), copied)]


@pytest.mark.parametrize("rule", ["lira", "rmia", "reference_ratio"])
def test_a_rule_that_asks_shadows_about_judged_images_is_told_before_training(rule):
    signal = {"name": "loss", "times": (200.0,)}
    attack = {"signal": signal, "rule": {"name": rule}, "knows": "shadows"}
    few = {"pool": "auxiliary", "asked": "known", "overlap": 0.5}
    audit = an_audit({"lira": attack}, **few)
    source = audit.source()
    split = audit.split(source)
    with pytest.raises(UserError, match=r"attacks.lira: .*shadows.asked='all'"):
        require_ready(audit, source, split, audit.attacks)


def test_an_attack_that_knows_shadows_needs_some():
    audit = an_audit()
    config = {k: v for k, v in audit.config.items() if k != "shadows"}
    with pytest.raises(UserError, match=r"attacks.lira.knows='shadows'.*add shadows="):
        auditing.plan.plan(config)
    with pytest.raises(UserError, match=r"shadows\.base field.*'networks'"):
        an_audit(base={"networks": {}})


def test_a_dry_run_tells_what_shadows_cost():
    cost = {}
    for count in (3, 6):
        (line,) = (
            line
            for line in auditing.describe(an_audit(count=count)).splitlines()
            if line.startswith("shadows ")
        )
        cost[count] = float(line.split()[1].replace(",", ""))
    assert cost[6] == 2 * cost[3] > 0
