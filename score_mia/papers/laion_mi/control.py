"""The split of the paper's control, a model that is fine-tuned on Pokémon.

The authors split the rows of the data set with the seed 2137 by a method whose draw is
NumPy's `default_rng(seed).permutation`, the first 200 of it being the non-members; the
draw here is the same. If file i of the sorted list is row i of the data set (0000.png,
0001.png, ...), the lists are theirs. This was read in their code and in that method's;
it has not been held against their lists, which are not published.
"""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path

import numpy as np

from score_mia.check import (
    at_least,
    existing,
    refusing,
    require,
    within,
)
from score_mia.data.captions import captions
from score_mia.data.local import list_images
from score_mia.files import sha256
from score_mia.papers.captioned import SEED_MAX

MEMBERS, NONMEMBERS, SEED = 633, 200, 2137
"""Of the authors."""


@dataclasses.dataclass(frozen=True)
class Lists:
    """A split in names of files.

    Attributes:
      members, nonmembers: the names, sorted.
      shared: non-members whose file is, byte by byte, that of a member too.
    """

    members: tuple[str, ...]
    nonmembers: tuple[str, ...]
    shared: tuple[str, ...]


def draw(
    images: str | Path,
    members: int = MEMBERS,
    nonmembers: int = NONMEMBERS,
    seed: int = SEED,
) -> Lists:
    """Draw the lists; nothing is written.

    Args:
      images: folder of captioned images.
      members, nonmembers: how many.
      seed: of the draw, 0 ... 2**32 - 1.

    Raises:
      UserError: too few images, or one without a caption.
    """
    at_least("members", members, 1)
    at_least("nonmembers", nonmembers, 1)
    within("seed", seed, 0, SEED_MAX)
    root = existing(images, "folder")
    require(root.is_dir(), f"folder {root}", "is a file", "give a folder of images")
    names = list_images(root)
    remedy = "give captions.csv, or a text file beside each image"
    known = captions(root, names) is not None
    require(known, f"folder {root}", "has no captions", remedy)
    problem = f"holds {len(names)} images, and {members + nonmembers} are asked for"
    remedy = "give all images, or ask for fewer"
    require(len(names) >= members + nonmembers, f"folder {root}", problem, remedy)
    order = np.random.default_rng(seed).permutation(len(names))
    outside = sorted(names[i] for i in order[:nonmembers])
    inside = sorted(names[i] for i in order[nonmembers : nonmembers + members])
    with refusing(f"folder {root} cannot be read", "repair it", OSError):
        uses = collections.Counter(sha256(root / name) for name in inside)
        shared = [name for name in outside if uses[sha256(root / name)]]
    return Lists(tuple(inside), tuple(outside), tuple(shared))
