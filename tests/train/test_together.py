"""Processes on one machine train together and end with the parameters of one."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from score_mia.checkpoint import describe, load_target
from score_mia.train import log
from score_mia.train.config import Privacy, TrainConfig
from score_mia.train.loop import train
from tests.train.toys import MLP, images

ROOT = Path(__file__).parents[2]
IMAGES = images(10, (2, 2, 1))
CONFIG = TrainConfig(
    steps=40, batch=8, learning_rate=1e-2, warmup=5, ema=0.9, log_every=10,
    checkpoint_every=10, snapshot_every=20, seed=3,
)  # fmt: skip


def start(folder, config, count, devices=1, *, dies=(-1, 0)):
    """So many processes, of which one may die after a step."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = (
        f"--xla_force_host_platform_device_count={devices} "
        "--xla_backend_optimization_level=0"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags}
    told = json.dumps(dataclasses.asdict(config))
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.train.together", str(folder), told),
                *(str(port), str(number), str(count)),
                str(dies[1] if number == dies[0] else 0),
            ],
            cwd=ROOT,
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]


def end(processes):
    """What each said on standard error."""
    said = [process.communicate(timeout=1200)[1] for process in processes]
    return [process.returncode for process in processes], said


def trained(folder, config, count, devices=1):
    status, said = end(start(folder, config, count, devices))
    assert status == [0] * count, said
    return folder / "target"


def same(folder, other, rtol=1e-4, atol=2e-6):
    for place in (".", "snapshots/step-000020"):
        for use in ("ema", "params"):
            one, two = (load_target(f / place, use).params for f in (folder, other))
            for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
                np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    lines = [log.read(f / "train.jsonl") for f in (folder, other)]
    steps, losses = ([[x[k] for x in y] for y in lines] for k in ("step", "loss"))
    assert steps[0] == steps[1]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    train(MLP, IMAGES, CONFIG, folder)
    return folder


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path, alone):
    config = dataclasses.replace(CONFIG, fsdp=True, accumulate=2)
    folder = trained(tmp_path, config, 2)
    same(folder, alone)
    assert describe(folder)["provenance"]["step"] == 40


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "devices", "changes"),
    [
        (4, 1, {}),
        (2, 2, {}),
        (2, 2, {"fsdp": True, "steps_per_call": 5}),
        (4, 2, {"fsdp": True}),
    ],
)
def test_any_number_of_processes_and_devices_trains_as_one(
    tmp_path, alone, count, devices, changes
):
    config = dataclasses.replace(CONFIG, **changes)
    same(trained(tmp_path, config, count, devices), alone)


@pytest.mark.slow
def test_private_training_is_that_of_one_process(tmp_path):
    private = Privacy(delta=1e-2, noise_multiplier=0.8, clip=0.5, microbatch=4)
    config = dataclasses.replace(CONFIG, batch=5, clip=None, dp=private)
    train(MLP, IMAGES, config, tmp_path / "alone")
    # Its batches have lengths that four devices do not divide.
    folder = trained(tmp_path / "both", config, 4)
    same(folder, tmp_path / "alone", atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dead", [1, 0], ids=["another", "the coordinator"])
def test_who_dies_ends_the_others_and_fewer_go_on_from_the_checkpoint(
    tmp_path, alone, dead
):
    status, said = end(start(tmp_path, CONFIG, 4, dies=(dead, 20)))
    assert status.pop(dead) == -signal.SIGKILL
    said.pop(dead)
    if dead:
        assert status == [2] * 3, said
        lines = [text.strip().splitlines()[-1] for text in said]
        line = "score-mia: host 1 of 4 does not run any more, and training needs"
        assert all(one.startswith(line) for one in lines), said
    else:  # JAX itself ends who loses the coordinator
        assert all(s in (2, -signal.SIGABRT) for s in status), said
    assert not list(tmp_path.glob("failed-*"))
    status, said = end(start(tmp_path, CONFIG, 2))
    assert status == [0, 0], said
    # The first may have been ended while it wrote the state of step 20.
    (told,) = {x for t in said for x in re.findall(r"goes on from step (\d+)", t)}
    assert told in ("10", "20")
    same(tmp_path / "target", alone)


@pytest.mark.slow
def test_a_batch_that_cannot_be_dealt_out_is_refused_by_all(tmp_path):
    config = dataclasses.replace(CONFIG, batch=6)
    status, said = end(start(tmp_path, config, 4))
    assert status == [2] * 4
    told = "train.batch=6: cannot be dealt out to 4 devices of 4 hosts; give a multiple"
    assert all(told in text for text in said), said


@pytest.mark.slow
def test_who_fails_tells_the_others_why(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "state").write_text("in the way of the first")
    status, said = end(start(tmp_path, CONFIG, 2))
    assert status == [2, 2], said
    reason = said[0].strip().splitlines()[-1].removeprefix("score-mia: ")
    assert (
        said[1].strip().splitlines()[-1] == f"score-mia: host 0 of 2 failed: {reason}"
    )
