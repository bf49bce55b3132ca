"""Prepare the paper's data sets: a folder of captioned images and its lists.

    python -m score_mia.papers.pang_wang.prepare --dataset=coco --images=train2017 \\
        --captions=annotations/captions_train2017.json --out=DIR
    python -m score_mia.papers.pang_wang.prepare --dataset=celeba_dialog \\
        --images=img_align_celeba --captions=captions.json --out=DIR
    python -m score_mia.papers.pang_wang.prepare --dataset=wit --images=FETCHED \\
        --captions=wit_v1.train.all-00000-of-00010.tsv.gz --out=DIR

`score_mia.papers.captioned` says what is in DIR, and how a config reads it. The
defaults are the paper's numbers: 100 members, and 50,000 images of COCO (of the others,
all); as many non-members as members, and all the rest auxiliary.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import app, flags

from score_mia.check import UserError, printable, require
from score_mia.papers.captioned import Sizes
from score_mia.papers.pang_wang import builders

_DATASET = flags.DEFINE_enum("dataset", None, [*builders.BUILDERS], "What to prepare.")
_IMAGES = flags.DEFINE_string("images", "", "Folder that holds the host's images.")
_CAPTIONS = flags.DEFINE_list("captions", [], "The host's files with their captions.")
_OUT = flags.DEFINE_string("out", "", "Folder to write; new or empty.")
_MEMBERS = flags.DEFINE_integer("members", builders.MEMBERS, "Images on members.txt.")
_NONMEMBERS = flags.DEFINE_integer(
    "nonmembers", builders.MEMBERS, "Images on nonmembers.txt."
)
_AUXILIARY = flags.DEFINE_integer(
    "auxiliary", None, "Images on auxiliary.txt; all the rest if unsaid."
)
_POOL = flags.DEFINE_integer(
    "pool",
    None,
    "Images that are drawn and written, on a list or not; if unsaid, "
    f"{builders.COCO_IMAGES:,} of COCO and all of the others.",
)
_SEED = flags.DEFINE_integer("seed", 2022, "Seed of the draw.")
_LANGUAGE = flags.DEFINE_string("language", "en", "wit: of the captions; '' for any.")
_SKIP = flags.DEFINE_boolean(
    "skip_uncaptioned", False, "Pass over, and count, images without a caption."
)
_COPY = flags.DEFINE_boolean(
    "copy", False, "Copy the images, where hard links would do."
)


def main(argv: Sequence[str]) -> None:
    """Write the folder that the flags name and print what is in it."""
    del argv
    try:
        for name, value in (("--images", _IMAGES.value), ("--out", _OUT.value)):
            require(bool(value), name, "is missing", "give a folder")
        pool = _POOL.value
        if pool is None and _DATASET.value == "coco":
            pool = builders.COCO_IMAGES
        sizes = Sizes(_MEMBERS.value, _NONMEMBERS.value, _AUXILIARY.value, pool)
        files = builders.Files(
            _IMAGES.value, _CAPTIONS.value, _LANGUAGE.value, _SKIP.value
        )
        done = builders.prepare(
            str(_DATASET.value),
            files,
            _OUT.value,
            sizes,
            _SEED.value,
            link=not _COPY.value,
        )
    except UserError as error:
        sys.exit(f"error: {printable(str(error))}")
    print(f"prepared: {printable(done.about)}")


if __name__ == "__main__":
    flags.mark_flag_as_required("dataset")
    app.run(main)
