"""Which components of the diffusers library are read, and how: one line a class.

A folder of theirs is a pipeline of components, each with a class and a config. Here a
class has a reader: from its config to the entry of a spec, and from the paths of our
parameters to the names of its weights. `folder` puts the components together:

    unet or transformer                     the network
    + vae                                   the codec; x is a latent
    + text_encoder + tokenizer              the condition; the encoder is in the network
    + scheduler                             the process and what is predicted
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from score_mia.check import UserError, did_you_mean
from score_mia.interop.diffusers import dit, latent, unet2d
from score_mia.interop.keys import Names, same
from score_mia.networks.network import Shape

Config = Mapping[str, Any]
"""What a component's config.json says."""

Entry = dict[str, Any]
"""An entry of a spec: its "name" and the fields of the part that it names."""


def _same(config: Config) -> Names:
    """Our parameters are named as theirs."""
    del config
    return same


class Network(NamedTuple):
    """How a class of networks is read.

    Attributes:
      entry: the network of a config; `UserError` by name for what has no counterpart.
      names: where its parameters come from.
      join: for one that is told of text: the entry of both from the network's and the
        text encoder's. Its parameters are {"unet": ..., "text": ...}.
      ignore: regular expressions for names of weights that are left.
      shape: of x, from the config: (height, width, channels).
      told: the conditioner of one that is told of classes in a way of its own.
    """

    entry: Callable[[Config], Entry]
    names: Callable[[Config], Names] = _same
    join: Callable[[Entry, Entry], Entry] | None = None
    ignore: tuple[str, ...] = ()
    shape: Callable[[Config], Shape] = unet2d.shape
    told: Callable[[Config], Entry] | None = None


class Codec(NamedTuple):
    """How a class of autoencoders is read.

    Attributes:
      entry: the learned codec of a config.
      image: the shape of images, from the config and the shape of their latents.
      names: where its parameters come from.
      ignore: regular expressions for names of weights that are left.
    """

    entry: Callable[[Config], Entry]
    image: Callable[[Config, Shape], Shape]
    names: Callable[[Config], Names] = _same
    ignore: tuple[str, ...] = ()


class Text(NamedTuple):
    """How a class of text encoders is read.

    Attributes:
      entry: the encoder of a config.
      names: where its parameters come from.
      ignore: regular expressions for names of weights that are left.
    """

    entry: Callable[[Config], Entry]
    names: Callable[[Config], Names] = _same
    ignore: tuple[str, ...] = ()


class Tokenizer(NamedTuple):
    """How a class of tokenizers is read.

    Attributes:
      entry: the conditioner, from the tokenizer's folder and the text encoder's config;
        `UserError` if the two do not fit.
    """

    entry: Callable[[Path, Config], Entry]


_DIT = Network(dit.entry, ignore=dit.IGNORED, told=dit.told)
NETWORKS: dict[str, Network] = {
    "UNet2DModel": Network(unet2d.entry, unet2d.names),
    "UNet2DConditionModel": Network(latent.unet, join=latent.told),
    **{"DiTTransformer2DModel": _DIT, "Transformer2DModel": _DIT},
}
CODECS: dict[str, Codec] = {
    "AutoencoderKL": Codec(latent.vae, latent.image, latent.vae_names),
}
TEXTS: dict[str, Text] = {
    "CLIPTextModel": Text(latent.text, latent.text_names, latent.TEXT_UNUSED),
}
TOKENIZERS: dict[str, Tokenizer] = {
    "CLIPTokenizer": Tokenizer(latent.tokens),
    "CLIPTokenizerFast": Tokenizer(latent.tokens),
}

ROLES: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(("unet", "transformer"), NETWORKS),
    **{"vae": CODECS, "text_encoder": TEXTS, "tokenizer": TOKENIZERS},
}
"""What a pipeline calls its components, and the classes that are read there."""

SCHEDULER = "scheduler"
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""Components that change no image that is asked of the network: left where they are."""


def reader(role: str, kind: str) -> Any:
    """How a component of a class is read.

    Raises:
      UserError: the class has no reader; the known ones are named.
    """
    table = ROLES[role]
    if kind not in table:
        remedy = did_you_mean(kind, table) if table else "none is known here yet"
        raise UserError(f"{role} of class {kind!r} is unknown; {remedy}")
    return table[kind]
