"""The official binary batches of CIFAR, read in their order."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.data.cifar import PARTS, read_batches
from score_mia.data.local import arrays


def write(folder, kind, rows=3):
    """A folder of made-up batches, and their images and labels."""
    files, labels = PARTS[kind]
    key = np.random.default_rng(0)
    images, meant = [], []
    for name in files:
        pixels = key.integers(0, 256, (rows, 32, 32, 3), np.uint8)
        marks = key.integers(0, 100, (rows, labels), np.uint8)
        planes = pixels.transpose(0, 3, 1, 2).reshape(rows, -1)
        (folder / name).write_bytes(np.concatenate([marks, planes], 1).tobytes())
        images.append(pixels)
        meant.append(marks[:, -1])
    return np.concatenate(images), np.concatenate(meant)


@pytest.mark.parametrize("kind", PARTS)
def test_the_order_of_the_files_is_kept(kind, tmp_path):
    images, labels = write(tmp_path, kind)
    found = read_batches(tmp_path)
    np.testing.assert_array_equal(found[0], images)
    np.testing.assert_array_equal(found[1], labels)


def test_the_command_writes_what_a_config_reads(tmp_path):
    images, labels = write(tmp_path, "CIFAR-10")
    out = tmp_path / "cifar10.npz"
    command = [sys.executable, "-m", "score_mia.data.cifar", f"--batches={tmp_path}"]
    subprocess.run([*command, f"--out={out}"], check=True, capture_output=True)
    source = arrays(out)
    np.testing.assert_array_equal(source.images(source.ids) * 255, images)
    np.testing.assert_array_equal(
        source.columns(source.ids, ("label",))["label"], labels
    )
    bad = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bad.returncode != 0
    assert "error: --out" in bad.stderr


def test_what_is_missing_or_cut_short_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no batches of CIFAR"):
        read_batches(tmp_path)
    write(tmp_path, "CIFAR-10")
    file = tmp_path / "data_batch_3.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"data_batch_3.bin: holds .* no whole rows"):
        read_batches(tmp_path)
    file.unlink()
    with pytest.raises(UserError, match=r"file .*data_batch_3.bin"):
        read_batches(tmp_path)
