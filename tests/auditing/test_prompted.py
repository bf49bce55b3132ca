"""Images for prompts: named, seeded, gone on with; what is no prompt is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from score_mia import cli
from score_mia.auditing import plan as planning
from score_mia.auditing import prompted, stages
from score_mia.check import UserError

MODELS = Path(__file__).parents[1] / "golden" / "models"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The tiny Stable Diffusion in a workdir, and the config's file."""
    folder = tmp_path_factory.mktemp("prompted")
    config = dict(
        target=dict(name="diffusers", folder=str(MODELS / "sd1")),
        data=dict(name="bundled", dataset="emoji"),
        split=dict(name="files", members=[0, 1], nonmembers=[2, 3]),
        attacks=dict(loss=dict(signal=dict(name="loss", times=1))),
        sampler=dict(name="ddim", steps=2, guidance=3.0),
        engine=dict(tile=2, shard=4, devices=1),
        report=dict(samples=0, replicates=100),
    )
    file = folder / "config.py"
    file.write_text(f"def get_config(arg=''):\n    return {config!r}\n")
    stages.train(planning.plan(config), folder / "run")
    return file, folder / "run", config


def run(made, prompts, *flags):
    file, workdir, _ = made
    return cli.main(
        [
            *("score-mia", "generate", f"--config={file}", f"--workdir={workdir}"),
            *(f"--prompts={prompts}", *flags),
        ]
    )


def test_an_image_for_each_prompt_and_a_manifest(made, tmp_path, capsys):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red heart\n\na cat\n")
    assert run(made, prompts, "--count=2") == 0
    folder = Path(capsys.readouterr().out.split("images: ")[1].strip())
    rows = [json.loads(r) for r in (folder / "manifest.jsonl").read_text().splitlines()]
    assert [(r["prompt"], r["seed"]) for r in rows] == [
        ("a red heart", 0),
        ("a red heart", 1),
        ("a cat", 2),
        ("a cat", 3),
    ]
    images = [np.asarray(Image.open(folder / row["file"])) for row in rows]
    assert all(image.shape == (32, 32, 3) for image in images)
    assert len({image.tobytes() for image in images}) == 4
    kept = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.png")}
    (folder / rows[2]["file"]).unlink()
    assert run(made, prompts, "--count=2") == 0
    again = np.asarray(Image.open(folder / rows[2]["file"]))
    np.testing.assert_array_equal(again, images[2])
    now = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.png")}
    assert sum(now[n] == kept[n] for n in kept) == 3


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("p.txt", "one\n two \n", ["one", " two "]),
        ("p.csv", "file,caption\na.png,one\nb.png,two\n", ["one", "two"]),
        ("p.jsonl", '{"text": "one"}\n{"caption": "two"}\n', ["one", "two"]),
    ],
)
def test_prompts_are_lines_or_rows(name, text, expected, tmp_path):
    (tmp_path / name).write_text(text)
    assert prompted.read(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("p.txt", "\n\n", "holds none"),
        ("p.csv", "file,words\na.png,one\n", "row 1 has no caption"),
        ("p.jsonl", '{"caption": "one"}\n[1]\n', "row 2 has no caption"),
        ("p.jsonl", "{", "cannot be read"),
        ("p.txt", None, "does not exist"),
    ],
)
def test_what_is_no_prompt_is_told(name, text, told, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=told):
        prompted.read(tmp_path / name)


def test_a_prompt_that_is_too_long_is_told_and_nothing_is_lost(made, tmp_path, capsys):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat\n" + "word " * 100 + "\n")
    assert run(made, prompts) == 2
    assert "tokens, more than the model's 77; shorten it" in capsys.readouterr().err
