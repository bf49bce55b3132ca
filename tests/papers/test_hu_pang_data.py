"""FFHQ and DRD, prepared from the images that a user has and read back."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from score_mia.check import UserError
from score_mia.papers.hu_pang import builders, drd, ffhq
from tests.data.makers import pictures, prepared_ffhq, write_folder, write_levels


def test_ffhq_records_are_the_sorted_files_resized_as_the_authors_did(tmp_path):
    root, images = tmp_path, pictures(130, 16)  # more than two blocks of records
    names = [f"{i // 100:05d}/{i:05d}.png" for i in range(130)]
    prepared_ffhq(root, images, 8, names)
    want = [
        np.asarray(Image.fromarray(x).resize((8, 8), Image.Resampling.LANCZOS))
        for x in images
    ]
    source = ffhq(root / "data", 8)
    assert source.ids.tolist() == list(range(130))
    np.testing.assert_array_equal(source.pixels, np.stack(want))


def test_drd_keeps_the_diseased_with_their_levels(tmp_path):
    images = pictures(5)
    names = [f"{part}/{i}_left.png" for i, part in enumerate(["train", "test"] * 2)]
    names.append("train/9_left.png")
    write_folder(tmp_path / "images", images, names)
    train = write_levels(tmp_path / "a.csv", [("0_left", 0), ("2_left", 4)])
    test = write_levels(
        tmp_path / "b.csv", [("1_left", 1), ("3_left", 0), ("9_left", 2)]
    )
    with pytest.warns(UserWarning, match="3 images, the full set has 23,359"):
        builders.prepare_drd(tmp_path / "images", [train, test], tmp_path / "data", 8)
    source = drd(tmp_path / "data", 8)
    # Sorted by path: test/1_left, train/2_left, train/9_left.
    assert source.labels.tolist() == [1, 4, 2]
    np.testing.assert_array_equal(source.pixels, images[[1, 2, 4]])


def test_the_command_prepares_and_its_errors_are_one_line(tmp_path):
    write_folder(tmp_path / "images", pictures(3))
    command = [sys.executable, "-m", "score_mia.papers.hu_pang.prepare", "--size=8"]
    command += [f"--images={tmp_path / 'images'}", f"--data_dir={tmp_path / 'data'}"]
    run = subprocess.run(
        [*command, "--dataset=ffhq"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "the full set has 70,000" in run.stderr
    assert len(ffhq(tmp_path / "data", 8)) == 3
    run = subprocess.run(
        [*command, "--dataset=drd"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("error: --labels: is missing; give")
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: ffhq(d), r"not prepared.*prepare --dataset=ffhq --size=64"),
        (lambda d: drd(d, 32), r"prepare --dataset=drd --size=32"),
    ],
)
def test_what_is_not_prepared_says_how(tmp_path, call, message):
    with pytest.raises(UserError, match=message) as told:
        call(tmp_path)
    assert "\n" not in str(told.value)


def test_prepared_files_of_other_images_are_not_taken_for_these(tmp_path):
    prepared_ffhq(tmp_path, pictures(3))
    with pytest.raises(UserError, match=r"already holds 3 images, not these 4"):
        prepared_ffhq(tmp_path, pictures(4))


def test_drd_labels_that_do_not_fit(tmp_path):
    write_folder(tmp_path / "images", pictures(2), ["0_left.png", "1_left.png"])
    levels = write_levels(tmp_path / "a.csv", [("0_left", 1)])
    with pytest.raises(UserError, match=r"1_left.png: has no level.*every csv"):
        builders.prepare_drd(tmp_path / "images", [levels], tmp_path / "data", 8)
    levels.write_text("id,grade\n0_left,1\n")
    with pytest.raises(UserError, match="needs the columns image and level"):
        builders.prepare_drd(tmp_path / "images", [levels], tmp_path / "data", 8)
