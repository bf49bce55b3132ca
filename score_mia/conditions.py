"""What a conditional model is told of an image, made from what its source knows.

A condition is a pytree of integer arrays: class labels, token ids. What becomes of them
(an embedding, a text encoder) is part of the model.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Int

from score_mia import tokenizer
from score_mia.check import UserError, at_least, existing, refusing, require, within

OWN, NULL = "own", "null"
"""Names of an image's own condition, and of the one that says nothing."""

Conditions = dict[str, Any]
"""From a condition's name to its pytree of arrays [n, ...]; {} where none is told."""

Columns = Callable[[np.ndarray, Collection[str]], Mapping[str, np.ndarray]]
"""`Source.columns`."""


@runtime_checkable
class Conditioner(Protocol):
    """A frozen dataclass that turns the columns of images into a condition.

    Attributes:
      columns: names of the columns it reads; "file" is none of them.
    """

    @property
    def columns(self) -> tuple[str, ...]:
        """What it reads of a source, such as ("label",)."""
        ...

    def __call__(self, columns: Mapping[str, np.ndarray]) -> Any:
        """A pytree of integer arrays [n, ...] from columns of n images each.

        Raises:
          UserError: a column that the source does not have, or values that the network
            does not know.
        """
        ...

    def null(self) -> Any:
        """One row that says nothing, for guidance; None if the model knows none."""
        ...


@dataclasses.dataclass(frozen=True)
class Label:
    """The class label.

    Attributes:
      classes: how many the network is told of; the config's `network.classes`.
      nothing: the class that stands for no class, if the network was trained with one.
    """

    classes: int
    nothing: int | None = None
    columns: ClassVar[tuple[str, ...]] = ("label",)

    def __post_init__(self) -> None:
        at_least("classes", self.classes, 1)
        if self.nothing is not None:
            within("nothing", self.nothing, 0, self.classes - 1)

    def __call__(self, columns: Mapping[str, np.ndarray]) -> Int[np.ndarray, " n"]:
        """The labels as they are, each below `classes`, int64."""
        if "label" not in columns:
            raise UserError(
                f"network.classes={self.classes}: the data set has no class labels; "
                "set it to 0, or give data with labels"
            )
        labels = columns["label"]
        low, high = int(labels.min()), int(labels.max())
        ok = low >= 0 and high < self.classes
        problem = f"do not hold the data set's labels, which run from {low} to {high}"
        remedy = f"set it to {high + 1} or more" if low >= 0 else "count labels from 0"
        require(ok, f"network.classes={self.classes}", problem, remedy)
        return labels

    def null(self) -> np.int32 | None:
        """The class `nothing`."""
        return None if self.nothing is None else np.int32(self.nothing)


@dataclasses.dataclass(frozen=True)
class Words:
    """The words of a caption, in lower case, as numbers: 0 pads, 1 is any other word.

    For models that are trained here; what others trained has a tokenizer of its own.

    Attributes:
      vocabulary: file with one word a line, or "emoji" for that of the bundled set.
      length: how many words are told; of a longer caption an error, unless
      cut: says that the rest is left away.
    """

    vocabulary: str
    length: int = 24
    cut: bool = False
    columns: ClassVar[tuple[str, ...]] = ("caption",)

    def __post_init__(self) -> None:
        at_least("length", self.length, 1)

    @property
    def size(self) -> int:
        """How many numbers there are: rows of the network's table."""
        return 2 + len(_vocabulary(self.vocabulary))

    def __call__(self, columns: Mapping[str, np.ndarray]) -> Int[np.ndarray, "n l"]:
        """int32 [n, length]."""
        known, texts = _vocabulary(self.vocabulary), _captions(columns)
        tokens = np.zeros((len(texts), self.length), np.int32)
        for row, text in zip(tokens, texts, strict=True):
            words = re.findall("[a-z0-9]+", str(text).lower())
            problem = (
                f"has {len(words)} words, more than the {self.length} of the model"
            )
            ok = self.cut or len(words) <= self.length
            require(ok, f"caption {text!r}", problem, "shorten it, or say cut=True")
            numbers = [known.get(word, 1) for word in words[: self.length]]
            row[: len(numbers)] = numbers
        return tokens

    def null(self) -> Int[np.ndarray, " l"]:
        """No word at all."""
        return np.zeros(self.length, np.int32)


@dataclasses.dataclass(frozen=True)
class Tokens:
    """The tokens of a caption by a tokenizer that others made (the extra "text").

    A start token, those of the caption, an end token, and padding up to `length`, as
    CLIP's text encoders read it.

    Attributes:
      folder: with tokenizer.json, or with vocab.json and merges.txt; tokenizer_config's
        pad token is taken ("<|endoftext|>" for Stable Diffusion 1.x, "!" for 2.x).
      length: of the row; a longer caption is an error, unless
      cut: says that the rest is left away.
      fingerprint: of the files, as `found` gives it, so that others are noticed.
    """

    folder: str
    length: int = 77
    cut: bool = False
    fingerprint: str = ""
    columns: ClassVar[tuple[str, ...]] = ("caption",)

    def __post_init__(self) -> None:
        at_least("length", self.length, 3)

    @property
    def size(self) -> int:
        """How many tokens there are: rows of the text encoder's table."""
        return self._files.size

    @property
    def found(self) -> str:
        """Digest of the tokenizer's files as they are."""
        return self._files.fingerprint

    def __call__(self, columns: Mapping[str, np.ndarray]) -> Int[np.ndarray, "n l"]:
        """int32 [n, length]."""
        files = self._files
        tokens = np.full((len(columns.get("caption", ())), self.length), files.pad)
        texts = [str(text) for text in _captions(columns)]
        for row, text, own in zip(tokens, texts, files.encode(texts), strict=True):
            problem = f"has {len(own) + 2} tokens, more than the model's {self.length}"
            ok = self.cut or len(own) + 2 <= self.length
            require(ok, f"caption {text!r}", problem, "shorten it, or say cut=True")
            whole = [files.start, *own[: self.length - 2], files.end]
            row[: len(whole)] = whole
        return tokens.astype(np.int32)

    def null(self) -> Int[np.ndarray, " l"]:
        """The tokens of an empty caption."""
        return self({"caption": np.asarray([""])})[0]

    @property
    def _files(self) -> tokenizer.Tokenizer:
        files = tokenizer.read(self.folder)
        same = self.fingerprint in ("", files.fingerprint)
        remedy = "give back the one that the model was read with"
        require(same, f"tokenizer {self.folder}", "has changed", remedy)
        return files


def _captions(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    if "caption" not in columns:
        raise UserError(
            "the model is told captions, and the data set has none; give data with "
            "captions (docs/models.md)"
        )
    return columns["caption"]


@functools.lru_cache(maxsize=8)
def _vocabulary(file: str) -> Mapping[str, int]:
    bundled = importlib.resources.files("score_mia.data") / "bundled" / "emoji.words"
    path = bundled if file == "emoji" else existing(Path(file), "vocabulary")
    with refusing(f"vocabulary {file} cannot be read", "give one word a line", OSError):
        words = path.read_text(encoding="utf-8").split()
    return {word: 2 + i for i, word in enumerate(words)}


CONDITIONERS = {"label": Label, "words": Words, "tokens": Tokens}


def gather(
    conditioner: Conditioner | None, columns: Columns, ids: Int[np.ndarray, " n"]
) -> Conditions:
    """The named conditions of images, each a pytree of arrays [n, ...].

    Args:
      conditioner: of the model; None for one that is told nothing.
      columns: of the images' source.
      ids: of the images.

    Returns:
      {} without a conditioner, else "own", and "null" where the model knows one.
    """
    if conditioner is None:
        return {}
    conditions = {OWN: conditioner(columns(ids, conditioner.columns))}
    nothing = conditioner.null()
    if nothing is not None:
        conditions[NULL] = jax.tree.map(
            lambda leaf: np.repeat(np.asarray(leaf)[None], len(ids), axis=0), nothing
        )
    return conditions
