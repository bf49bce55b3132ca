"""What a conditional model is told of an image on behalf of one signal.

A model that was trained with captions remembers them beside its images, so that much of
an attack's success can be its knowledge of the prompt (CLiD, 2405.14800; Pang & Wang,
2312.07408, for generated captions). Each signal is therefore asked with one of

    "own"                   the image's own caption or label, as its source has it
    "null"                  nothing: an empty caption, or the class that stands for none
    dict(name="given", ...) the same text, or label, for every image
    dict(name="retrieved")  a caption that is made of the image, by a `Captioner`

and an attack that stands in an audit once with each shows what the prompt is worth.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Shaped

from score_mia.attacks.protocol import (
    Access,
    Fingerprinted,
    HostQuery,
    Product,
    identity,
)
from score_mia.check import UserError, require
from score_mia.conditions import Columns, Conditioner
from score_mia.data import SOURCES
from score_mia.data.lists import inside, listed_ids
from score_mia.data.source import Source
from score_mia.encoders import ENCODERS, Encoder, encode
from score_mia.files import digest
from score_mia.registry import make

Texts = Shaped[np.ndarray, " n"]

OWN_PROMPT, NULL_PROMPT = "own", "null"


@dataclasses.dataclass(frozen=True)
class Given:
    """The same prompt for every image, whatever its own is.

    Attributes:
      caption: of a model that is told texts; "" says nothing.
      label: of one that is told classes.
    """

    caption: str | None = None
    label: int | None = None

    def __post_init__(self) -> None:
        one = (self.caption is None) != (self.label is None)
        problem = "is neither a caption nor a label, or both"
        remedy = 'give caption="a text", or label=3'
        require(one, f"prompt {self!r}", problem, remedy)

    @property
    def column(self) -> str:
        """The column of a source in whose place it stands."""
        return "label" if self.caption is None else "caption"

    def values(self, ids: np.ndarray) -> Texts:
        """It, once for each image."""
        value = self.label if self.caption is None else self.caption
        return np.repeat(np.asarray([value]), len(ids))


def null_prompt(column: str, conditioner: Conditioner | None) -> Given:
    """The prompt that says nothing to this model.

    Args:
      column: what a prompt is made of.
      conditioner: of the model; None for a service, which is sent an empty caption.

    Raises:
      UserError: the model knows no such prompt.
    """
    if column == "caption":
        return Given(caption="")
    nothing = None if conditioner is None else conditioner.null()
    if column == "label" and nothing is not None:
        return Given(label=int(nothing))
    raise UserError(
        f"prompt 'null': the model has no {column} that says nothing; choose another"
    )


@runtime_checkable
class Captioner(Product, Fingerprinted, Protocol):
    """A product that makes a caption of each image, and of nothing else.

    Attributes:
      access: "none": it does not ask the model under attack.
    """

    def batch(self, model: None, queries: HostQuery) -> Mapping[str, Texts]:
        """ "captions": [n] texts; of each image by itself."""
        ...


@dataclasses.dataclass(frozen=True)
class Retrieved:
    """The caption of the attacker's image that is most like an image.

    Most like by the cosine of pooled features, without their mean over the attacker's
    images; of equals, the one of least id. An image that is among the attacker's own
    is told its own caption.

    Attributes:
      data: section `data` of a config: the attacker's captioned images.
      folder: only those whose files lie in this folder of it; "" for all.
      files: only those of this list, a file with a name or an id a line; "" for all.
      encoder: section `encoder`: whose features are compared.
    """

    data: Mapping[str, Any]
    folder: str = ""
    files: str = ""
    encoder: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"name": "efficientnet_lite0"}
    )

    access: ClassVar[Access] = "none"

    def batch(self, model: None, queries: HostQuery) -> dict[str, Texts]:
        """ "captions": [n] texts."""
        del model
        own = self._features(queries.images)
        return {"captions": self._captions[np.argmax(own @ self._known.T, axis=1)]}

    def fingerprint(self) -> str:
        """Of the encoder, and of the attacker's images and captions."""
        made = (self._encoder.fingerprint, self._source.digest)
        return digest(*made, self._ids, *self._captions)

    @functools.cached_property
    def _encoder(self) -> Encoder:
        return make("encoder", ENCODERS, self.encoder)

    @functools.cached_property
    def _source(self) -> Source:
        return make("data set", SOURCES, self.data)

    @functools.cached_property
    def _ids(self) -> np.ndarray:
        ids = self._source.ids
        if self.files:
            listed = listed_ids(self.files, "attacker's", self._source)
            ids = ids[np.isin(ids, listed)]
        if not self.folder:
            return ids
        files = self._source.columns(ids, ("file",)).get("file", np.full(len(ids), ""))
        found = inside(ids, files, self.folder)
        what = f"prompt retrieved: folder {self.folder!r}"
        require(len(found) > 0, what, "holds no image of the data", "name another")
        return found

    @functools.cached_property
    def _captions(self) -> Texts:
        told = self._source.columns(self._ids, ("caption",))
        remedy = "give data that have some (docs/models.md)"
        require(
            "caption" in told, "prompt retrieved: the data", "have no captions", remedy
        )
        return told["caption"]

    @functools.cached_property
    def _mean(self) -> Float[np.ndarray, " d"]:
        return self._all.mean(axis=0)

    @functools.cached_property
    def _all(self) -> Float[np.ndarray, "n d"]:
        return encode(self._encoder, self._source.images(self._ids))

    @functools.cached_property
    def _known(self) -> Float[np.ndarray, "n d"]:
        return _unit(self._all - self._mean)

    def _features(self, images: np.ndarray) -> Float[np.ndarray, "n d"]:
        return _unit(encode(self._encoder, images) - self._mean)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def instead(
    columns: Columns, name: str, values: Callable[[np.ndarray], Texts]
) -> Columns:
    """The columns of a source, one of them replaced, or added.

    Args:
      columns: `Source.columns`.
      name: of the column.
      values: from ids to its values, in their order.
    """

    def told(ids: np.ndarray, names: Collection[str]) -> Mapping[str, np.ndarray]:
        own = columns(ids, [n for n in names if n != name])
        return {**own, name: values(ids)} if name in names else own

    return told


def decides(prompt: Prompt | None) -> dict[str, str]:
    """What of a prompt decides a signal's numbers; {} of an image's own."""
    if prompt is None:
        return {}
    made = {} if isinstance(prompt, Given) else {"prompted by": prompt.fingerprint()}
    return {"prompt": identity(prompt), **made}


def in_words(prompt: Prompt | None) -> str:
    """How a report tells it beside a signal; "" of an image's own."""
    if prompt is None:
        return ""
    if isinstance(prompt, Retrieved):
        return ", told the caption of a similar image"
    if not isinstance(prompt, Given):
        return f", told captions by {type(prompt).__name__}"
    if prompt.caption is None:
        return f", told class {prompt.label}"
    return f", told {prompt.caption!r}" if prompt.caption else ", told no text"


PROMPTS = {"given": Given, "retrieved": Retrieved}

Prompt = Given | Captioner
"""What a signal's model is told in the place of an image's own prompt."""
