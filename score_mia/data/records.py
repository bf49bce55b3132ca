"""Sources read from data sets that TFDS prepared as array_record, without TensorFlow.

Any TFDS data set will do whose files are in that format: `tfds` finds one by its name
and decodes it into memory; `array_record` takes the files and reads records as they are
asked for.
"""

from __future__ import annotations

import dataclasses
import difflib
import glob
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from score_mia.check import UserError, at_least, one_of, refusing, require
from score_mia.data.lazy import LazySource, given
from score_mia.data.local import cached
from score_mia.data.pixels import Crop, Decoder
from score_mia.data.source import ArraySource
from score_mia.files import digest


def tfds(
    dataset: str,
    data_dir: str | Path | None = None,
    split: str = "train",
    size: int | None = None,
    channels: int | None = None,
    crop: Crop = "center",
    features: Mapping[str, str] = MappingProxyType({}),
    cache: str | Path | None = None,
) -> ArraySource:
    """A TFDS data set prepared as array_record.

    An image's id is its integer feature "index" if the data set has one, else its place
    among the split's records, which is fixed once the files are written.

    Args:
      dataset: TFDS name ("cifar10", "name/config"), looked for below data_dir.
      data_dir: where data sets are prepared; None is TFDS's own default.
      split: in TFDS's language: "train", "train[:10%]", "train+test", ...
      size: side in pixels; None keeps the records' own, which must then be all equal.
      channels: 3, 1, or None for what the records are.
      crop: "center" or "none"; see `Decoder`.
      features: which feature holds an image's "image", its integer "label" and its text
        "caption", where these are not their names: {"image": "picture"}, or, where
        several texts lie in a sequence, {"caption": "captions/text"} for the first.
      cache: folder to keep the decoded pixels in, so that later starts map them.

    Raises:
      UserError: not prepared, no such name, split or image feature, unequal sizes.
    """
    import tensorflow_datasets

    builder = _builder(dataset, data_dir)
    name = f"tfds {dataset} ({split})"
    there = builder.info.features
    image_key, label_key, caption_key = _keys(name, features, there)
    decoder = Decoder(size, channels or _channels(there[image_key]), crop)
    integers = [k for k in ("index", label_key) if _is_integer(there, k)]
    _keep_bytes(there[image_key])
    try:
        records = builder.as_data_source(split)
    except (ValueError, KeyError, NotImplementedError, OSError) as error:
        raise UserError(_unprepared(dataset, data_dir, error, builder)) from error

    def make() -> dict[str, np.ndarray]:
        return _collect(name, records, image_key, integers, decoder, caption_key)

    # A cache without captions stays what it was before there were any.
    asked = (image_key, label_key, *([] if caption_key is None else [caption_key]))
    facts = (repr(decoder), split, *asked, *_stamp(builder))
    version = tensorflow_datasets.__version__
    parts = cached(cache, digest(version, *facts), make)
    return ArraySource(
        name,
        pixels=parts["pixels"],
        ids=parts.get("index", np.arange(len(parts["pixels"]))),
        labels=parts.get(label_key),
        captions=_texts(parts.get(_CAPTION)),
    )


_CAPTION = "caption"


def array_record(
    files: str | Path,
    size: int | None = None,
    channels: int | None = None,
    crop: Crop = "center",
    features: Mapping[str, str] = MappingProxyType({}),
    cache: str | Path | None = None,
    workers: int = 0,
) -> LazySource:
    """Files of records as TFDS writes them, each record read when it is asked for.

    The files lie beside the features.json that TFDS wrote with them, which says what a
    record holds. An image's id is its place among the records of all files, in the
    order of their names. Neither TensorFlow nor the code that prepared them is needed.

    Args:
      files: a folder with files *.array_record*, or a pattern of their paths,
        "DIR/name-train.array_record*".
      size: side in pixels; None keeps the records' own, which must then be all equal.
      channels: 3, 1, or None for what the records are.
      crop: "center" or "none"; see `Decoder`.
      features: which feature holds an image's "image", "label" and "caption", where
        these are not their names; as of `tfds`.
      cache: folder to keep the digest in, which takes a pass over all records.
      workers: processes that decode ahead (extra "grain"); 0 decodes in threads.

    Raises:
      UserError: no such file, no features.json, no image feature, a damaged record.
    """
    from tensorflow_datasets.core.features import FeatureConnector

    at_least("workers", workers, 0)
    path = Path(files).expanduser()
    pattern = path / "*.array_record*" if path.is_dir() else path
    paths = tuple(sorted(glob.glob(str(pattern))))
    name = f"array_record {files}"
    remedy = 'give a folder with files *.array_record*, or "DIR/name.array_record*"'
    require(bool(paths), name, "is no file", remedy)
    place = Path(paths[0]).parent
    problem = f"{name}: {place / 'features.json'} cannot be read"
    remedy = "put the files beside the features.json that TFDS wrote"
    with refusing(problem, remedy, *(OSError, ValueError, KeyError, TypeError)):
        there: Any = FeatureConnector.from_config(str(place))
    image, label, caption = _keys(name, features, there)
    decoder = Decoder(size, channels or _channels(there[image]), crop)
    known = label if _is_integer(there, label) else None
    records = Records(name, paths, decoder, image, known, caption)
    require(len(records) > 0, name, "holds no records", "give other files")
    kept = None if cache is None else Path(cache).expanduser()
    return LazySource(records, workers, kept)


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
    """`Stored` images of array_record files.

    Attributes:
      name: for messages.
      paths: the files, in order.
      decoder: what each image is turned into.
      image, label, caption: the features that hold them; None for none.
    """

    name: str
    paths: tuple[str, ...]
    decoder: Decoder
    image_key: str
    label: str | None
    caption: str | None

    @property
    def columns(self) -> tuple[str, ...]:
        """What a record says of its image."""
        known = {_CAPTION: self.caption, "label": self.label}
        return tuple(name for name, feature in known.items() if feature is not None)

    def __len__(self) -> int:
        return len(self._open[0])

    def image(self, row: int) -> UInt8[np.ndarray, "h w c"]:
        """One record's image, decoded."""
        record = self._record(row)
        return _decode(
            f"{self.name} record {row}", record[self.image_key], self.decoder
        )

    def column(self, name: str, rows: Int[np.ndarray, " n"]) -> np.ndarray:
        """Labels or captions of some records."""
        if name == "label":
            assert self.label is not None
            key = self.label
            labels = (int(self._record(row)[key]) for row in rows.tolist())
            return np.fromiter(labels, np.int64, len(rows))
        assert self.caption is not None
        texts = (
            _text(f"{self.name} record {row}", self._record(row), self.caption)
            for row in rows.tolist()
        )
        return np.asarray([*texts])

    def fingerprint(self) -> str:
        """Of the files' names, sizes and times, and of how they are read."""
        facts = [repr(self.decoder), json.dumps([self.image_key, *self.columns])]
        for path in (*self.paths, str(Path(self.paths[0]).parent / "features.json")):
            stat = Path(path).stat()
            facts.append(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}")
        return digest(*facts)

    @cached_property
    def _open(self) -> tuple[Any, Any]:
        """The reader, and what turns a record's bytes into its features."""
        from array_record.python.array_record_data_source import ArrayRecordDataSource
        from tensorflow_datasets.core.features import FeatureConnector

        there: Any = FeatureConnector.from_config(str(Path(self.paths[0]).parent))
        _keep_bytes(there[self.image_key])
        problem = f"{self.name} cannot be read"
        with refusing(problem, "prepare the files again", *_BROKEN):
            return ArrayRecordDataSource([*self.paths]), there

    def _record(self, row: int) -> dict[str, Any]:
        reader, there = self._open
        problem = f"{self.name}: record {row} cannot be read"
        with refusing(problem, "prepare the files again", *_BROKEN):
            return there.deserialize_example_np(reader[row])

    def __getstate__(self) -> dict[str, Any]:
        """Without what is open: a process that gets it opens its own."""
        return given(self)


_BROKEN = (ValueError, OSError, RuntimeError, IndexError, SyntaxError, KeyError)


def _texts(captions: np.ndarray | None) -> tuple[str, ...] | None:
    return None if captions is None else tuple(captions.tolist())


def _keys(
    name: str, features: Mapping[str, str], there: Any
) -> tuple[str, str, str | None]:
    """Names of the features that hold the image, its label and its caption, if any."""
    for column in features:
        one_of("features", column, ("image", "label", _CAPTION))
    image = features.get("image", "image")
    remedy = f"give features=dict(image=...), one of: {', '.join(there)}"
    require(image in there, name, f"has no feature {image!r}", remedy)
    caption = features.get(_CAPTION, _CAPTION)
    known = _is_text(there, caption)
    if _CAPTION in features:
        remedy = 'give features=dict(caption="..."), or "sequence/text" within one'
        require(known, name, f"has no text feature {caption!r}", remedy)
    return image, features.get("label", "label"), caption if known else None


def _is_text(features: Any, path: str) -> bool:
    """Whether a feature, or one within a sequence, holds texts."""
    import tensorflow_datasets as library

    for key in path.split("/"):
        if isinstance(features, library.features.Sequence):
            features = features.feature
        nested = isinstance(features, library.features.FeaturesDict)
        if not nested or key not in features:
            return False
        features = features[key]
    if isinstance(features, library.features.Sequence):
        features = features.feature
    return isinstance(features, library.features.Text)


def _text(what: str, record: Any, path: str) -> str:
    """A record's text, the first of several."""
    value = record
    for key in path.split("/"):
        value = value[key]
    while not isinstance(value, bytes | str):
        remedy = "give another feature, or a split without it"
        require(len(value) > 0, what, f"has no {path!r}", remedy)
        value = value[0]
    with refusing(f"{what}: {path!r} is no UTF-8 text", "mend it", UnicodeDecodeError):
        return value if isinstance(value, str) else value.decode()


def _builder(dataset: str, data_dir: str | Path | None) -> Any:
    """The prepared data set's reader; its generating code is not needed."""
    import tensorflow_datasets as library

    where = None if data_dir is None else str(Path(data_dir).expanduser())
    try:
        return library.builder(dataset, data_dir=where)
    except (
        *(library.core.DatasetNotFoundError, ValueError),
        *(OSError, RuntimeError, ImportError),
    ) as error:
        raise UserError(_unprepared(dataset, data_dir, error, None)) from error


def _keep_bytes(feature: Any) -> None:
    """Let an image feature give the bytes of its files instead of opening them.

    TFDS asks the bytes what they are, so that anything Pillow knows might be run; its
    own way to skip the decoding needs TensorFlow.
    """
    import tensorflow_datasets as library

    if isinstance(feature, library.features.Image):
        plain: Any = feature
        plain.decode_example_np = bytes


def _channels(feature: Any) -> int | None:
    """Grey or colour, if the data set says so of all its images."""
    count = feature.shape[-1] if feature.shape else None
    return {1: 1, 3: 3, 4: 3}.get(count or 0)


def _is_integer(features: Any, key: str) -> bool:
    if key not in features or features[key].shape != ():
        return False
    return bool(np.issubdtype(features[key].np_dtype, np.integer))


def _unprepared(
    dataset: str, data_dir: str | Path | None, error: Exception, builder: Any
) -> str:
    """One line: what is missing and the command that makes it."""
    import tensorflow_datasets as library

    head = dataset.partition("/")[0]
    if builder is not None and builder.info.splits:
        splits = ", ".join(sorted(builder.info.splits))
        if "TFRECORD" not in str(error):
            first = str(error).strip("'\"").splitlines()[0]
            return f"tfds {dataset}: {first}; it has the splits: {splits}"
    where = data_dir or "the default data_dir"
    if head in (names := library.list_builders(with_community_datasets=False)):
        remedy = (
            f"where TensorFlow is installed run: tfds build {dataset} "
            f"--file_format=array_record --data_dir={data_dir or 'DIR'}, then copy it"
        )
    else:
        near = difflib.get_close_matches(head, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        remedy = f"{hint}give a TFDS name, or the data_dir in which it was prepared"
    return f"tfds {dataset}: is not prepared as array_record in {where}; {remedy}"


def _stamp(builder: Any) -> Iterator[str]:
    """What changes when the prepared files change."""
    folder = Path(builder.data_dir)
    yield str(folder)
    for file in sorted(folder.glob("*")):
        stat = file.stat()
        yield f"{file.name}\0{stat.st_size}\0{stat.st_mtime_ns}"


def _collect(
    name: str,
    records: Any,
    image_key: str,
    integers: list[str],
    decoder: Decoder,
    caption_key: str | None = None,
) -> dict[str, np.ndarray]:
    """Decode every record: "pixels" [N, h, w, c], integer features, "caption" [N]."""
    count = len(records)
    require(count > 0, name, "holds no records", "choose another split")
    pixels: np.ndarray | None = None
    rows = {key: np.empty(count, np.int64) for key in integers}
    texts: list[str] = []
    for i, record in enumerate(_read(name, records)):
        image = _decode(f"{name} record {i}", record[image_key], decoder)
        if pixels is None:
            pixels = np.empty((count, *image.shape), np.uint8)
        problem = f"has shape {image.shape}, but the first has {pixels.shape[1:]}"
        remedy = "give size=... (and channels) to make them equal"
        require(image.shape == pixels.shape[1:], f"{name} record {i}", problem, remedy)
        pixels[i] = image
        for key, values in rows.items():
            values[i] = record[key]
        if caption_key is not None:
            texts.append(_text(f"{name} record {i}", record, caption_key))
    assert pixels is not None
    if caption_key is not None:
        rows[_CAPTION] = np.asarray(texts)
    order = np.argsort(rows.get("index", np.arange(count)), kind="stable")
    if not np.array_equal(order, np.arange(count)):
        pixels = pixels[order]
        rows = {key: values[order] for key, values in rows.items()}
    return {"pixels": pixels, **rows}


def _read(name: str, records: Any) -> Iterator[dict[str, Any]]:
    remedy = "the files are damaged: delete them and prepare the set again"
    kinds = (ValueError, OSError, RuntimeError, IndexError, SyntaxError)
    for i in range(len(records)):
        with refusing(f"{name}: record {i} cannot be read", remedy, *kinds):
            record = records[i]
        yield record


def _decode(
    what: str, image: bytes | np.ndarray, decoder: Decoder
) -> UInt8[np.ndarray, "h w c"]:
    """A record's image, decoded, recoloured and resized like any image file."""
    from PIL import Image

    if not isinstance(image, np.ndarray):
        return decoder.record(image, what)
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return decoder.picture(
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    )
