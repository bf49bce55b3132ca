"""CIFAR-10 and CIFAR-100 as an npz file that a config reads.

    python -m score_mia.data.cifar --batches=cifar-10-batches-bin --out=cifar10.npz
    python -m score_mia.data.cifar --batches=cifar-100-binary --out=cifar100.npz

The folder is what the official "binary version" unpacks to. Its order is kept, so the
lists of ids that others publish hold: the training images are 0 to 49,999, as in
torchvision and SecMI's splits, and the test images the 10,000 after them. The "python
version" is pickled, and not read.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from score_mia.check import UserError, existing, printable, require
from score_mia.files import write_atomic

_BATCHES = flags.DEFINE_string("batches", "", "Folder of the official binary version.")
_OUT = flags.DEFINE_string("out", "", "The npz file to write.")

PARTS = {
    "CIFAR-10": ([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"], 1),
    "CIFAR-100": (["train.bin", "test.bin"], 2),
}
"""Data set -> its files in order, and labels of a row, of which the last is meant."""
SIDE = 32


def read_batches(folder: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 32, 32, 3], uint8, and labels [N] of the folder's files, in order.

    Raises:
      UserError: the folder, or one of its files, is missing or cut short.
    """
    folder = existing(folder, "folder")
    found = [name for name, (files, _) in PARTS.items() if (folder / files[0]).exists()]
    remedy = "unpack the binary version of CIFAR-10 or CIFAR-100 there"
    require(bool(found), str(folder), "holds no batches of CIFAR", remedy)
    files, labels = PARTS[found[0]]
    width = labels + 3 * SIDE * SIDE
    parts = []
    for name in files:
        raw = np.fromfile(existing(folder / name, "file"), np.uint8)
        whole = len(raw) > 0 and len(raw) % width == 0
        problem = f"holds {len(raw)} bytes, no whole rows of {width}"
        require(whole, str(folder / name), problem, "unpack it again")
        parts.append(raw.reshape(-1, width))
    rows = np.concatenate(parts)
    planes = rows[:, labels:].reshape(-1, 3, SIDE, SIDE)
    return planes.transpose(0, 2, 3, 1), rows[:, labels - 1].astype(np.int64)


def main(argv: Sequence[str]) -> None:
    """Write the file and print what is in it."""
    del argv
    try:
        for name, value in (("--batches", _BATCHES.value), ("--out", _OUT.value)):
            require(bool(value), name, "is missing", "give a path")
        images, labels = read_batches(_BATCHES.value)
        made = {"images": images, "labels": labels}
        write_atomic(_OUT.value, lambda file: np.savez_compressed(file, **made))
    except UserError as error:
        sys.exit(f"error: {printable(str(error))}")
    print(f"prepared: {len(images):,} images in {printable(_OUT.value)}")


if __name__ == "__main__":
    app.run(main)
