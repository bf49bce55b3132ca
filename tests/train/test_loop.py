from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.checkpoint import describe, load_target
from score_mia.train import loop
from score_mia.train.config import TrainConfig
from score_mia.train.loop import counts, stops, train
from score_mia.train.step import Batch
from tests.train.toys import AFFINE, MLP, images

ROOT = Path(__file__).parents[2]
IMAGES = images(10, (2, 2, 1))
CONFIG = TrainConfig(
    steps=90, batch=8, learning_rate=1e-2, warmup=5, ema=0.9, log_every=10,
    checkpoint_every=20, snapshot_every=45, seed=3,
)  # fmt: skip

CHILD = """
import os, signal, sys
import jax
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
from score_mia import checkpoint
from score_mia.device import cache_compilations
from score_mia.train import loop
from score_mia.train.loop import train
from tests.train.test_loop import CONFIG, IMAGES
from tests.train.toys import MLP
cache_compilations()
folder, deadly = sys.argv[1], sys.argv[2]
save_sealed = checkpoint.save_sealed
def die_before_commit(path, value):
    if path.name == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    save_sealed(path, value)
checkpoint.save_sealed = die_before_commit
append = loop.log.append
def append_and_tell(path, entry):
    append(path, entry)
    print("step", entry["step"], file=sys.stderr, flush=True)
loop.log.append = append_and_tell
train(MLP, IMAGES, CONFIG, folder)
"""


def leaves(target):
    return [np.asarray(a) for a in jax.tree.leaves(target.params)]


def same(one, other):
    pairs = zip(leaves(one), leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    return train(MLP, IMAGES, CONFIG, folder, provenance={"split": "abc"}), folder


def child(folder, deadly):
    command = [sys.executable, "-c", CHILD, str(folder), deadly]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True
    )


def test_killed_anywhere_and_resumed_ends_with_the_same_bits(tmp_path, whole):
    target, folder = whole
    with child(tmp_path, "none") as first:  # killed from outside, mid-flight
        for line in first.stderr:
            if line.startswith("step 30"):
                first.kill()
    assert first.returncode == -signal.SIGKILL
    with child(tmp_path, "step-00000080.json") as second:  # inside a save
        told = second.stderr.read()
    assert second.returncode == -signal.SIGKILL
    assert "training goes on from step 20" in told or "from step 40" in told
    assert (tmp_path / "state" / "step-00000080").is_dir()
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write('{"step": 9')  # a line that the kill tore
    resumed = train(MLP, IMAGES, CONFIG, tmp_path)
    assert same(resumed, target)
    lines = [(f / "train.jsonl").read_text() for f in (tmp_path, folder)]
    assert lines[0] == lines[1]
    for use in ("ema", "params"):
        for place in (".", "snapshots/step-000045", "snapshots/step-000090"):
            ours, theirs = tmp_path / place, folder / place
            assert same(load_target(ours, use), load_target(theirs, use))


def test_a_run_leaves_its_records(whole):
    target, folder = whole
    lines = [json.loads(x) for x in (folder / "train.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30, 40, 45, 50, 60, 70, 80, 90]
    assert all(0 < line["loss"] < 5 for line in lines)
    about = describe(folder)["provenance"]
    assert (about["step"], about["members"], about["split"]) == (90, 10, "abc")
    told = dataclasses.replace(CONFIG, time_law="uniform")  # the process's own law
    assert TrainConfig(**about["train"]) == told
    assert same(load_target(folder), target)
    assert not same(load_target(folder, "params"), target)
    assert not same(load_target(folder / "snapshots/step-000045"), target)


def test_a_finished_run_is_not_trained_again(whole, monkeypatch):
    target, folder = whole
    monkeypatch.setattr(loop, "_loop", None)
    assert same(train(MLP, IMAGES, CONFIG, folder), target)


def test_more_steps_go_on_from_where_a_shorter_run_ended(tmp_path, whole):
    short = dataclasses.replace(CONFIG, steps=40, snapshot_every=None)
    train(MLP, IMAGES, short, tmp_path)
    assert same(train(MLP, IMAGES, CONFIG, tmp_path), whole[0])
    with pytest.raises(UserError, match=r"steps=40.*step 90.*give more steps"):
        train(MLP, IMAGES, short, tmp_path)


@pytest.mark.many
@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({}, {"devices": 1}),
        ({"steps_per_call": 4}, {}),
        ({}, {"resident": 0}),
        ({"steps_per_call": 4}, {"resident": 0}),
        ({"accumulate": 2}, {}),
        ({"accumulate": 4, "steps_per_call": 4}, {"devices": 2}),
        ({"fsdp": True}, {}),
        ({"fsdp": True, "accumulate": 2, "steps_per_call": 4}, {"resident": 0}),
    ],
    ids=[
        *("one device", "scanned", "streamed", "scanned and streamed"),
        *("in parts", "in parts, scanned", "dealt out", "dealt out, in parts, scanned"),
    ],
)
def test_how_steps_are_run_changes_nothing(
    tmp_path, whole, monkeypatch, change, options
):
    monkeypatch.setattr(loop, "RESIDENT_BYTES", options.get("resident", 2**30))
    monkeypatch.setattr("score_mia.train.spread.SMALL", 8)
    options = {name: o for name, o in options.items() if name != "resident"}
    config = dataclasses.replace(CONFIG, **change)
    other = train(MLP, IMAGES, config, tmp_path, **options)
    for a, b in zip(leaves(other), leaves(whole[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)


def _prepared(config):
    p = loop.parts(MLP)
    return loop._Run.prepare(p, config, Batch(IMAGES), None, loop.Start(None))


def test_batches_are_spread_over_all_devices(tmp_path):
    run = _prepared(CONFIG)
    assert run.spread.mesh.size == 4
    rows = run.inputs(0, 1)[1]
    assert len({s.device for s in rows.addressable_shards}) == 4
    assert rows.addressable_shards[0].data.shape == (2,)
    odd = dataclasses.replace(CONFIG, batch=6)
    assert _prepared(odd).spread.mesh.size == 2


def test_a_state_that_is_dealt_out_is_so_on_every_device(tmp_path, monkeypatch):
    monkeypatch.setattr("score_mia.train.spread.SMALL", 8)
    run = _prepared(dataclasses.replace(CONFIG, fsdp=True))
    state = run.initial()
    moments = state.optimiser[1]
    for tree in (state.params, state.ema, moments.mu, moments.nu):
        for leaf in jax.tree.leaves(tree):
            whole = leaf.sharding.is_fully_replicated
            shares = {s.data.size for s in leaf.addressable_shards}
            assert shares == {leaf.size if whole else leaf.size // 4}
            assert whole == (leaf.size < 8 or all(n % 4 for n in leaf.shape))
    kept = run.written(state)
    plain = _prepared(CONFIG)
    expected = plain.written(plain.initial())
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    loop.checkpoint.save_state(tmp_path, 0, loop.as_tree(kept), {"identity": "x"})
    again, _ = run.resume(tmp_path, "x")
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True):
        assert a.sharding == b.sharding
        np.testing.assert_array_equal(a, b)


def test_a_run_goes_on_however_its_state_was_held_before(tmp_path, whole, monkeypatch):
    monkeypatch.setattr("score_mia.train.spread.SMALL", 8)
    changes = {"snapshot_every": None, "fsdp": True, "accumulate": 2}
    train(MLP, IMAGES, dataclasses.replace(CONFIG, steps=40, **changes), tmp_path)
    ended = train(MLP, IMAGES, CONFIG, tmp_path, devices=2)
    for a, b in zip(leaves(ended), leaves(whole[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)


def test_stops_do_not_depend_on_where_a_run_begins():
    config = TrainConfig(steps=25, log_every=10, checkpoint_every=8, snapshot_every=12)
    assert list(stops(0, config)) == [8, 10, 12, 16, 20, 24, 25]
    assert list(stops(16, config)) == [20, 24, 25]
    assert list(stops(25, config)) == []


@pytest.mark.parametrize(
    ("every", "start", "chunk", "found"),
    [
        (10, 0, 10, {10}),
        (10, 0, 1, {1}),
        (10, 0, 4, {4, 1}),
        (10, 0, 20, {1}),
        (10, 15, 5, {5}),
        (10, 40, 5, set()),
    ],
)
def test_only_what_will_run_is_compiled(every, start, chunk, found):
    config = TrainConfig(steps=40, log_every=every, checkpoint_every=20)
    assert counts(start, config, chunk) == found


# --- it learns ---------------------------------------------------------------------


def test_gaussian_data_are_learned_to_the_closed_form_minimum(tmp_path):
    rng = np.random.default_rng(0)
    mix = np.array([[0.1, 0.0], [0.08, 0.04]])
    data = np.clip(0.5 + rng.normal(size=(512, 2)) @ mix.T, 0, 1)
    config = TrainConfig(
        steps=1500, batch=512, learning_rate=0.02, warmup=0, ema=0.99, clip=None,
        flip=False, log_every=500, checkpoint_every=5000,
    )  # fmt: skip
    pictures = data.astype(np.float32).reshape(-1, 1, 2, 1)
    target = train(AFFINE, pictures, config, tmp_path)
    x0 = 10.0 * data - 5.0
    mean, cov = x0.mean(0), np.cov(x0.T, bias=True)
    alpha_bar = np.cumprod(1 - np.linspace(0.01, 0.09, 10))
    excess = []
    for t, ab in enumerate(alpha_bar):
        alpha, std, eye = np.sqrt(ab), np.sqrt(1 - ab), np.eye(2)
        total = ab * cov + std**2 * eye
        best = std * np.linalg.inv(total)  # eps*(x) = std total^-1 (x - alpha mean)
        a = np.asarray(target.params["matrix"][t])
        b = np.asarray(target.params["offset"][t])
        # E|a x + b - eps*|^2: what the loss exceeds its minimum by, exactly.
        off = a @ (alpha * mean) + b
        gap = a - best
        excess.append((np.trace(gap @ total @ gap.T) + off @ off) / 2)
        least = np.trace(eye - std**2 * np.linalg.inv(total)) / 2
        assert excess[-1] < 0.01 * least + 1e-3
    assert np.mean(excess) < 2e-3


# --- what bad input gets -----------------------------------------------------------


def spoiled(value):
    bad = IMAGES.copy()
    bad[3, 0, 0, 0] = value
    return bad


@pytest.mark.parametrize(
    ("pictures", "told"),
    [
        (spoiled(np.nan), r"images holds 1 NaN|images: holds 1 NaN"),
        (spoiled(255.0), r"leave \[0, 1\]; divide"),
        (IMAGES[:0], r"are not \[n, 2, 2, 1\]; give at least one"),
        (IMAGES[:, :1], r"are not \[n, 2, 2, 1\]"),
        (IMAGES.astype(np.float64), "float64: are not float32"),
    ],
)
def test_wrong_images_are_refused(tmp_path, pictures, told):
    with pytest.raises(UserError, match=told):
        train(MLP, pictures, CONFIG, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_labels_must_fit_the_images(tmp_path):
    with pytest.raises(UserError, match="one for each of 10 images"):
        train(MLP, IMAGES, CONFIG, tmp_path, conditions=np.zeros(9, np.int32))


@pytest.mark.parametrize(
    ("spec", "change", "pictures"),
    [
        (MLP, {"learning_rate": 2e-2}, IMAGES),
        ({**MLP, "sde": {"name": "sub_vp"}}, {}, IMAGES),
        (MLP, {}, IMAGES[::-1].copy()),
    ],
)
def test_a_folder_of_another_run_is_refused(whole, spec, change, pictures):
    config = dataclasses.replace(CONFIG, **change)
    with pytest.raises(UserError, match="another config or other data; choose"):
        train(spec, pictures, config, whole[1])


def test_divergence_names_the_step_and_keeps_the_last_good_state(tmp_path, capsys):
    wild = dataclasses.replace(
        CONFIG, learning_rate=1e30, warmup=0, clip=None, checkpoint_every=1
    )
    with pytest.raises(UserError, match=r"NaN or infinite; lower learning") as caught:
        train(MLP, IMAGES, wild, tmp_path)
    step = int(re.search(r"step (\d+) is NaN", str(caught.value))[1])
    assert 0 < step < 10
    assert not (tmp_path / "target.json").exists()
    kept = sorted((tmp_path / "state").glob("*.json"))
    assert int(kept[-1].stem[5:]) <= step
