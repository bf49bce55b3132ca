"""The paper's control: a split of the Pokémon data for a model that is fine-tuned.

    python -m score_mia.papers.laion_mi.pokemon --images=DIR

writes DIR/members.txt (633 names) and DIR/nonmembers.txt (200) for
split=dict(name="files", members="DIR/members.txt", nonmembers="DIR/nonmembers.txt").
DIR holds the 833 images with their captions in any form that
`score_mia.data.captions` reads.

`score_mia.papers.laion_mi.control` says how they are drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from score_mia.check import UserError, printable, require
from score_mia.papers.captioned import write_list
from score_mia.papers.laion_mi.control import MEMBERS, NONMEMBERS, SEED, draw

_IMAGES = flags.DEFINE_string("images", "", "Folder of captioned images.")
_OUT = flags.DEFINE_string("out", "", "Folder of the lists; that of the images.")
_MEMBERS = flags.DEFINE_integer("members", MEMBERS, "Names on members.txt.")
_NONMEMBERS = flags.DEFINE_integer("nonmembers", NONMEMBERS, "On nonmembers.txt.")
_SEED = flags.DEFINE_integer("seed", SEED, "Seed of the draw.")


def main(argv: Sequence[str]) -> None:
    """Write the lists that the flags name and print how long they are."""
    del argv
    try:
        require(bool(_IMAGES.value), "--images", "is missing", "give a folder")
        lists = draw(_IMAGES.value, _MEMBERS.value, _NONMEMBERS.value, _SEED.value)
        out = Path(_OUT.value or _IMAGES.value).expanduser()
        write_list(out / "members.txt", lists.members)
        write_list(out / "nonmembers.txt", lists.nonmembers)
    except UserError as error:
        sys.exit(f"error: {printable(str(error))}")
    print(f"{out}: {len(lists.members)} members, {len(lists.nonmembers)} non-members")
    if lists.shared:
        first = printable(repr(lists.shared[0]))
        print(f"{len(lists.shared)} non-members are copies of a member, as {first} is")


if __name__ == "__main__":
    app.run(main)
