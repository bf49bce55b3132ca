"""One tiny instance of every source, a paper's among them, from files of this run."""

from __future__ import annotations

import csv
import dataclasses
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from score_mia.data import SOURCES
from score_mia.data.source import ArraySource
from score_mia.papers.hu_pang import drd, ffhq

SIZE = 8
COUNT = 6


def pictures(count=COUNT, size=SIZE, channels=3, seed=0, change=False):
    """uint8 [count, size, size, channels] noise; `change` moves one value by one."""
    x = np.random.RandomState(seed).randint(0, 255, (count, size, size, channels))
    x = x.astype(np.uint8)
    if change:
        x[count // 2, 1, 2, 0] += 1
    return x


def source_of(pixels, labels=None):
    """A source straight from an array."""
    return ArraySource("test", pixels, np.arange(len(pixels)), labels)


def write_folder(root, images, names=None):
    """Lossless files a/0.png ... in the folder, in the order of the images."""
    names = names or [f"{'ab'[i % 2]}/{i:03d}.png" for i in range(len(images))]
    for name, image in zip(names, images, strict=True):
        path = Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze()).save(path)
    return names


def write_levels(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "level"])
        writer.writerows(rows)
    return path


def _bundled(root, change):
    source = SOURCES["bundled"](dataset="digits", size=6)
    if not change:
        return source
    pixels = source.pixels.copy()
    pixels[1700, 2, 3, 0] += np.float32(1e-3)
    return dataclasses.replace(source, pixels=pixels)


def _faces(root, change):
    source = SOURCES["faces"](size=32)
    if not change:
        return source
    pixels = source.pixels.copy()
    pixels[7, 2, 3, 0] ^= 1
    return dataclasses.replace(source, pixels=pixels)


def _folder(root, change):
    write_folder(root, pictures(change=change))
    return SOURCES["folder"](root, SIZE)


def _arrays(root, change):
    labels = np.arange(COUNT) % 3
    np.savez(root / "x.npz", images=pictures(change=change), labels=labels)
    return SOURCES["arrays"](root / "x.npz")


def _tfds(root, change):
    prepared_ffhq(root, pictures(change=change))
    return SOURCES["tfds"](f"ffhq/{SIZE}px", root / "data")


def _array_record(root, change):
    folder = prepared_ffhq(root, pictures(change=change))
    return SOURCES["array_record"](folder)


def _ffhq(root, change):
    prepared_ffhq(root, pictures(change=change))
    return ffhq(root / "data", SIZE)


def _drd(root, change):
    from score_mia.papers.hu_pang.builders import prepare_drd

    write_folder(root / "images", pictures(change=change))
    levels = write_levels(
        root / "levels.csv", [(f"{i:03d}", max(i, 1)) for i in range(COUNT)]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        prepare_drd(root / "images", [levels], root / "data", SIZE)
    return drd(root / "data", SIZE)


def prepared_ffhq(root, images, size=SIZE, names=None):
    from score_mia.papers.hu_pang.builders import prepare_ffhq

    write_folder(root / "images", images, names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return prepare_ffhq(root / "images", root / "data", size)


MAKERS = {
    "bundled": _bundled,
    "faces": _faces,
    "folder": _folder,
    "arrays": _arrays,
    "tfds": _tfds,
    "array_record": _array_record,
    "ffhq": _ffhq,
    "drd": _drd,
}


def make(name, root, change=False):
    """A tiny source; with `change`, one value of one image differs by the least."""
    root = Path(root) / ("changed" if change else "plain")
    root.mkdir(exist_ok=True)
    return MAKERS[name](root, change)
