"""CLIP's tokenizer from files against transformers', and files that do not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from score_mia import tokenizer
from score_mia.check import UserError
from score_mia.conditions import Tokens
from score_mia.interop.diffusers.latent import tokens

MODELS = Path(__file__).parent / "golden" / "models"
WHOLE = MODELS / "sd1" / "tokenizer"
GOLDEN = json.loads((MODELS / "tokens.json").read_text())


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """The same tokenizer as vocab.json and merges.txt, as older folders have it."""
    folder = tmp_path_factory.mktemp("apart")
    shutil.copy(WHOLE / "tokenizer_config.json", folder)
    model = json.loads((WHOLE / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    return folder


@pytest.mark.parametrize("kind", ["whole", "apart"])
def test_tokens_are_those_of_transformers(kind, apart):
    files = tokenizer.read(str(WHOLE if kind == "whole" else apart))
    found = files.encode([one["prompt"] for one in GOLDEN])
    for one, own in zip(GOLDEN, found, strict=True):
        assert [files.start, *own, files.end] == one["tokens"], one["prompt"]


def test_a_prompt_that_is_too_long_is_told_and_not_cut_unasked():
    long = {"caption": np.asarray(["a cat", "a " * 76])}
    with pytest.raises(UserError, match="has 78 tokens, more than the model's 77"):
        Tokens(str(WHOLE))(long)
    cut = Tokens(str(WHOLE), cut=True)(long)
    assert cut.shape == (2, 77)
    assert cut[1, -1] == tokenizer.read(str(WHOLE)).end


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ({"vocab_size": 999}, "has 1000 tokens where the text encoder knows 999"),
        (
            {"max_position_embeddings": 76},
            "has texts of 77 tokens, the text encoder 76",
        ),
    ],
)
def test_one_that_does_not_fit_the_text_encoder_is_told(text, told):
    fits = {"vocab_size": 1000, "max_position_embeddings": 77}
    assert tokens(WHOLE, fits)["length"] == 77
    with pytest.raises(UserError, match=told):
        tokens(WHOLE, {**fits, **text})


def test_files_that_are_missing_damaged_or_changed_are_told(apart, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(apart, folder)
    known = Tokens(str(folder), fingerprint=Tokens(str(folder)).found)
    known({"caption": np.asarray(["a"])})
    (folder / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(UserError, match="has changed"):
        known({"caption": np.asarray(["a"])})
    (folder / "vocab.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        tokenizer.read(str(folder))
    (folder / "merges.txt").unlink()
    with pytest.raises(UserError, match=r"merges.txt: is missing"):
        tokenizer.read(str(folder))
