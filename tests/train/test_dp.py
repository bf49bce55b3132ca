"""DP-SGD against hand-computed clips, two reference libraries and plain training."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_mia import device
from score_mia.check import UserError
from score_mia.checkpoint import describe, load_target
from score_mia.clock import UniformClock
from score_mia.registry import make
from score_mia.spec import parts
from score_mia.train import accounting, dp
from score_mia.train.accounting import Mechanism
from score_mia.train.config import Privacy, TrainConfig
from score_mia.train.loop import train
from score_mia.train.step import (
    Batch,
    Layout,
    State,
    make_gradient,
    make_optimiser,
    make_step,
    take,
)
from tests.train.toys import MLP, images, joined

pytest.importorskip("jax_privacy")

ROOT = Path(__file__).parents[2]
IMAGES = images(24, (2, 2, 1))
CONFIG = TrainConfig(
    steps=60, batch=6, learning_rate=1e-2, warmup=5, ema=0.9, log_every=10,
    checkpoint_every=20, snapshot_every=30, seed=3, clip=None,
    dp=Privacy(delta=1e-2, noise_multiplier=0.8, clip=0.5, microbatch=4),
)  # fmt: skip


def private(**changes):
    """CONFIG with other fields of `dp`."""
    return dataclasses.replace(CONFIG, dp=dataclasses.replace(CONFIG.dp, **changes))


# --- clipping ----------------------------------------------------------------------


def linear(params, image, condition, key):
    """A loss whose gradient is the image itself."""
    return jnp.sum(params["w"] * image)


@pytest.mark.parametrize("microbatch", [1, 2, 3, 8])
def test_each_image_is_clipped_and_fillers_and_broken_images_add_nothing(microbatch):
    rows = [[3, 4], [0.3, 0.4], [0, 0], [np.inf, 1], [1e3, 0], [np.nan, 9], [5, 5]]
    real = [True, True, True, True, False, False, True]
    batch = Batch(jnp.array(rows, jnp.float32), None, jnp.array(real))
    params = {"w": jnp.array([2.0, 1.0])}
    keys = jax.random.split(jax.random.key(0), 7)
    loss, total = dp.clipped_sum(linear, 1.0, microbatch, params, batch, keys)
    # (3, 4) / 5 + (0.3, 0.4) + (1, 1) / sqrt 2
    root = 0.5**0.5
    np.testing.assert_allclose(total["w"], [0.9 + root, 1.2 + root], rtol=1e-6)
    assert float(loss) == np.inf  # told as it is, so that training stops
    nothing = batch._replace(real=jnp.zeros(7, bool))
    loss, total = dp.clipped_sum(linear, 1.0, microbatch, params, nothing, keys)
    assert float(loss) == 0.0
    assert np.array_equal(total["w"], [0.0, 0.0])


def net():
    p = parts(MLP)
    target = p.target(p.network.init(jax.random.key(0)))
    layout = Layout(target.params)
    return target, layout, layout.ravel(target.params)


def gradient_of(config, rows=24, devices=1):
    target, layout, vector = net()
    m = dp.mechanism(config, rows)
    mesh = device.mesh(devices)
    made = jax.jit(dp.make_private_gradient(joined(target), layout, config, m, mesh))
    return lambda batch, key=KEY: made({}, vector, batch, key), m


KEY = jax.random.key(11)
WHOLE = Batch(jnp.asarray(IMAGES[:8]), None, jnp.ones(8, bool))


def test_the_clipped_gradient_is_that_of_jax_privacy_and_of_optax():
    import jax_privacy

    config = dataclasses.replace(private(clip=2.5), batch=8, draws=3, flip=True)
    gradient, m = gradient_of(config, rows=24)
    loss, found = gradient(WHOLE)
    target, layout, vector = net()

    def one(vector, image, key):
        known = dataclasses.replace(target, params=layout.unravel(vector))
        return config.objective(known, image, key)

    keys = jax.random.split(KEY, 8)
    theirs = jax_privacy.clipped_grad(
        one, l2_clip_norm=2.5, batch_argnums=(1, 2), keep_batch_dim=False,
        normalize_by=m.expected, return_values=True, return_grad_norms=True,
    )  # fmt: skip
    with warnings.catch_warnings():  # it calls what this optax has renamed
        warnings.simplefilter("ignore", DeprecationWarning)
        want, aux = jax.jit(theirs.fun)(vector, WHOLE.images, keys)
    assert np.min(aux.grad_norms) < 2.5 < np.max(aux.grad_norms)  # clips some
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(loss, np.sum(aux.values) / m.expected, rtol=1e-6)
    each = jax.jit(jax.vmap(jax.grad(one), (None, 0, 0)))(vector, WHOLE.images, keys)
    oracle = optax.contrib.differentially_private_aggregate(2.5, 0.0, jax.random.key(0))
    with jax.numpy_dtype_promotion("standard"):
        want, _ = oracle.update(each, oracle.init(vector))
    np.testing.assert_allclose(found, want * 8 / m.expected, rtol=1e-5, atol=1e-8)


def test_leaving_one_image_out_moves_the_sum_by_no_more_than_the_clip():
    gradient, m = gradient_of(private(clip=0.3))
    _, whole = gradient(WHOLE)
    moved = []
    for i in range(8):
        without = WHOLE._replace(real=jnp.arange(8) != i)
        moved.append(float(jnp.linalg.norm(gradient(without)[1] - whole)))
    assert max(moved) * m.expected <= 0.3 * (1 + 1e-5)
    assert max(moved) * m.expected > 0.29  # and the clip is reached


def test_sums_are_divided_by_the_expected_batch_whatever_its_size():
    gradient, m = gradient_of(CONFIG)
    assert m.expected == 6.0
    one = [gradient(WHOLE._replace(real=jnp.arange(8) == i)) for i in range(8)]
    loss, total = gradient(WHOLE)
    np.testing.assert_allclose(total, sum(g for _, g in one), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(loss, sum(v for v, _ in one), rtol=1e-5)


@pytest.mark.parametrize("count", [8, 5, 1, 0])
def test_devices_share_a_batch_and_agree(count):
    batch = WHOLE._replace(real=jnp.arange(8) < count)
    alone, _ = gradient_of(CONFIG)
    dealt, _ = gradient_of(CONFIG, devices=4)
    for a, b in zip(alone(batch), dealt(batch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_infinite_clip_and_no_noise_are_a_plain_step():
    config = dataclasses.replace(private(clip=1e9, control="clip_only"), batch=8)
    target, layout, vector = net()
    m = dp.mechanism(config, 8)
    assert (m.rate, m.expected, m.noise_multiplier) == (1.0, 8.0, 0.0)
    ours = dp.make_private_gradient(joined(target), layout, config, m, device.mesh(1))
    plain = make_gradient(joined(target), layout, config.objective)
    ends = []
    for gradient, optimiser in (
        (ours, make_optimiser(config, dp.make_privatiser(config, m))),
        (plain, make_optimiser(config)),
    ):
        state = State(vector, vector, optimiser.init(vector), jnp.zeros((), jnp.int32))
        step = jax.jit(make_step(gradient, optimiser, config))
        for _ in range(3):
            state, loss = step(state, WHOLE, KEY)
        ends.append((state.params, state.ema, loss))
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert float(jnp.max(jnp.abs(ends[0][0] - vector))) > 1e-3


# --- noise -------------------------------------------------------------------------


def noises(config, count, size=40_000):
    m = dp.mechanism(config, 24)
    privatiser = dp.make_privatiser(config, m)
    zero = jnp.zeros(size)
    state, out = privatiser.init(zero), []
    for _ in range(count):
        noise, state = privatiser.update(zero, state)
        out.append(np.asarray(noise, np.float64))
    return np.stack(out), m


def test_noise_is_gaussian_of_the_stated_size_and_anew_at_each_step():
    found, _ = noises(CONFIG, 4)
    std = 0.8 * 0.5 / 6.0  # multiplier, clip, expected batch
    error = std / np.sqrt(2 * found.size)
    assert abs(found.std() - std) < 4 * error
    assert abs(found.mean()) < 4 * std / np.sqrt(found.size)
    inside = np.mean(np.abs(found) < std)
    assert abs(inside - 0.682689) < 4 * np.sqrt(0.2166 / found.size)
    between = np.corrcoef(found) - np.eye(4)
    assert np.abs(between).max() < 4.5 / np.sqrt(found.shape[1])
    other, _ = noises(dataclasses.replace(CONFIG, seed=4), 1)
    assert abs(np.corrcoef(other[0], found[0])[0, 1]) < 4.5 / np.sqrt(found.shape[1])


def test_noise_depends_on_seed_and_step_alone():
    assert np.array_equal(noises(CONFIG, 3)[0], noises(private(delta=0.3), 3)[0])


def test_the_private_optimiser_is_adam_on_noised_gradients():
    m = dp.mechanism(CONFIG, 24)
    tied = dataclasses.replace(CONFIG, clip=1e-9)  # of the whole gradient: not used
    optimiser = make_optimiser(tied, dp.make_privatiser(tied, m))
    noise, _ = noises(CONFIG, 2, size=5)
    adam = make_optimiser(CONFIG)
    zero = jnp.zeros(5)
    one, two = optimiser.init(zero), adam.init(zero)
    for i in range(2):
        with jax.numpy_dtype_promotion("standard"):
            a, one = optimiser.update(zero + 0.1, one, zero)
            b, two = adam.update(jnp.asarray(noise[i] + 0.1, jnp.float32), two, zero)
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_controls_are_the_two_halves():
    wide = gradient_of(private(clip=1e9))[0](WHOLE)[1]
    both, halves = gradient_of(CONFIG)[0](WHOLE)[1], {}
    for control in ("clip_only", "noise_only"):
        config = private(control=control)
        gradient, m = gradient_of(config)
        halves[control] = gradient(WHOLE)[1]
        told = dp.record(config, m, 60)
        assert told["control"] == control
        assert told["epsilon_pld"] is told["epsilon_rdp"] is None
        assert (m.noise_multiplier == 0) == (control == "clip_only")
    assert np.array_equal(halves["clip_only"], both)
    np.testing.assert_allclose(halves["noise_only"], wide, rtol=1e-5, atol=1e-8)
    assert np.linalg.norm(wide) > 1.5 * np.linalg.norm(both)
    assert not np.any(noises(private(control="clip_only"), 2)[0])
    loud, _ = noises(private(control="noise_only"), 2)
    assert np.array_equal(loud, noises(CONFIG, 2)[0])


# --- whole runs --------------------------------------------------------------------

CHILD = """
import os, signal, sys
import jax
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
from score_mia import checkpoint
from score_mia.device import cache_compilations
from score_mia.train.loop import train
from tests.train.test_dp import CONFIG, IMAGES
from tests.train.toys import MLP
cache_compilations()
save_sealed = checkpoint.save_sealed
def die_before_commit(path, value):
    if path.name == "step-00000040.json":
        os.kill(os.getpid(), signal.SIGKILL)
    save_sealed(path, value)
checkpoint.save_sealed = die_before_commit
train(MLP, IMAGES, CONFIG, sys.argv[1])
"""


def leaves(target):
    return [np.asarray(a) for a in jax.tree.leaves(target.params)]


def same(one, other):
    pairs = zip(leaves(one), leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The uninterrupted private run."""
    folder = tmp_path_factory.mktemp("whole")
    return train(MLP, IMAGES, CONFIG, folder), folder


def test_killed_and_resumed_it_ends_with_the_same_bits(tmp_path, whole):
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run(command, cwd=ROOT, env=env, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "state" / "step-00000040").is_dir()
    assert same(train(MLP, IMAGES, CONFIG, tmp_path), whole[0])
    lines = [(f / "train.jsonl").read_text() for f in (tmp_path, whole[1])]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("cut", ["microbatches", "scanned and streamed"])
def test_how_steps_are_run_changes_nothing(tmp_path, whole, monkeypatch, cut):
    config = CONFIG
    if cut == "microbatches":
        config = private(microbatch=2)
    else:
        config = dataclasses.replace(CONFIG, steps_per_call=5)
        monkeypatch.setattr("score_mia.train.loop.RESIDENT_BYTES", 0)
    other = train(MLP, IMAGES, config, tmp_path)
    for a, b in zip(leaves(other), leaves(whole[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


def test_a_run_tells_its_guarantee_and_a_snapshot_a_stronger_one(whole):
    final = describe(whole[1])["provenance"]
    early = describe(whole[1] / "snapshots" / "step-000030")["provenance"]
    told = final["privacy"]
    assert {k: told[k] for k in ("sampling", "adjacency", "clip", "rows", "steps")} == {
        "sampling": "poisson", "adjacency": "zero_out", "clip": 0.5, "rows": 24,
        "steps": 60,
    }  # fmt: skip
    assert (told["rate"], told["noise_multiplier"], told["delta"]) == (0.25, 0.8, 0.01)
    assert early["privacy"]["epsilon_pld"] < told["epsilon_pld"] < told["epsilon_rdp"]
    for about, steps in ((final, 60), (early, 30)):
        m = Mechanism(24, 0.25, told["capacity"], 0.8, steps)
        assert about["privacy"]["epsilon_pld"] == accounting.epsilon(m, 0.01)
    own = dataclasses.replace(CONFIG, time_law="uniform")  # the process's own law
    assert TrainConfig.of(final["train"]) == own
    json.dumps(final, allow_nan=False)
    assert same(load_target(whole[1]), whole[0])


def test_it_learns_when_there_is_little_noise(tmp_path):
    config = dataclasses.replace(
        private(noise_multiplier=0.05, control="noise_only"),
        steps=200, log_every=20, checkpoint_every=200, snapshot_every=None,
    )  # fmt: skip
    train(MLP, IMAGES, config, tmp_path)
    lines = (tmp_path / "train.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert np.mean(losses[-3:]) < 0.6 * losses[0]


def test_noise_calibrated_for_some_steps_is_not_for_others():
    config = dataclasses.replace(
        private(epsilon=5.0, noise_multiplier=None, accountant="rdp"), steps=40
    )
    longer, clock = dataclasses.replace(config, steps=50), UniformClock()
    assert config.science(clock) != longer.science(clock)
    given = dataclasses.replace(CONFIG, steps=40)
    assert given.science(clock) == CONFIG.science(clock)
    assert private(microbatch=1).science(clock) == CONFIG.science(clock)
    assert private(control="clip_only").science(clock) != CONFIG.science(clock)
    few, many = (dp.mechanism(c, 24).noise_multiplier for c in (config, longer))
    assert few < many
    told = dp.record(config, dp.mechanism(config, 24), 40)
    assert told["epsilon_rdp"] <= 5.0 < told["epsilon_rdp"] + 1e-3


def test_batches_are_coins_padded_to_the_capacity():
    m = dp.mechanism(CONFIG, 24)
    assert (m.capacity % 8, m.rate) == (0, 0.25)
    batches = dp.make_batches(CONFIG, m)
    rows = batches.indices(7)
    assert rows.shape == (m.capacity,) == (batches.size,)
    picked = take(Batch(IMAGES), rows)
    assert np.array_equal(picked.real, rows >= 0)
    assert np.array_equal(picked.images[picked.real], IMAGES[rows[rows >= 0]])


def test_private_training_on_a_cpu_convolves_by_matrix_products():
    spec = {"network": {"name": "ddpm", "features": 32}, "sde": {"name": "vp"}}
    entry = dp.private_spec(spec)["network"]
    assert entry == {"name": "ddpm", "features": 32, "convolution": "patches"}
    chosen = {**spec, "network": {**spec["network"], "convolution": "direct"}}
    assert dp.private_spec(chosen)["network"]["convolution"] == "direct"
    assert dp.private_spec(MLP) == MLP


# --- what bad input gets -----------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"delta": 1e-3}, "give either the epsilon"),
        ({"delta": 1e-3, "epsilon": 1.0, "noise_multiplier": 1.0}, "give either"),
        ({"delta": 1.0, "epsilon": 1.0}, r"dp.delta=1.0: is not between"),
        ({"delta": 1e-3, "epsilon": -1.0}, "dp.epsilon=-1.0: is not positive"),
        ({"delta": 1e-3, "epsilon": 1.0, "clip": 0.0}, "dp.clip=0.0"),
        ({"delta": 1e-3, "epsilon": 1.0, "accountant": "prv"}, "dp.accountant='prv'"),
        ({"delta": 1e-3, "epsilon": 1.0, "rate": 2.0}, r"dp.rate=2.0: is outside"),
        ({"delta": 1e-3, "epsilon": 1.0, "clipp": 2.0}, "did you mean 'clip'"),
        ({"epsilon": 1.0}, "delta"),
    ],
)
def test_wrong_privacy_is_told(fields, told):
    table = {"train": TrainConfig}
    with pytest.raises(UserError, match=told):
        make("config section", table, {"name": "train", "steps": 5, "dp": fields})


def test_what_cannot_be_sampled_or_accounted_is_refused(monkeypatch):
    with pytest.raises(UserError, match="batch=6: is larger than the training set"):
        dp.mechanism(CONFIG, 5)
    with pytest.raises(UserError, match=r"dp.capacity=8: .*'rdp'.*give 24 or more"):
        dp.mechanism(private(capacity=8, accountant="rdp"), 24)
    assert dp.mechanism(private(capacity=8), 24).capacity == 8
    monkeypatch.setitem(sys.modules, "jax_privacy.noise_addition", None)
    with pytest.raises(UserError, match=r"jax_privacy.*pip install -e '.\[dp\]'"):
        dp.make_privatiser(CONFIG, dp.mechanism(CONFIG, 24))
