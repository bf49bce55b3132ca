"""Encoders: what images are compared by, where pixels say too little.

`pixels` and `random_conv` need nothing and see little. `efficientnet_lite0` sees what a
network trained on ImageNet sees; its weights come with the extra "encoders".
`inception` is FID's own and needs the user's copy of the canonical weights, since no
package carries them. An encoder is two pure functions, `params` and `apply`, and what
they are called (`Encoder`); `encode` runs it. One's own is named as
"my_package.mine:MyEncoder".
"""

from typing import Annotated

from score_mia.encoders.efficientnet import EfficientNetLite0
from score_mia.encoders.inception import Inception
from score_mia.encoders.plain import Pixels, RandomConv
from score_mia.encoders.protocol import Encoder, encode, frechet_name
from score_mia.encoders.vit import ViT
from score_mia.registry import Family, make

ENCODERS = {
    "pixels": Pixels,
    "random_conv": RandomConv,
    "efficientnet_lite0": EfficientNetLite0,
    "inception": Inception,
    "vit": ViT,
}

AnEncoder = Annotated[Encoder, Family("encoder", ENCODERS)]
"""A field that a config fills with `dict(name="vit", ...)`."""


def usual_encoder() -> Encoder:
    """Of attacks that are given none: EfficientNet-Lite0 (the extra "encoders")."""
    return make("encoder", ENCODERS, {"name": "efficientnet_lite0"})


__all__ = [
    "ENCODERS",
    "AnEncoder",
    "EfficientNetLite0",
    "Encoder",
    "Inception",
    "Pixels",
    "RandomConv",
    "ViT",
    "encode",
    "frechet_name",
    "usual_encoder",
]
