"""Prepare the paper's data sets as array_record files, once, without TensorFlow.

    python -m score_mia.papers.hu_pang.prepare --dataset=ffhq \\
        --images=thumbnails128x128 --data_dir=~/tensorflow_datasets
    python -m score_mia.papers.hu_pang.prepare --dataset=drd --images=retina \\
        --labels=trainLabels.csv,retinopathy_solution.csv --data_dir=...

A config then reads them with `data = dict(name="score_mia.papers.hu_pang:ffhq",
data_dir=...)`. Run it in one process only: two that write the same data_dir disturb
each other.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from score_mia.check import UserError, printable, require

_DATASET = flags.DEFINE_enum("dataset", None, ["ffhq", "drd"], "What to prepare.")
_IMAGES = flags.DEFINE_string("images", "", "Folder that holds the images.")
_LABELS = flags.DEFINE_list("labels", [], "drd: csv files with columns image, level.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "~/tensorflow_datasets", "Where TFDS data sets are kept."
)
_SIZE = flags.DEFINE_integer("size", 64, "Side in pixels.", lower_bound=1)
_CROP = flags.DEFINE_enum("crop", "none", ["none", "center"], "See Decoder.crop.")


def main(argv: Sequence[str]) -> None:
    """Write the data set that the flags name and print its folder."""
    del argv
    from score_mia.papers.hu_pang import builders

    images, data_dir, labels = _IMAGES.value, _DATA_DIR.value, _LABELS.value
    form: dict[str, Any] = {"size": _SIZE.value, "crop": _CROP.value}
    try:
        require(bool(images), "--images", "is missing", "give the images' folder")
        if _DATASET.value == "ffhq":
            folder = builders.prepare_ffhq(images, data_dir, **form)
        else:
            remedy = "give --labels=trainLabels.csv,retinopathy_solution.csv"
            require(bool(labels), "--labels", "is missing", remedy)
            folder = builders.prepare_drd(images, labels, data_dir, **form)
    except UserError as error:
        sys.exit(f"error: {printable(str(error))}")
    print(f"prepared: {folder}")


if __name__ == "__main__":
    flags.mark_flag_as_required("dataset")
    app.run(main)
