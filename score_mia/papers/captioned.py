"""Captioned images as a paper's data builder leaves them: one folder, and its lists.

    DIR/...                 the images, byte by byte as their host gives them
    DIR/captions.csv        one line for each, which `score_mia.data.captions` reads
    DIR/members.txt, DIR/nonmembers.txt, DIR/auxiliary.txt
    DIR/manifest.json       what they were drawn from, and how

A config reads them with

    data=dict(name="folder", path=DIR, size=512)
    split=dict(name="files", members="DIR/members.txt",
               nonmembers="DIR/nonmembers.txt", auxiliary="DIR/auxiliary.txt")
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from score_mia.check import (
    UserError,
    at_least,
    one_line,
    printable,
    refusing,
    require,
    short,
    within,
)
from score_mia.data.captions import FILES
from score_mia.files import digest, keep_manifest, sha256, write_atomic

LISTS = ("members", "nonmembers", "auxiliary")
"""Names of the lists, which the parts of a split have too."""

SEED_MAX = 2**32 - 1
"""Largest seed of NumPy's RandomState."""


@dataclasses.dataclass(frozen=True)
class Captioned:
    """One image.

    Attributes:
      path: of its file.
      name: the path that it gets within the folder, with "/" between the parts.
      caption: one line of text.
    """

    path: Path
    name: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How many images are drawn.

    Attributes:
      members, nonmembers: of either list.
      auxiliary: of the third; None for all the others.
      images: in the folder, with those on no list; None for all that there are.
    """

    members: int
    nonmembers: int
    auxiliary: int | None = None
    images: int | None = None

    def __post_init__(self) -> None:
        at_least("members", self.members, 1)
        at_least("nonmembers", self.nonmembers, 1)
        if self.auxiliary is not None:
            at_least("auxiliary", self.auxiliary, 0)
        if self.images is not None:
            problem = f"is below the {self.listed} of the lists"
            ok = self.images >= self.listed
            require(ok, f"images={self.images}", problem, "raise it, or shorten them")

    @property
    def listed(self) -> int:
        """Images that the lists need together."""
        return self.members + self.nonmembers + (self.auxiliary or 0)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Images in the order of the draw, and what was left out on the way.

    Attributes:
      images: all of the folder.
      sizes: of the lists, which are cut from the images one after the other.
      same_image: files left out as copies, byte by byte, of another that was drawn.
      same_caption: files left out because their caption is that of another.
      fingerprint: of the names, files and captions, in the order of the draw.
    """

    images: tuple[Captioned, ...]
    sizes: Sizes
    same_image: int
    same_caption: int
    fingerprint: str

    @property
    def lists(self) -> dict[str, tuple[Captioned, ...]]:
        """The images of each of `LISTS`; no image is on two of them."""
        first = self.sizes.members
        second = first + self.sizes.nonmembers
        last = None if self.sizes.auxiliary is None else second + self.sizes.auxiliary
        cuts = (slice(0, first), slice(first, second), slice(second, last))
        return {name: self.images[cut] for name, cut in zip(LISTS, cuts, strict=True)}


def clean(text: str) -> str:
    """A caption or an address in one line, without what UTF-8 cannot hold."""
    return one_line(text.encode(errors="replace").decode())


def draw(pictures: Iterable[Captioned], sizes: Sizes, seed: int) -> Drawn:
    """Draw images at random, none of them twice.

    An image takes part once, and a caption too: a second file of the same bytes, or
    with the same caption, is left out wherever it comes up, so that it is on no list
    while its twin is on another. The order is that of NumPy's `RandomState(seed)` on
    the images sorted by name; files are read only until there are enough.

    Args:
      pictures: to draw from, in any order.
      sizes: how many.
      seed: of the draw, 0 ... 2**32 - 1.

    Raises:
      UserError: too few images, a file that cannot be read, or a name that no list
        can hold.
    """
    within("seed", seed, 0, SEED_MAX)
    pool = sorted(pictures, key=lambda x: x.name)
    files: set[str] = set()
    captions: set[str] = set()
    kept: list[Captioned] = []
    said: list[str] = []
    same_image = same_caption = 0
    for i in np.random.RandomState(seed).permutation(len(pool)):
        if len(kept) == sizes.images:
            break
        one = pool[i]
        _check_name(one.name)
        seal = _seal(one.path)
        if seal in files:
            same_image += 1
        elif one.caption in captions:
            same_caption += 1
        else:
            files.add(seal)
            captions.add(one.caption)
            kept.append(one)
            said.append(f"{one.name}\0{seal}\0{one.caption}\n")
    wanted = sizes.listed if sizes.images is None else sizes.images
    problem = f"{len(kept)} of them differ, and {wanted} are asked for"
    remedy = "give more images, or ask for fewer"
    require(len(kept) >= wanted, f"{len(pool)} captioned images", problem, remedy)
    return Drawn(tuple(kept), sizes, same_image, same_caption, digest(*said))


def _seal(path: Path) -> str:
    problem = f"image {path} cannot be read"
    with refusing(problem, "repair or remove the file", OSError):
        return sha256(path)


def _check_name(name: str) -> None:
    """Require a name that a line of a list can hold."""
    ok = name == name.strip() and name == printable(name)
    problem = "has blanks at an end, or characters that cannot be printed"
    require(ok, f"image {printable(repr(name))}", problem, "rename it")


def write(
    drawn: Drawn, out: str | Path, facts: Mapping[str, Any], *, link: bool = True
) -> Path:
    """Write the folder; what a killed run left there of the same draw is completed.

    Args:
      drawn: what to write.
      out: the folder; new, empty, or of the same draw.
      facts: JSON values that decided the draw, for the manifest.
      link: whether files are hard links to the host's where the file system can (no
        space is taken, and a change of one is a change of the other), or copies.

    Returns:
      The folder.

    Raises:
      UserError: it holds something else, or cannot be written.
    """
    out = empty_or_ours(out, "manifest.json")
    facts = {**facts, "sizes": dataclasses.asdict(drawn.sizes)}
    facts["content"] = drawn.fingerprint
    keep_manifest(out, "images", facts, remedy="choose another folder")
    for one in drawn.images:
        target = out / one.name
        if not target.exists():
            _place(one.path, target, link)
    write_captions(out, {one.name: one.caption for one in drawn.images})
    for name, images in drawn.lists.items():
        write_list(out / f"{name}.txt", [one.name for one in images])
    return out


def empty_or_ours(out: str | Path, mark: str) -> Path:
    """The folder to write in: new, empty, or with a file `mark` of an earlier run.

    Raises:
      UserError: it is a file, or holds something else, or cannot be looked into.
    """
    out = Path(out).expanduser()
    with refusing(f"folder {out} cannot be used", "choose another", OSError):
        if not out.exists():
            return out
        require(out.is_dir(), f"folder {out}", "is a file", "choose another")
        ours = (out / mark).is_file()
        other = () if ours else [p.name for p in sorted(out.iterdir())[:1]]
    problem = f"holds something else ({short(printable(''.join(other)))})"
    require(not other, f"folder {out}", problem, "choose a new or an empty one")
    return out


def _place(source: Path, target: Path, link: bool) -> None:
    """A hard link to the file, or a copy of it."""
    if link:
        # Other file systems, or those without links: a copy, then.
        with contextlib.suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source.resolve(), target)
            return
    problem = f"image {source} cannot be read"
    with refusing(problem, "repair it", OSError), source.open("rb") as file:
        write_atomic(target, lambda copy: shutil.copyfileobj(file, copy))


def write_captions(folder: Path, captions: Mapping[str, str]) -> None:
    """Write captions.csv, sorted by file.

    Args:
      folder: where the images are.
      captions: by the images' names.
    """
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("file", "caption"))
    lines.writerows(sorted(captions.items()))
    write_atomic(folder / FILES[0], lambda file: file.write(text.getvalue().encode()))


def write_list(path: Path, names: Sequence[str]) -> None:
    """Write one name a line, sorted.

    Raises:
      UserError: the file is there and says something else.
    """
    text = "".join(f"{name}\n" for name in sorted(names))
    if path.exists():
        with refusing(f"list {path} cannot be read", "remove it", OSError, ValueError):
            same = path.read_text(encoding="utf-8") == text
        if not same:
            raise UserError(f"list {path}: holds other images; remove or rename it")
        return
    write_atomic(path, lambda file: file.write(text.encode()))
