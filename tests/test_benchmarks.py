"""Our side of the benchmarks runs, without the peers that it is measured beside."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from score_mia import checkpoint
from score_mia.spec import parts

pytestmark = pytest.mark.slow  # half a minute of compilation

HERE = Path(__file__).resolve().parents[1] / "benchmarks"
NETWORK = {
    "features": 32,
    "multipliers": [1, 2],
    "blocks": 1,
    "attention": [],
}
CASE = {"network": NETWORK, "shape": [8, 8, 1], "batch": 2}


@pytest.fixture
def ours(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    import ours

    yield ours
    for name in ("ours", "rows", "training", "worker"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("kind", ["forward", "sweep", "train_step"])
def test_a_case_is_made_and_called(ours, kind):
    calls = ours.KINDS[kind](CASE)
    assert "" in calls
    for call in calls.values():
        images, facts = call()
        assert images >= 1
        assert facts == {}


def test_the_likelihood_of_a_kept_target(ours, tmp_path):
    spec = {
        "network": {"name": "mlp", "features": 8, "blocks": 1},
        "sde": {"name": "vp"},
        "parameterisation": {"name": "noise", "scale": 999.0},
        "codec": {"low": -1.0, "high": 1.0},
        "shape": (4, 4, 1),
    }
    params = parts(spec).init(jax.random.key(0))
    checkpoint.save_target(tmp_path / "target", spec, params, params, {})
    images = np.random.default_rng(0).random((2, 4, 4, 1), np.float32)
    np.savez(tmp_path / "images.npz", images=images)
    case = {"target": str(tmp_path / "target"), "scratch": str(tmp_path)}
    (call,) = ours.KINDS["likelihood"](case).values()
    n, facts = call()
    assert n == 2
    assert facts["evaluations"] == 64
    assert np.isfinite(facts["bits_per_dim"]).all()
