"""Image encoders in a folder against transformers', number by number."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from score_mia.check import UserError
from score_mia.encoders import ENCODERS, encode
from score_mia.encoders.vit import FAMILIES, ViT
from score_mia.registry import make

GOLDEN = Path(__file__).parent / "golden" / "models"
KINDS = ("clip", "vit", "deit", "dinov2", "dinov2_gated", "beit", "beit_shared")
POOLED = ("clip", "beit", "beit_shared")
FIRST = {"deit": 2}


def folder(kind):
    return str(GOLDEN / "vit" / kind)


def off(ours, theirs):
    theirs = np.asarray(theirs)
    return np.abs(np.asarray(ours) - theirs).max() / np.sqrt(np.mean(theirs**2))


@pytest.mark.parametrize("kind", KINDS)
def test_the_features_are_transformers(kind):
    encoder, numbers = ViT(folder(kind)), np.load(GOLDEN / "vit.npz")
    params = jax.tree.map(jnp.asarray, encoder.params(3))
    found = jax.jit(encoder.encoded)(params, jnp.asarray(numbers["x"]))
    states = numbers[f"{kind}_states"]
    assert off(found["tokens"], states[:, FIRST.get(kind, 1) :]) < 1e-4
    pooled = numbers[f"{kind}_pooled"] if kind in POOLED else states[:, 0]
    assert off(found["pooled"], pooled) < 1e-4


def test_every_family_is_tried():
    kinds = {ViT(folder(k))._config["model_type"] for k in KINDS}
    assert kinds == set(FAMILIES)


def test_it_is_an_encoder_of_grey_and_colour_images_of_any_size():
    encoder = make("encoder", ENCODERS, {"name": "vit", "folder": folder("clip")})
    images = np.random.default_rng(0).random((5, 20, 24, 3), np.float32)
    pooled = encode(encoder, images)
    assert pooled.shape == (5, 10)
    assert encode(encoder, images, "tokens").shape == (5, 16, 12)
    grey = images[..., :1]
    np.testing.assert_allclose(
        encode(encoder, grey), encode(encoder, np.repeat(grey, 3, -1)), atol=1e-5
    )
    np.testing.assert_allclose(encode(encoder, images[3:4]), pooled[3:4], atol=1e-5)


def test_images_are_shrunk_as_pillow_does(tmp_path):
    """Smooth pictures, bicubic: within a hundredth of the range."""
    kept = shutil.copytree(folder("vit"), tmp_path / "vit")
    (kept / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]})
    )
    rows = np.linspace(0, 3, 40)
    image = 0.5 + 0.4 * np.sin(rows[:, None, None] + rows[None, :, None] * [1, 2, 3])
    small = Image.fromarray(np.rint(255 * image).astype(np.uint8)).resize(
        (16, 16), Image.Resampling.BICUBIC
    )
    encoder = ViT(str(kept))
    params = jax.tree.map(jnp.asarray, encoder.params(3))
    mean, std = np.asarray([0.4, 0.5, 0.6]), np.asarray([0.2, 0.3, 0.4])
    given = ((np.asarray(small) / 255 - mean) / std)[None].astype(np.float32)
    theirs = encoder.encoded(params, jnp.asarray(given))["tokens"]
    ours = encoder.apply(params, jnp.asarray(image[None], jnp.float32))["tokens"]
    assert off(ours, theirs) < 0.05
    assert encoder.fingerprint != ViT(folder("vit")).fingerprint


def test_what_is_no_encoder_here_is_told(tmp_path):
    for change, told in (
        ({"model_type": "swin"}, "model_type"),
        ({"hidden_act": "swoosh"}, "hidden_act"),
    ):
        kept = shutil.copytree(folder("vit"), tmp_path / told)
        path = kept / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        with pytest.raises(UserError, match=told):
            ViT(str(kept)).params(3)
    kept = shutil.copytree(folder("vit"), tmp_path / "empty")
    (kept / "model.safetensors").unlink()
    with pytest.raises(UserError, match="safetensors"):
        ViT(str(kept)).params(3)
