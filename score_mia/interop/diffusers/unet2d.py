"""`UNet2DModel`: the unconditional and class-conditional U-Nets of diffusers."""

from __future__ import annotations

from typing import Any

from score_mia.check import one_of, require
from score_mia.interop.diffusers.settings import (
    Config,
    learned_variance,
    older,
    plain,
    settings,
)
from score_mia.interop.keys import Key, Names, same
from score_mia.networks.network import Shape

_DEFAULTS: Config = {
    **{"sample_size": None, "in_channels": 3, "out_channels": 3},
    **{"center_input_sample": False, "time_embedding_type": "positional"},
    **{"time_embedding_dim": None, "freq_shift": 0, "flip_sin_to_cos": True},
    "down_block_types": ["DownBlock2D", *["AttnDownBlock2D"] * 3],
    "up_block_types": [*["AttnUpBlock2D"] * 3, "UpBlock2D"],
    **{"mid_block_type": "UNetMidBlock2D", "mid_block_scale_factor": 1},
    **{"block_out_channels": [224, 448, 672, 896], "layers_per_block": 2},
    **{"downsample_padding": 1, "downsample_type": "conv", "upsample_type": "conv"},
    **{"dropout": 0.0, "act_fn": "silu", "attention_head_dim": 8},
    **{"norm_num_groups": 32, "attn_norm_num_groups": None, "norm_eps": 1e-5},
    **{"resnet_time_scale_shift": "default", "add_attention": True},
    **{"class_embed_type": None, "num_class_embeds": None},
    "num_train_timesteps": None,
}
"""What a config that does not say it means."""

_ASIDE = ("num_train_timesteps", "sample_size")
_AVERAGING = (
    *("decay", "inv_gamma", "min_decay", "min_value", "optimization_step", "power"),
    *("update_after_step", "use_ema_warmup"),
)
"""Settings of the moving average that are written into the config of its weights."""

_ONLY = {
    "time_embedding_type": ("positional",),
    "act_fn": ("silu", "swish"),  # the first and the last layer have it in any case
    "mid_block_type": ("UNetMidBlock2D", None),
    "mid_block_scale_factor": (1, None),
    "class_embed_type": (None,),
    "downsample_padding": (0, 1),
    "flip_sin_to_cos": (True, False),
    "downsample_type": ("conv", "resnet"),
    "upsample_type": ("conv", "resnet"),
}
"""Settings of which these values alone have a counterpart."""

_TOLD = {"default": "shift", "scale_shift": "scale_shift"}
_BLOCKS = ("DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D")
_REMEDY = "such a model has no counterpart here"


def shape(config: Config) -> Shape:
    """The shape of x of a network's config: (height, width, channels).

    Raises:
      UserError: sample_size or in_channels is missing or no size.
    """
    size: Any = config.get("sample_size")
    channels: Any = config.get("in_channels")
    sizes = size if isinstance(size, list | tuple) else [size, size]
    hwc = (*sizes, channels)
    ok = len(hwc) == 3 and all(type(n) is int and n > 0 for n in hwc)
    what = f"sample_size={size!r}, in_channels={channels!r}"
    remedy = "write the size that the network was trained on into config.json"
    require(ok, what, "tell no shape of x", remedy)
    height, width, depth = hwc
    return height, width, depth


def entry(config: Config) -> dict[str, Any]:
    """The network `unet2d` of a UNet2DModel's config.

    Raises:
      UserError: a setting that is unknown, or has no counterpart here, by name.
    """
    told = {k: v for k, v in plain(config).items() if k not in _AVERAGING}
    c = settings("UNet2DModel", told, _DEFAULTS, _ONLY, _REMEDY)
    one_of("UNet2DModel resnet_time_scale_shift", c["resnet_time_scale_shift"], _TOLD)
    attention, halve, double = _levels(c)
    told_as = _TOLD[c["resnet_time_scale_shift"]]
    return {
        "name": "unet2d",
        "widths": list(c["block_out_channels"]),
        "attention": attention,
        "blocks": c["layers_per_block"],
        "dropout": c["dropout"],
        "classes": c["num_class_embeds"] or 0,
        "groups": c["norm_num_groups"],
        "centered": not c["center_input_sample"],
        "embedding_order": "cos_sin" if c["flip_sin_to_cos"] else "sin_cos",
        "freq_shift": c["freq_shift"],
        "pad": [1, 1] if c["downsample_padding"] else [0, 1],
        "eps": c["norm_eps"],
        # Here it is a width, whatever it is in other networks of theirs.
        "head_width": c["attention_head_dim"] or 0,
        "halve_blocks": halve,
        "double_blocks": double,
        "told_as": told_as,
        "middle": _middle(c),
        "middle_groups": c["attn_norm_num_groups"] or (-1 if told_as != "shift" else 0),
        "embedding_width": c["time_embedding_dim"] or 0,
        "learned_variance": learned_variance(
            c["in_channels"], c["out_channels"], _REMEDY
        ),
    }


def _middle(c: Config) -> str:
    if c["mid_block_type"] is None:
        return "none"
    return "attention" if c["add_attention"] else "plain"


def _levels(c: Config) -> tuple[list[bool], list[bool], list[bool]]:
    """Of each level: whether it attends, halves and doubles inside a block."""
    downs, ups = list(c["down_block_types"]), list(reversed(c["up_block_types"]))
    levels = len(c["block_out_channels"])
    ok = len(downs) == len(ups) == levels
    problem = f"are {len(downs)} and {len(ups)} for {levels} block_out_channels"
    require(ok, "down_block_types and up_block_types", problem, _REMEDY)
    for down, up in zip(downs, ups, strict=True):
        one_of("down_block_types", down, _BLOCKS)
        one_of("up_block_types", up, [_up(b) for b in _BLOCKS])
        ok = ("Attn" in down) == ("Attn" in up)
        problem = f"differ in their attention from {up!r} on the way up"
        require(ok, f"down_block_types {down!r}", problem, _REMEDY)
    attention = ["Attn" in down for down in downs]
    halve = [_inside(b, c["downsample_type"]) for b in downs]
    double = [_inside(b, c["upsample_type"]) for b in ups]
    return attention, halve, double


def _up(block: str) -> str:
    return block.replace("Downsample", "Upsample").replace("Down", "Up")


def _inside(block: str, kind: str) -> bool:
    """Whether the block's resampling is a residual block; plain ones ignore `kind`."""
    return block.startswith("Resnet") or ("Attn" in block and kind == "resnet")


_LAYERS = {
    "head.norm": "conv_norm_out",
    "head.conv": "conv_out",
    "embedding.classes.table": "class_embedding.weight",
}
_WORDS = {
    **{"embedding": "time_embedding", "dense_0": "linear_1", "dense_1": "linear_2"},
    **{"first": "conv_in", "downs": "down_blocks", "ups": "up_blocks"},
    **{"blocks": "resnets", "halve": "downsamplers.0", "double": "upsamplers.0"},
    **{f"middle_{i}": f"mid_block.resnets.{i}" for i in (0, 1)},
    **{"middle_attention": "mid_block.attentions.0", "norm": "group_norm"},
    **{"norm_0": "norm1", "conv_0": "conv1", "dense": "time_emb_proj"},
    **{"norm_1": "norm2", "conv_1": "conv2", "shortcut": "conv_shortcut"},
    **{"query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"},
}


def names(config: Config) -> Names:
    """Where the parameters of a network `unet2d` come from, by their paths here."""
    del config
    return named


def named(path: str) -> str | Key:
    """The names of a parameter of `UNet` in a UNet2DModel's weights."""
    for ours, theirs in _LAYERS.items():
        if path.startswith(ours):
            return same(theirs + path.removeprefix(ours))
    name = same(".".join(_WORDS.get(word, word) for word in path.split(".")))
    return Key((name, older(name))) if older(name) != name else name
