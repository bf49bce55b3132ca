"""Adapters under every kind of names are the same change of the same weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from score_mia.check import UserError
from score_mia.interop.diffusers import describe, origin, read_folder
from score_mia.interop.lora import Lora
from score_mia.interop.safetensors import Tensors
from score_mia.spec import parts

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
FILES = {
    "diffusers": "diffusers.safetensors",
    "kohya": "kohya.safetensors",
    "old": "old.safetensors",
    "peft": "peft",
}


def read(lora):
    return read_folder(GOLDEN / "sd1", lora=lora, place=jnp.asarray)


@pytest.fixture(scope="module")
def apply():
    return jax.jit(parts(describe(GOLDEN / "sd1")).network.apply)


@pytest.mark.parametrize("kind", FILES)
def test_the_output_is_that_of_peft(kind, apply):
    foreign = read(Lora(str(GOLDEN / "lora" / FILES[kind])))
    numbers = np.load(GOLDEN / "sd1.npz")
    theirs = np.load(GOLDEN / "lora.npz")["unet"]
    given = (numbers["x"], numbers["t"], numbers["context"])
    ours = np.asarray(apply(foreign.params["network"], *given))
    rms = np.sqrt(np.mean(theirs**2))
    assert np.abs(ours - theirs).max() < 1e-4 * rms
    assert np.abs(numbers["unet"] - theirs).max() > 0.1 * rms
    assert FILES[kind] in foreign.origin["lora"]


def test_the_change_is_in_proportion_to_the_scale():
    path = str(GOLDEN / "lora" / FILES["kohya"])
    base, half, whole = (
        jax.tree.leaves(read(lora).params)
        for lora in (None, Lora(path, 0.5), Lora(path))
    )
    changed = 0
    for b, h, w in zip(base, half, whole, strict=True):
        np.testing.assert_allclose(2 * (h - b), w - b, atol=1e-5)
        changed += bool(np.any(w != b))
    names = load_file(path)
    assert changed == sum(name.endswith(".alpha") for name in names)
    origins = [origin(GOLDEN / "sd1", lora=Lora(path, s)) for s in (0.5, 1.0)]
    assert origins[0] != origins[1]


def rewritten(tmp_path, change):
    tensors = load_file(GOLDEN / "lora" / FILES["kohya"])
    change(tensors)
    save_file(tensors, tmp_path / "lora.safetensors")
    return Lora(str(tmp_path / "lora.safetensors"))


NAME = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
CHANGES = {
    "is a DoRA's": lambda t: t.update({f"{NAME}.dora_scale": np.ones(3, np.float32)}),
    "is of no kind": lambda t: t.update({f"{NAME}.hada_w1_a": np.ones(3, np.float32)}),
    "one half": lambda t: t.pop(f"{NAME}.lora_up.weight"),
    "matches no weight of unet": lambda t: t.update(
        {
            f"lora_unet_x.lora_{s}.weight": np.ones((2, 2), np.float32)
            for s in ("up", "down")
        }
    ),
    "do not make the weight's": lambda t: t.update(
        {f"{NAME}.lora_up.weight": np.ones((5, 2), np.float32)}
    ),
    "NaN": lambda t: t.update(
        {f"{NAME}.lora_up.weight": np.full((8, 2), np.nan, np.float32)}
    ),
}


@pytest.mark.parametrize("told", CHANGES)
def test_what_is_no_lora_of_this_model_is_told(told, tmp_path):
    with pytest.raises(UserError, match=told):
        read(rewritten(tmp_path, CHANGES[told]))


def test_a_dora_of_peft_is_refused_by_its_config(tmp_path):
    folder = shutil.copytree(GOLDEN / "lora" / "peft", tmp_path / "peft")
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["use_dora"] = True
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="use_dora: is set"):
        read(Lora(str(folder)))


def test_without_alpha_nothing_is_scaled(tmp_path, apply):
    """The same file without its alphas is the change without alpha / rank = 3 / 2."""

    def forget(tensors):
        for name in [n for n in tensors if n.endswith(".alpha")]:
            del tensors[name]

    base, told, plain = (
        read(lora).params["network"]["unet"]["mid_block"]["attentions"]["0"]
        for lora in (
            None,
            Lora(str(GOLDEN / "lora" / FILES["kohya"])),
            rewritten(tmp_path, forget),
        )
    )
    b, t, p = (
        tree["transformer_blocks"]["0"]["attn1"]["to_q"]["kernel"]
        for tree in (base, told, plain)
    )
    np.testing.assert_allclose(1.5 * (p - b), t - b, atol=1e-5)


def test_each_component_has_its_own_alpha_in_the_header(tmp_path):
    names = ("unet", "text_encoder")
    weights = {name: Tensors.of(str(GOLDEN / "sd1" / name)) for name in names}
    adapters, changed = {}, {}
    for part, lazy in weights.items():
        known = next(n for n in lazy if n.endswith((".to_q.weight", ".q_proj.weight")))
        (out, inp), changed[part] = lazy.shape(known), known
        module = f"{part}.{known.removesuffix('.weight')}"
        adapters[f"{module}.lora_A.weight"] = np.ones((2, inp), np.float32)
        adapters[f"{module}.lora_B.weight"] = np.ones((out, 2), np.float32)
    alphas = {"unet": 8.0, "text_encoder": 3.0}
    told = json.dumps({f"{part}.lora_alpha": a for part, a in alphas.items()})
    path = tmp_path / "both.safetensors"
    save_file(adapters, path, metadata={"lora_adapter_metadata": told})
    merged = Lora(str(path)).over(weights)
    for part, known in changed.items():
        change = merged[part][known] - np.asarray(weights[part][known], np.float32)
        np.testing.assert_allclose(change, alphas[part], rtol=1e-5)
    save_file(adapters, path, metadata={"lora_adapter_metadata": told[:-3]})
    with pytest.raises(UserError, match="lora_adapter_metadata"):
        Lora(str(path)).over(weights)
    other = {"lora_alpha": 100.0, "use_dora": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(other))
    save_file(adapters, path)
    merged = Lora(str(path)).over(weights)  # no alpha: a scale of 1, as rank / rank
    change = merged["unet"][changed["unet"]] - weights["unet"][changed["unet"]]
    np.testing.assert_allclose(change, 2.0, rtol=1e-5)
