"""`DiTTransformer2DModel`: DiT and SiT as diffusers keeps them.

The published DiT-XL/2 says "Transformer2DModel", the class that it then was part of.
"""

from __future__ import annotations

from typing import Any

from score_mia.check import require
from score_mia.interop.diffusers.settings import (
    Config,
    learned_variance,
    plain,
    settings,
)

_DEFAULTS: Config = {
    **{"num_attention_heads": 16, "attention_head_dim": 72, "in_channels": 4},
    **{"out_channels": None, "num_layers": 28, "dropout": 0.0, "norm_num_groups": 32},
    **{"attention_bias": True, "sample_size": 32, "patch_size": 2},
    **{"activation_fn": "gelu-approximate", "num_embeds_ada_norm": 1000},
    **{"upcast_attention": False, "norm_type": "ada_norm_zero"},
    **{"norm_elementwise_affine": False, "norm_eps": 1e-5},
}
"""What a config that does not say it means."""

_ABSENT = (
    *("cross_attention_dim", "num_vector_embeds", "only_cross_attention"),
    *("use_linear_projection", "double_self_attention", "caption_channels"),
    *("interpolation_scale", "use_additional_conditions", "attention_type"),
)
"""Settings of the older class, which must say what is the case here: nothing."""

_ACTIVATIONS = {"gelu-approximate": "gelu_tanh", "gelu": "gelu"}
_ONLY = {
    "norm_type": ("ada_norm_zero",),
    "norm_elementwise_affine": (False,),
    "activation_fn": tuple(_ACTIVATIONS),
}
_REMEDY = "such a transformer has no counterpart here"
IGNORED = (r"pos_embed\.pos_embed",)
"""The fixed positions, which older files hold."""


def entry(config: Config) -> dict[str, Any]:
    """The network `dit` of a config; numbers of layers and heads are theirs.

    Raises:
      UserError: a setting that is unknown, or has no counterpart here, by name.
    """
    told = plain(config)
    for name in _ABSENT:
        value = told.pop(name, None)
        ok = value in (None, False, "default")
        require(ok, f"transformer {name}={value!r}", "is not read", _REMEDY)
    c = settings("transformer", told, _DEFAULTS, _ONLY, _REMEDY)
    given, made = c["in_channels"], c["out_channels"] or c["in_channels"]
    return {
        "name": "dit",
        "width": c["num_attention_heads"] * c["attention_head_dim"],
        "heads": c["num_attention_heads"],
        "layers": c["num_layers"],
        "patch": c["patch_size"],
        "classes": c["num_embeds_ada_norm"] + 1,
        "shared": False,
        "grid": c["sample_size"] // c["patch_size"],
        "freq_shift": 1,
        "learned_variance": learned_variance(given, made, _REMEDY),
        "eps": c["norm_eps"],
        "bias": c["attention_bias"],
        "activation": _ACTIVATIONS[c["activation_fn"]],
        "dropout": c["dropout"],
    }


def told(config: Config) -> dict[str, Any]:
    """The condition: a class, of which the one after the last is none."""
    nothing = {**_DEFAULTS, **config}["num_embeds_ada_norm"]
    return {"name": "label", "classes": nothing + 1, "nothing": nothing}
