"""A process with its meaning, and a codec with parameters, trained and attacked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia import auditing
from score_mia.auditing import plan as build
from score_mia.auditing.work import open_work
from score_mia.check import UserError
from score_mia.checkpoint import target_digest
from score_mia.codecs import Codec
from score_mia.engine import collect
from score_mia.likelihood import EXACT, FixedGrid, log_prob
from score_mia.results import AuditResult
from tests.beams import audit
from tests.beams.parts.codec import patches
from tests.beams.parts.flow import Flow, Straight
from tests.oracles import gaussian_target, marginal_log_prob, random_gaussian

SHAPE = (2, 2, 3)


def test_the_density_of_a_gaussian_along_the_flow():
    """On pixels: log N(x; m, C) at x = 2 image - 1, and log 2 for each of them."""
    mean, covariance = random_gaussian(SHAPE)
    target = gaussian_target(Flow(), mean, covariance, Straight(scale=1000.0))
    images = np.random.default_rng(3).random((6, *SHAPE), np.float32)
    last = marginal_log_prob(target, target.sde.t1)

    def one(image, key):
        solver = FixedGrid(192)
        return log_prob(
            target.denoiser, image, key, divergence=EXACT, prior=last, solver=solver
        ).log_prob

    keys = jax.random.split(jax.random.key(0), 6)
    found = jax.jit(jax.vmap(one))(jnp.asarray(images), keys)
    away = (2.0 * images - 1).reshape(6, -1) - (1 - Flow.t0) * mean.ravel()
    spread = (1 - Flow.t0) ** 2 * covariance + Flow.t0**2 * np.eye(12)
    exact = -0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(spread), away)
    exact -= 0.5 * np.linalg.slogdet(2 * np.pi * spread)[1] - 12 * np.log(2)
    np.testing.assert_allclose(found, exact, atol=2e-3)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("flow")
    auditing.train(build.plan(audit.flow()), folder)
    auditing.attack(build.plan(audit.flow()), folder)
    return folder


@pytest.fixture(scope="module")
def work(workdir):
    return open_work(build.plan(audit.flow()), workdir)


def test_it_is_trained_and_attacked_by_one_line_of_the_config(work, workdir):
    result = AuditResult.load(workdir)
    assert result.target.sde == {"name": "tests.beams.parts.flow:Flow"}
    assert result.attacks.keys() == {"loss"}
    assert all(one.failed is None for one in result.attacks.values())
    target = work.target
    assert target.parameterisation == Straight(scale=1000.0)
    log = (workdir / "target/train.jsonl").read_text().splitlines()
    rows = map(json.loads, log)
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < losses[0]


def test_the_network_sees_the_codec_s_space_alone(work):
    codec = work.target.codec
    assert isinstance(codec, Codec)
    np.testing.assert_array_equal(codec.rotation, patches(seed=1).rotation)
    image = jnp.asarray(work.source.images(work.split.ids[:1])[0])
    assert codec.encode(image).shape == (4, 4, 4)
    reader = work.reader("loss")
    rows = collect(reader, work.needed(reader), work.signal_folder(reader))
    assert rows.finite().all()


def test_another_codec_is_another_target(workdir, work):
    other = audit.flow()
    other.codec.seed = 2
    with pytest.raises(UserError, match="codec"):
        open_work(build.plan(other), workdir)
    turned = dataclasses.replace(work.target, codec=patches(seed=2))
    assert target_digest(turned) != target_digest(work.target)
