"""Checkpoints of pytorch-ddpm against what its U-Net computes, or one line."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.interop.pytorch_ddpm import describe, read_pytorch_ddpm
from score_mia.models import MODELS, Described
from score_mia.networks import NETWORKS
from score_mia.registry import make
from score_mia.sampling import Ddim
from score_mia.spec import parts
from tests.interop.writer import Call, tensor, zipped

GOLDEN = Path(__file__).parents[1] / "golden"
ARRAYS = np.load(GOLDEN / "models" / "pytorch_ddpm.npz")
SHAPES = json.loads(str(ARRAYS["shapes"]))
X, Y = (ARRAYS[name].transpose(0, 2, 3, 1) for name in ("x", "y"))
STEPS = jnp.asarray(ARRAYS["steps"], jnp.float32)
STATE = run_path(str(GOLDEN / "derive" / "pytorch_ddpm.py"))["weights"](SHAPES)
TABLE = "time_embedding.timembedding.0.weight"


def rms(array):
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


def saved(path, states, **rest):
    """A checkpoint of these state dicts."""
    storages = {}

    def stored(array):
        storages[str(len(storages))] = np.ascontiguousarray(array).tobytes()
        key = str(len(storages) - 1)
        return tensor(array.shape, "FloatStorage", key, array.size)

    tree = {n: {k: stored(v) for k, v in s.items()} for n, s in states.items()}
    return zipped(path, {**tree, **rest}, storages)


def models(ema=STATE, prefix=""):
    halved = {k: v if k == TABLE else v / 2 for k, v in ema.items()}
    pair = {"net_model": halved, "ema_model": ema}
    return {n: {prefix + k: v for k, v in s.items()} for n, s in pair.items()}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    return saved(folder / "ckpt.pt", models(prefix="module."), step=7)


@pytest.fixture(scope="module")
def found(path):
    return read_pytorch_ddpm(path, size=8)


def outputs(found, **changes):
    network = make("network", NETWORKS, {**found.spec["network"], **changes})
    apply = jax.jit(network.build(X.shape[1:]).apply)
    return np.asarray(apply(found.ema, X, STEPS))


def test_outputs_losses_and_a_ddim_step_are_theirs(found):
    assert rms(Y) >= 0.1
    ours = outputs(found)
    assert rms(ours - Y) <= 1e-4 * rms(Y)
    noise = np.random.RandomState(3).standard_normal(X.shape)
    losses = [np.mean((noise - y) ** 2, axis=(1, 2, 3)) for y in (ours, Y)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    target = parts(found.spec).target(jax.tree.map(jnp.asarray, found.ema))
    start = (target.denoiser, jnp.asarray(X[2]), np.float32([50, 40]))
    step, _ = Ddim(denoise=False).run(*start, jax.random.key(0))
    bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 100))[[50, 40]]
    clean = (X[2] - np.sqrt(1 - bar[0]) * Y[2]) / np.sqrt(bar[0])
    theirs = np.sqrt(bar[1]) * clean + np.sqrt(1 - bar[1]) * Y[2]
    assert rms(np.asarray(step) - theirs) <= 1e-4 * rms(theirs)


@pytest.mark.parametrize(
    "wrong",
    [
        {"embedding_order": "cos_sin"},
        {"freq_shift": 1},
        {"pad": (0, 1)},
        {"heads": 2},
        {"eps": 1e-3},
    ],
    ids=lambda value: next(iter(value)),
)
def test_trap_a_wrong_option_loses_parity(found, wrong):
    assert rms(outputs(found, **wrong) - Y) > 3e-4 * rms(Y)


def test_trap_the_embedding_alternates(found):
    """Without the turn of its columns the first matrix reads another embedding."""
    plain = STATE["time_embedding.timembedding.1.weight"].T
    kernel = found.ema["embedding"]["dense_0"]["kernel"]
    assert not np.array_equal(kernel, plain)
    np.testing.assert_array_equal(kernel[:16], plain[0::2])
    np.testing.assert_array_equal(kernel[16:], plain[1::2])


def test_says_what_it_is_and_where_it_came_from(path, found):
    assert found.step == 7
    assert found.origin["file"] == "ckpt.pt"
    assert found.origin["format"] == "pytorch_ddpm"
    assert found.spec["network"]["widths"] == [32, 64]
    assert found.spec["network"]["attention"] == [False, True]
    assert found.spec["sde"] == {
        **{"name": "ddpm", "beta_min": pytest.approx(0.01)},
        **{"beta_max": pytest.approx(2.0), "steps": 100},
    }
    assert found.spec["shape"] == [8, 8, 3]
    head = {"params": found.params, "ema": found.ema}
    head = {k: v["first"]["kernel"] for k, v in head.items()}
    np.testing.assert_array_equal(2 * head["params"], head["ema"])
    source = make("target", MODELS, {"name": "pytorch_ddpm", "file": str(path)})
    assert isinstance(source, Described)
    assert source.sections()["network"] == found.spec["network"]


def test_the_prefix_of_dataparallel_may_be_absent(tmp_path, found):
    other = read_pytorch_ddpm(saved(tmp_path / "c.pt", models(), step=0), size=8)
    jax.tree.map(np.testing.assert_array_equal, found.ema, other.ema)


def changed(**changes):
    return {k: v for k, v in {**STATE, **changes}.items() if v is not None}


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({"net_model": STATE}, "'ema_model'.*missing"),
        ({"ema_model": STATE}, "'net_model'.*missing"),
        (models({"a": STATE["head.bias"]}), "has no 'time_embedding"),
        (models(changed(**{TABLE: STATE[TABLE][:, ::-1]})), "another embedding"),
        (models(changed(**{"tail.2.bias": None})), r"have no 'tail\.2\.bias'"),
        (models(changed(more=STATE["head.bias"])), "'more'.*no place"),
        (models(changed(**{"head.bias": STATE["tail.2.bias"]})), "head.bias.*shape"),
        (
            models(changed(**{"head.bias": STATE["head.bias"] * np.nan})),
            "head.bias.*NaN",
        ),
        (
            models(changed(**{"downblocks.0.block2.3.weight": None})),
            "lacks .*downblocks",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(tmp_path, states, words):
    path = saved(tmp_path / "ckpt.pt", states)
    with pytest.raises(UserError, match=words) as caught:
        read_pytorch_ddpm(path, size=8)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"checkpoint {path}")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    path = zipped(tmp_path / "c.pt", {"ema_model": Call("os", "system", "true")})
    with pytest.raises(UserError, match=r"os\.system"):
        describe(path)
    with pytest.raises(UserError, match="does not exist"):
        describe(tmp_path / "none.pt")
