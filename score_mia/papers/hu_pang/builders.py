"""TFDS builders of FFHQ and DRD, which need no TensorFlow.

Neither data set may be passed on by us, and TFDS has no FFHQ: the user fetches the
images (docs/reproduce.md) and these builders turn them into array_record files whose
record i is image i of the sorted list, so that a split made of indices stays valid.
"""

from __future__ import annotations

import csv
import dataclasses
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from score_mia.check import existing, refusing, require
from score_mia.data.local import list_images
from score_mia.data.pixels import Crop, Decoder

FFHQ_IMAGES = 70_000
"""Images in FFHQ."""

DRD_IMAGES = 23_359
"""Diseased images in DRD's train and test sets together (paper, Section 4.1)."""


@dataclasses.dataclass(frozen=True)
class Item:
    """One picture to be written: its file, its name and its label (0 if none)."""

    path: Path
    name: str
    label: int = 0


class Pictures(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Records {image, index, file, label} in the order of the items."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name=f"{size}px") for size in (16, 32, 64, 128, 256)
    ]

    def __init__(
        self,
        *,
        items: Sequence[Item] = (),
        decoder: Decoder | None = None,
        **options: Any,
    ) -> None:
        self.items = tuple(items)
        self.decoder = decoder or Decoder(64)
        super().__init__(file_format="array_record", **options)

    def _info(self) -> tfds.core.DatasetInfo:
        side = self.decoder.size
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.name}: {len(self.items)} images, {self.decoder}",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(side, side, 3)),
                    "index": tfds.features.Scalar(dtype=np.int64),
                    "file": tfds.features.Text(),
                    "label": tfds.features.Scalar(dtype=np.int64),
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
        del dl_manager  # the images are the user's
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        from PIL import Image

        for i, item in enumerate(self.items):
            pixels = self.decoder.file(item.path)
            yield (
                i,
                {
                    # TFDS encodes arrays with TensorFlow, Pillow images without it.
                    "image": Image.fromarray(pixels),
                    "index": i,
                    "file": item.name,
                    "label": item.label,
                },
            )


class Ffhq(Pictures, skip_registration=True):
    """Flickr-Faces-HQ thumbnails."""

    name = "ffhq"


class Drd(Pictures, skip_registration=True):
    """Kaggle's diabetic retinopathy detection images that show the disease."""

    name = "drd"


def prepare_ffhq(
    images: str | Path, data_dir: str | Path, size: int = 64, crop: Crop = "none"
) -> Path:
    """Write FFHQ as array_record from the folder `thumbnails128x128`.

    Files are sorted by path and resized with LANCZOS, as the paper's authors did, so
    record i is their image i. A count other than 70,000 is a warning: then the paper's
    split does not apply.

    Returns:
      The folder of the prepared files; an earlier result there is kept as it is.
    """
    root = existing(images, "folder")
    items = [Item(root / name, name) for name in list_images(root)]
    _warn_count("ffhq", len(items), FFHQ_IMAGES)
    return _prepare(Ffhq, items, Decoder(size, 3, crop), data_dir)


def prepare_drd(
    images: str | Path,
    labels: Sequence[str | Path],
    data_dir: str | Path,
    size: int = 64,
    crop: Crop = "none",
) -> Path:
    """Write the diseased images of DRD (level above 0) as array_record.

    Args:
      images: folder with the pictures (train and test below it, in any subfolders).
      labels: csv files with columns "image" and "level": Kaggle's trainLabels.csv and
        retinopathy_solution.csv. The paper's 23,359 needs both.
      data_dir: where TFDS data sets are kept.
      size: side in pixels.
      crop: "none" resizes the whole picture, as the paper says; "center" cuts the
        centred square, which keeps the retina round.

    Raises:
      UserError: an image without a level, a csv without these columns.
    """
    root = existing(images, "folder")
    levels: dict[str, int] = {}
    for path in labels:
        levels.update(_levels(existing(path, "label file")))
    items = []
    for name in list_images(root):
        stem = Path(name).stem
        ok = stem in levels
        remedy = "give every csv, --labels=trainLabels.csv,retinopathy_solution.csv"
        require(ok, f"image {name}", "has no level in the label files", remedy)
        if levels[stem] > 0:
            items.append(Item(root / name, name, levels[stem]))
    require(bool(items), f"folder {root}", "has no image of level > 0", "check labels")
    _warn_count("drd", len(items), DRD_IMAGES)
    return _prepare(Drd, items, Decoder(size, 3, crop), data_dir)


def _levels(path: Path) -> dict[str, int]:
    problem = f"label file {path}: needs the columns image and level"
    remedy, kinds = (
        "give Kaggle's csv files unchanged",
        (KeyError, TypeError, ValueError),
    )
    with (
        refusing(problem, remedy, *kinds),
        path.open(newline="", encoding="utf-8") as file,
    ):
        return {row["image"]: int(row["level"]) for row in csv.DictReader(file)}


def _warn_count(name: str, have: int, full: int) -> None:
    if have != full:
        warnings.warn(
            f"{name}: {have:,} images, the full set has {full:,}; the paper's split "
            "applies to the full set only",
            stacklevel=3,
        )


def _prepare(
    kind: type[Pictures], items: list[Item], decoder: Decoder, data_dir: str | Path
) -> Path:
    config: Any = f"{decoder.size}px"
    if config not in kind.builder_configs:
        config = tfds.core.BuilderConfig(name=config)
    data_dir = Path(data_dir).expanduser()
    builder = kind(items=items, decoder=decoder, config=config, data_dir=str(data_dir))
    folder = Path(builder.data_dir)
    if folder.exists():
        written = builder.info.splits["train"].num_examples
        problem = f"already holds {written} images, not these {len(items)}"
        remedy = "delete the folder to prepare it anew"
        require(written == len(items), f"{folder}", problem, remedy)
        return folder
    remedy = (
        "free some space or choose another data_dir, then run the same command again"
    )
    with (
        tempfile.TemporaryDirectory() as unused,
        refusing(f"cannot write {folder}", remedy, OSError),
    ):
        builder.download_and_prepare(download_dir=unused)
    return folder
