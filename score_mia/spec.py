"""What a model is in words, and the one place where that is built.

A spec is JSON: what a config says of a target, a checkpoint of itself, and a reader of
what it read. All that is missing for a `Target` are the parameters.

    {"network": {"name", ...}, "sde": {"name", ...}, "parameterisation": {"name", ...},
     "codec": {"name", ...}, "shape": [h, w, c], "conditioner": {"name", ...}}

A codec without a name is affine. A conditioner that is not there is that of the
network's classes, if it has any.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax

from score_mia.arrays import Key, Params
from score_mia.check import require
from score_mia.codecs import Affine, Codec, Folded, LearnedCodec, Pooled, bound
from score_mia.conditions import CONDITIONERS, Conditioner
from score_mia.networks import NETWORKS
from score_mia.networks.latent.vae import AutoencoderKL
from score_mia.networks.network import Embedding, Network, Shape
from score_mia.parameterisation import PARAMETERISATIONS, Parameterisation
from score_mia.registry import make, require_has
from score_mia.sde import SDE, SDES
from score_mia.target import Target

Spec = Mapping[str, Any]

CODECS: Mapping[str, type] = {
    "affine": Affine,
    "folded": Folded,
    "pooled": Pooled,
    "kl": AutoencoderKL,
}

_TABLES: Mapping[str, Mapping[str, Any]] = {
    "network": NETWORKS,
    "sde": SDES,
    "parameterisation": PARAMETERISATIONS,
    "codec": CODECS,
    "conditioner": CONDITIONERS,
}
"""Registry of each entry."""

FAMILIES = (*_TABLES,)
_NEEDED = ("network", "sde", "parameterisation", "codec")


class Parts(NamedTuple):
    """What a spec describes; the parameters are all that is missing for a target.

    Attributes:
      network: for x of these images.
      sde, parameterisation, codec: the process and the conventions.
      shape: (h, w, c) of the images.
      conditioner: makes what the model is told of an image; None if it is told none.
    """

    network: Network
    sde: SDE
    parameterisation: Parameterisation
    codec: Codec | LearnedCodec
    shape: Shape
    conditioner: Conditioner | None = None

    def init(self, key: Key) -> Params:
        """Fresh parameters of all that learns, as `target` takes them."""
        own = self.network.init(key)
        if not isinstance(self.codec, LearnedCodec):
            return own
        return {"network": own, "codec": self.codec.init(jax.random.fold_in(key, 1))}

    def target(self, params: Params | None) -> Target:
        """The target that they make with these parameters (None: a template).

        Args:
          params: the network's; with a learned codec {"network", "codec"}.
        """
        embed = self.network.embed if isinstance(self.network, Embedding) else None
        learned = None
        if isinstance(self.codec, LearnedCodec) and params is not None:
            params, learned = params["network"], params["codec"]
        meaning = (self.sde, self.parameterisation, self.network.apply)
        codec = bound(self.codec, learned)
        return Target(params, *meaning, codec, embed, self.conditioner)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A spec's parts for images of any shape: what a plan has before the data are read.

    Attributes:
      networks: makes the network of x's shape, `networks.build(shape)`.
      sde, parameterisation, codec, conditioner: as in `Parts`.
    """

    networks: Any
    sde: SDE
    parameterisation: Parameterisation
    codec: Codec | LearnedCodec
    conditioner: Conditioner | None

    def at(self, shape: Shape) -> Parts:
        """The parts for images of a shape; the network sees them through the codec."""
        network = self.networks.build(self.codec.shape(shape))
        meaning = (self.sde, self.parameterisation, self.codec)
        return Parts(network, *meaning, shape, self.conditioner)


def entries(spec: Spec) -> dict[str, Any]:
    """The entries of a spec that name parts; each a mapping with its "name"."""
    known = {f: spec[f] for f in FAMILIES if f in spec}
    missing = [f for f in _NEEDED if f not in spec]
    require(not missing, "spec", f"has no {missing}", f"give all of {list(_NEEDED)}")
    if isinstance(spec["codec"], Mapping):
        known["codec"] = {"name": "affine", **spec["codec"]}
    network = spec["network"]
    classes = network.get("classes") if isinstance(network, Mapping) else None
    if classes and "conditioner" not in known:
        known["conditioner"] = {"name": "label", "classes": classes}
    for family, entry in known.items():
        ok = isinstance(entry, Mapping) and isinstance(entry.get("name"), str)
        require(ok, f"spec {family!r}", "has no 'name'", "give {'name': ..., fields}")
    return known


def names(spec: Spec) -> frozenset[str]:
    """Names of the parts: what a config allows a file to name."""
    return frozenset(entry["name"] for entry in entries(spec).values())


def build(spec: Spec, allow: Collection[str] = ()) -> Kind:
    """Build what a spec describes, but for the shape; see `parts`."""
    known = entries(spec)
    for family, entry in known.items():
        ok = ":" not in entry["name"] or entry["name"] in allow
        problem = "would run code from outside score_mia"
        remedy = "if you trust it, name it in the config (or in `allow`)"
        require(ok, f"{family} {entry['name']!r}", problem, remedy)
    made = {f: make(f, _TABLES[f], entry) for f, entry in known.items()}
    for family, needed in _NEED.items():
        if family in made:
            require_has(family, made[family], needed)
    return Kind(
        made["network"],
        made["sde"],
        made["parameterisation"],
        made["codec"],
        made.get("conditioner"),
    )


def parts(spec: Spec, allow: Collection[str] = ()) -> Parts:
    """Build what a spec describes.

    Args:
      spec: see this module.
      allow: names such as "my_package.mine:Net" that may be imported. A spec read
        from a file must not choose what runs, so only the caller can allow them.

    Raises:
      UserError: something is missing, unknown, wrong, or needs to be allowed.
    """
    return build(spec, allow).at(image_shape(spec))


_NEED = {
    "network": ("build",),
    "codec": ("shape", "encode", "decode"),
    "conditioner": ("columns", "__call__", "null"),
}


def image_shape(spec: Spec) -> Shape:
    """The images' (h, w, c) that a spec states; `UserError` if it does not."""
    value: Any = spec.get("shape")
    ok = (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(isinstance(n, int) and n > 0 for n in value)
    )
    require(ok, f"spec shape {value!r}", "is no image shape", "give [h, w, c]")
    h, w, c = value
    return h, w, c
