"""Pang & Wang's three data sets, from the files as their hosts distribute them.

None may be passed on by us. Each builder reads one host's layout and gives captioned
images; `prepare` draws from them and writes the folder of `score_mia.papers.captioned`.

Layouts were taken from the hosts' pages and from readers of others; the full sets have
not been read with this code. Which of several captions the authors took, which images
they drew and with which seed is not published.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from score_mia.check import existing, one_of, refusing, require, short
from score_mia.data.local import list_images
from score_mia.files import DAMAGED, load_json
from score_mia.papers.captioned import Captioned, Drawn, Sizes, clean, draw, write

COCO_IMAGES = 50_000
"""Images that the paper draws of COCO, with one caption each."""

MEMBERS = 100
"""Images that its targets are fine-tuned on."""

SUFFIXES = (".png", ".jpg", ".jpeg")
"""What is taken of a host's folder; WIT has drawings and animations, too."""

_AGAIN = "fetch it again from its host"


@dataclasses.dataclass(frozen=True)
class Files:
    """Where a host's files are, and how they are read.

    Attributes:
      images: folder of the images, in any subfolders.
      captions: files with their captions.
      language: WIT's, of the captions that are taken; empty for any.
      skip_uncaptioned: whether an image without a caption is passed over, and counted,
        where it is an error otherwise. (CelebA-Dialog's high-resolution release is
        said to lack the caption of one image in 30,000.)
    """

    images: str | Path
    captions: Sequence[str | Path]
    language: str = "en"
    skip_uncaptioned: bool = False


@dataclasses.dataclass(frozen=True)
class Found:
    """What a host's files hold.

    Attributes:
      pictures: images with their captions.
      uncaptioned: images that were passed over for want of one.
    """

    pictures: tuple[Captioned, ...]
    uncaptioned: int


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A folder that was written.

    Attributes:
      folder: its path.
      found: what it was drawn from.
      drawn: what it holds.
    """

    folder: Path
    found: Found
    drawn: Drawn

    @property
    def about(self) -> str:
        """What is in it and what was left out, in one line."""
        drawn, found = self.drawn, self.found
        lists = ", ".join(f"{len(v):,} {k}" for k, v in drawn.lists.items())
        left = {
            "copies of an image": drawn.same_image,
            "repeats of a caption": drawn.same_caption,
            "images without a caption": found.uncaptioned,
        }
        out = ", ".join(f"{count:,} {what}" for what, count in left.items() if count)
        said = f"{self.folder}: {len(drawn.images):,} images; {lists}"
        return f"{said}; left out: {out}" if out else said


def celeba_dialog(files: Files) -> Found:
    """CelebA-Dialog: captions of CelebA's faces.

    `images` is `img_align_celeba`, or the folder of the release's own high-resolution
    images; `captions` its captions.json: {"000001.jpg": {"overall_caption": "...",
    "attribute_wise_captions": {...}}, ...}. An image's caption is the overall one. A
    name counts without its ending, so that the PNG edition of the faces serves too.

    Raises:
      UserError: a damaged file, a caption whose image is missing, an image without
        a caption, or two images of one name.
    """
    said: dict[str, str] = {}
    shape = {str: {"overall_caption?": str | types.NoneType}}
    for file in files.captions:
        entries = load_json(existing(file, "captions file"), shape, remedy=_AGAIN)
        for name, entry in entries.items():
            said[Path(name).stem] = entry.get("overall_caption") or ""
    return _found(files, said, lambda name: Path(name).stem)


def coco(files: Files) -> Found:
    """COCO: photographs with five captions or so, of which one is taken.

    `images` is `train2017` (or its parent, or another year's); `captions` are
    `annotations/captions_train2017.json` and the like: {"images": [{"id": 9,
    "file_name": "000000000009.jpg"}, ...], "annotations": [{"id": 1, "image_id": 9,
    "caption": "..."}, ...]}. An image's caption is that with the smallest id.

    Raises:
      UserError: as for `celeba_dialog`.
    """
    said: dict[str, str] = {}
    shape = {
        "images": [{"id": int, "file_name": str}],
        "annotations": [{"id": int, "image_id": int, "caption": str}],
    }
    for file in files.captions:
        entries = load_json(existing(file, "captions file"), shape, remedy=_AGAIN)
        first: dict[int, str] = {}
        for one in sorted(entries["annotations"], key=lambda x: x["id"]):
            first.setdefault(one["image_id"], one["caption"])
        for image in entries["images"]:
            said[Path(image["file_name"]).name] = first.get(image["id"], "")
    return _found(files, said, lambda name: Path(name).name)


def wit(files: Files) -> Found:
    """WIT: images of Wikipedia with their captions there.

    WIT is distributed as tables of addresses, so the folder of images is what the user
    fetched of them, and captions of other images are passed over. `captions` are its
    tables (.tsv or .tsv.gz, 17 columns with a header, of which `language`,
    `image_url`, `caption_reference_description` and `caption_alt_text_description`
    are read) or csv files with columns `file` and `caption`. A row belongs to the image
    whose name is its `file`, or the last part of its `image_url` (decoded or as it
    stands); the first row with a caption counts, the reference caption before the
    alternative text.

    Raises:
      UserError: a damaged table, one without these columns, an image without a
        caption, or two images of one name.
    """
    said: dict[str, str] = {}
    there = {*map(_decoded, list_images(_folder(files)))}  # of millions of rows
    remedy = "give WIT's .tsv or .tsv.gz files, or csv files with file and caption"
    for file in files.captions:
        path = existing(file, "captions file")
        with refusing(f"{path} cannot be read", remedy, csv.Error, *DAMAGED):
            for row in _rows(path):
                known = any(k in row for k in _FILE) and any(k in row for k in _CAPTION)
                problem = f"has no column of {_FILE} or of {_CAPTION}"
                require(known, f"{path}", problem, remedy)
                name = _file_name(row)
                own = row.get("language") in (None, "", files.language)
                caption = next(filter(None, map(row.get, _CAPTION)), "")
                if caption and name in there and (own or not files.language):
                    said.setdefault(name, caption)
    return _found(files, said, _decoded)


def _decoded(name: str) -> str:
    return unquote(name.rpartition("/")[2])


_FILE = ("file", "file_name", "image_url")
_CAPTION = (
    *("caption", "caption_reference_description"),
    "caption_alt_text_description",
)


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    """The rows of a table, which may be compressed."""
    packed = path.suffix == ".gz"
    tabs = ".tsv" in path.suffixes[-2:]
    with (
        gzip.open(path) if packed else path.open("rb") as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text,
    ):
        yield from csv.DictReader(text, delimiter="\t" if tabs else ",", restval="")


def _file_name(row: Mapping[str, str]) -> str:
    """What the image of a row is called, decoded."""
    given = next(filter(None, map(row.get, _FILE[:2])), None)
    name = given or urlsplit(row.get("image_url", "")).path
    return _decoded(name)


def _folder(files: Files) -> Path:
    root = existing(files.images, "folder")
    require(root.is_dir(), f"folder {root}", "is a file", "give a folder of images")
    return root


def _found(files: Files, said: Mapping[str, str], key: Callable[[str], str]) -> Found:
    """Join images and captions.

    Args:
      files: where they are.
      said: the captions, empty where an image is known to have none.
      key: what of an image's name the captions are known by.
    """
    root = _folder(files)
    by_key: dict[str, str] = {}
    for name in list_images(root):
        if Path(name).suffix.lower() not in SUFFIXES:
            continue
        twin = by_key.setdefault(key(name), name)
        problem = f"is called as {twin} is"
        remedy = "captions are known by these names: give one of the two folders"
        require(twin == name, f"image {name}", problem, remedy)
    missing = sorted(said.keys() - by_key.keys())
    problem = f"is missing in {root}, and {len(missing)} are"
    remedy = "fetch the host's images again, or give the captions of these"
    require(not missing, f"image {short(''.join(missing[:1]))!r}", problem, remedy)
    pictures, bare = [], []
    for known_as, name in by_key.items():
        caption = clean(said.get(known_as, ""))
        if caption:
            pictures.append(Captioned(root / name, name, caption))
        else:
            bare.append(name)
    ok = not bare or files.skip_uncaptioned
    problem = f"has no caption, and {len(bare)} have none"
    remedy = "give all caption files, or pass these over: --skip_uncaptioned"
    require(ok, f"image {''.join(bare[:1])}", problem, remedy)
    return Found(tuple(pictures), len(bare))


BUILDERS: Mapping[str, Callable[[Files], Found]] = {
    "celeba_dialog": celeba_dialog,
    "wit": wit,
    "coco": coco,
}
"""Name of a data set -> what reads its host's files."""


def prepare(
    dataset: str,
    files: Files,
    out: str | Path,
    sizes: Sizes,
    seed: int = 2022,
    *,
    link: bool = True,
) -> Prepared:
    """Draw from a data set, and write the folder with its captions and lists.

    The lists are disjoint in images and in captions. The paper's Attacks I and II,
    whose shadow models saw half of the members, are a matter of the audit, not of
    these lists: `shadows=dict(pool=..., overlap=0.5)`. Images are not decoded here.

    Args:
      dataset: one of `BUILDERS`.
      files: of its host.
      out: folder to write; new, empty, or of the same draw.
      sizes: how many images.
      seed: of the draw.
      link: hard links to the host's files, where the file system can; or copies.

    Raises:
      UserError: as for the builder, for `captioned.draw` and for `captioned.write`.
    """
    one_of("dataset", dataset, BUILDERS)
    require(bool(files.captions), "captions", "are missing", "give the host's file")
    found = BUILDERS[dataset](files)
    inside = Path(files.images).expanduser().resolve()
    place = Path(out).expanduser().resolve()
    apart = inside != place and inside not in place.parents
    remedy = "choose one outside the images, which would be found again there"
    require(apart, f"folder {out}", f"lies in {files.images}", remedy)
    drawn = draw(found.pictures, sizes, seed)
    facts = {"dataset": dataset, "seed": seed}
    return Prepared(write(drawn, out, facts, link=link), found, drawn)
