"""Stable Diffusion's components: the U-Net told of text, autoencoder, text encoder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from score_mia.check import one_of, require
from score_mia.conditions import Tokens
from score_mia.interop.diffusers.settings import older
from score_mia.interop.keys import Key, Names, same
from score_mia.networks.network import Shape

Config = Mapping[str, Any]
Entry = dict[str, Any]

_REMEDY = "no model of this kind is read; docs/models.md lists those that are"


def require_defaults(kind: str, config: Config, defaults: Config) -> None:
    """Refuse, by name, settings that have no counterpart here.

    Args:
      kind: the class, for the message.
      config: its config.
      defaults: setting -> the only value that is read, or a collection of them.
    """
    for name, known in defaults.items():
        value = config.get(name)
        several = isinstance(known, Collection) and not isinstance(known, str)
        ok = value is None or (value in known if several else value == known)
        require(ok, f"{kind}: {name}={value!r}", "has no counterpart here", _REMEDY)


def require_known(kind: str, config: Config, known: Collection[str]) -> None:
    """Refuse, by name, settings that are not known here, unless they say nothing."""
    for name, value in config.items():
        silent = value is None or value is False or name.startswith("_")
        ok = silent or name in known
        require(ok, f"{kind}: {name}={value!r}", "is not known here", _REMEDY)


# --- the U-Net -----------------------------------------------------------------------

_UNET = {
    "addition_embed_type_num_heads": 64,  # which says nothing without the type
    "act_fn": "silu",
    "center_input_sample": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_norm": (None,),
    "downsample_padding": 1,
    "dropout": (0, 0.0),
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "resnet_out_scale_factor": (1, 1.0),
    "resnet_time_scale_shift": "default",
    "time_embedding_type": "positional",
    "attention_type": "default",
}
_UNET_SIZES = (
    *("sample_size", "in_channels", "out_channels", "block_out_channels"),
    *("layers_per_block", "down_block_types", "up_block_types", "norm_num_groups"),
    *("norm_eps", "cross_attention_dim", "attention_head_dim", "num_attention_heads"),
    *("use_linear_projection", "transformer_layers_per_block", "upcast_attention"),
)


def unet(config: Config) -> Entry:
    """`LatentUNet`'s fields of a UNet2DConditionModel's config.

    `attention_head_dim` counts heads in this class (a name that stayed for its files).
    """
    kind = "UNet2DConditionModel"
    require_defaults(kind, config, _UNET)
    require_known(kind, config, (*_UNET, *_UNET_SIZES))
    widths = list(config["block_out_channels"])
    downs, ups = config["down_block_types"], config["up_block_types"]
    for block in (*downs, *ups):
        known = ("CrossAttnDownBlock2D", "DownBlock2D", "UpBlock2D")
        one_of("block type", block, (*known, "CrossAttnUpBlock2D"))
    attends = [block.startswith("CrossAttn") for block in downs]
    mirrored = [block.startswith("CrossAttn") for block in reversed(ups)] == attends
    require(mirrored, f"{kind}: up_block_types", "are no mirror image", _REMEDY)
    same_ends = config["in_channels"] == config["out_channels"]
    problem = "is not out_channels (an inpainting or depth model?)"
    what = f"{kind}: in_channels={config['in_channels']}"
    require(same_ends, what, problem, _REMEDY)
    heads = config.get("num_attention_heads") or config["attention_head_dim"]
    layers = config.get("transformer_layers_per_block") or 1
    remedy = "give a model of Stable Diffusion 1.x or 2.x"
    ok = type(layers) is int and type(config["layers_per_block"]) is int
    require(ok, f"{kind}: layers", "differ from level to level", remedy)
    return {
        "widths": widths,
        "blocks": config["layers_per_block"],
        "attends": attends,
        "heads": list(heads) if isinstance(heads, list) else [heads] * len(widths),
        "context": config["cross_attention_dim"],
        "linear": bool(config.get("use_linear_projection")),
        "layers": layers,
        "groups": config["norm_num_groups"],
        "eps": config.get("norm_eps", 1e-5),
    }


def told(unet: Entry, text: Entry) -> Entry:
    """The network of both."""
    return {"name": "text_unet", "unet": unet, "text": text}


# --- the text encoder ----------------------------------------------------------------

_TEXT = {"model_type": "clip_text_model"}


def text(config: Config) -> Entry:
    """`ClipText`'s fields of a CLIPTextModel's config."""
    require_defaults("CLIPTextModel", config, _TEXT)
    activation = config.get("hidden_act", "quick_gelu")
    return {
        "vocabulary": config["vocab_size"],
        "length": config["max_position_embeddings"],
        "width": config["hidden_size"],
        "hidden": config["intermediate_size"],
        "layers": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "activation": {"gelu_new": "gelu_tanh"}.get(activation, activation),
        "eps": config.get("layer_norm_eps", 1e-5),
    }


def text_names(config: Config) -> Names:
    """With "text_model." before every name, as it was, or without it, as it is now."""
    del config
    return lambda path: Key((same(path), f"text_model.{same(path)}"))


TEXT_UNUSED = (r"(text_model\.)?embeddings\.position_ids",)


def tokens(folder: Path, config: Config) -> Entry:
    """The conditioner of a CLIP tokenizer's folder that fits its text encoder.

    Raises:
      UserError: it has more tokens or longer texts than the text encoder.
    """
    made = Tokens(str(folder.resolve()))
    most, length = config["vocab_size"], config["max_position_embeddings"]
    problem = f"has {made.size} tokens where the text encoder knows {most}"
    remedy = "give the tokenizer that belongs to it"
    require(made.size <= most, f"tokenizer {folder}", problem, remedy)
    problem = f"has texts of {made.length} tokens, the text encoder {length}"
    require(made.length <= length, f"tokenizer {folder}", problem, remedy)
    return {
        "name": "tokens",
        "folder": made.folder,
        "length": made.length,
        "fingerprint": made.found,
    }


# --- the autoencoder -----------------------------------------------------------------

_VAE = {
    "act_fn": "silu",
    "latents_mean": (None,),
    "latents_std": (None,),
}
_VAE_SIZES = (
    *("in_channels", "out_channels", "block_out_channels", "down_block_types"),
    *("up_block_types", "latent_channels", "layers_per_block", "norm_num_groups"),
    *("sample_size", "scaling_factor", "shift_factor", "force_upcast"),
    *("use_quant_conv", "use_post_quant_conv", "mid_block_add_attention"),
)


def vae(config: Config) -> Entry:
    """`AutoencoderKL`'s fields of a config of that name."""
    kind = "AutoencoderKL"
    require_defaults(kind, config, _VAE)
    require_known(kind, config, (*_VAE, *_VAE_SIZES))
    for block in config["down_block_types"]:
        one_of("block type", block, ("DownEncoderBlock2D",))
    for block in config["up_block_types"]:
        one_of("block type", block, ("UpDecoderBlock2D",))
    quant = bool(config.get("use_quant_conv", True))
    ok = quant == bool(config.get("use_post_quant_conv", True))
    require(ok, f"{kind}: use_post_quant_conv", "is not use_quant_conv", _REMEDY)
    return {
        "name": "kl",
        "channels": config["in_channels"],
        "latent": config["latent_channels"],
        "widths": list(config["block_out_channels"]),
        "blocks": config["layers_per_block"],
        "groups": config["norm_num_groups"],
        "scale": config.get("scaling_factor", 0.18215),
        "shift": config.get("shift_factor") or 0.0,
        "attention": bool(config.get("mid_block_add_attention", True)),
        "quant": quant,
    }


def image(config: Config, latent: Shape) -> Shape:
    """The shape of the images whose latents have this shape."""
    factor = 2 ** (len(config["block_out_channels"]) - 1)
    return latent[0] * factor, latent[1] * factor, config["in_channels"]


def vae_names(config: Config) -> Names:
    """The attention's layers by their names of now, or those before 2023."""
    del config
    return lambda path: Key((same(path), older(same(path))))
