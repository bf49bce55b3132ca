"""Vision transformers from a folder: CLIP's, ViT, DeiT, BEiT, DINOv2.

Dosovitskiy et al. 2021 (2010.11929); Radford et al. 2021 (2103.00020); Touvron et al.
2021 (2012.12877); Bao et al. 2022 (2106.08254); Oquab et al. 2023 (2304.07193). The
names are transformers'; weights are safetensors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.check import at_least, existing, one_of, require
from score_mia.encoders.layers import Batch, rgb
from score_mia.encoders.protocol import Features
from score_mia.files import load_json
from score_mia.interop.safetensors import Tensors
from score_mia.networks.attention import attend
from score_mia.networks.latent.layers import ACTIVATIONS
from score_mia.networks.layers import along_last, normalised

Weights = Mapping[str, Array]
_POOLER = "pooler.layernorm"
_REMEDY = "give a folder that transformers' save_pretrained wrote"


class Names(NamedTuple):
    """What a family calls its weights.

    Attributes:
      prefix: before every name, in files of a larger model.
      patch, place: of the patches' convolution, and of the places' vectors, which BEiT
        may do without.
      tokens: of the vectors before the patches.
      layer: of a layer, with its number.
      query, key, value, out: of its attention.
      norms: before its attention and before its perceptron.
      hidden, back: of its perceptron.
      gated: of a perceptron of two halves, one of which gates the other, and back; ()
        where the family has none.
      scales: of the factors of its two branches; () for none.
      bias: of the table of what is added to the logits for the way from patch to patch:
        within a layer, and one for all layers; () for none.
      first, last: of the normalisations before and after all layers; "" for none.
    """

    prefix: str
    patch: str
    place: str
    tokens: tuple[str, ...]
    layer: str
    query: str
    key: str
    value: str
    out: str
    norms: tuple[str, str]
    hidden: str
    back: str
    gated: tuple[str, ...] = ()
    bias: tuple[str, ...] = ()
    scales: tuple[str, ...] = ()
    first: str = ""
    last: str = "layernorm"


_VIT = Names(
    prefix="vit.",
    patch="embeddings.patch_embeddings.projection",
    place="embeddings.position_embeddings",
    tokens=("embeddings.cls_token",),
    layer="encoder.layer.{}",
    query="attention.attention.query",
    key="attention.attention.key",
    value="attention.attention.value",
    out="attention.output.dense",
    norms=("layernorm_before", "layernorm_after"),
    hidden="intermediate.dense",
    back="output.dense",
)
_DISTILLED = ("embeddings.cls_token", "embeddings.distillation_token")
FAMILIES = {
    "vit": _VIT,
    "deit": _VIT._replace(prefix="deit.", tokens=_DISTILLED),
    "dinov2": _VIT._replace(
        prefix="dinov2.",
        norms=("norm1", "norm2"),
        hidden="mlp.fc1",
        back="mlp.fc2",
        gated=("mlp.weights_in", "mlp.weights_out"),
        scales=("layer_scale1.lambda1", "layer_scale2.lambda1"),
    ),
    "beit": _VIT._replace(
        prefix="beit.",
        bias=(
            "attention.attention.relative_position_bias.relative_position_bias_table",
            "encoder.relative_position_bias.relative_position_bias_table",
        ),
        scales=("lambda_1", "lambda_2"),
    ),
    "clip_vision_model": Names(
        prefix="vision_model.",
        patch="embeddings.patch_embedding",
        place="embeddings.position_embedding.weight",
        tokens=("embeddings.class_embedding",),
        layer="encoder.layers.{}",
        query="self_attn.q_proj",
        key="self_attn.k_proj",
        value="self_attn.v_proj",
        out="self_attn.out_proj",
        norms=("layer_norm1", "layer_norm2"),
        hidden="mlp.fc1",
        back="mlp.fc2",
        first="pre_layrnorm",
        last="post_layernorm",
    ),
}
"""A config's model_type -> what its files call the weights."""


@dataclasses.dataclass(frozen=True)
class ViT:
    """An image encoder in a folder with config.json and safetensors.

    Images are made square of the model's own size by cubic interpolation that smooths
    before it shrinks (as Pillow's, within a few hundredths of a standard deviation),
    then shifted and scaled as preprocessor_config.json says, or to [-1, 1] without one.
    "pooled" is the first token after the last normalisation, CLIP's projection of it
    where the file has that, or BEiT's normalised mean of the patches; "tokens" are the
    patches.

    Attributes:
      folder: of the encoder; CLIP's may be the whole model's.
      tile: images of one call.
    """

    folder: str
    tile: int = 16
    canonical: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least("tile", self.tile, 1)

    @property
    def name(self) -> str:
        """The folder's name."""
        return existing(self.folder, "encoder").name

    @property
    def fingerprint(self) -> str:
        """Of the settings and the weights' file."""
        return f"{sorted(self._config.items())}{self._mean_std}{self._sha256}"

    @cached_property
    def _sha256(self) -> str:
        return Tensors.of(self.folder).sha256()

    @cached_property
    def _config(self) -> dict[str, Any]:
        path = existing(self.folder, "encoder") / "config.json"
        whole = load_json(path, dict, remedy=_REMEDY)
        config = whole.get("vision_config", whole)
        kind = config.get("model_type")
        one_of(f"model_type of {path}", kind, FAMILIES)
        activation = {"gelu_new": "gelu_tanh"}.get(config["hidden_act"])
        config["hidden_act"] = activation or config["hidden_act"]
        one_of(f"hidden_act of {path}", config["hidden_act"], ACTIVATIONS)
        return config

    @property
    def _names(self) -> Names:
        return FAMILIES[self._config["model_type"]]

    @cached_property
    def _mean_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        path = Path(self.folder).expanduser() / "preprocessor_config.json"
        if not path.is_file():
            return (0.5,) * 3, (0.5,) * 3
        told = load_json(path, dict, remedy=_REMEDY)
        mean, std = (told.get(k, [0.5] * 3) for k in ("image_mean", "image_std"))
        return tuple(map(float, mean)), tuple(map(float, std))

    def params(self, channels: int) -> dict[str, np.ndarray]:
        """The weights by their names, float32, without a larger model's prefix."""
        del channels
        names, tensors = self._names, Tensors.of(self.folder)
        read = ((name.removeprefix(names.prefix), tensors[name]) for name in tensors)
        found = {
            name: np.asarray(array, np.float32)
            for name, array in read
            if array.dtype.kind not in "iu"
        }
        place = () if names.bias else (names.place,)
        wanted = (names.patch + ".weight", *place, *names.tokens, self._layer(-1))
        for name in wanted:
            there = any(known.startswith(name) for known in found)
            require(there, f"encoder {self.folder}", f"has no {name!r}", _REMEDY)
        for name, array in found.items():
            problem = f"holds NaN or infinite weights in {name!r}"
            finite = bool(np.isfinite(array).all())
            require(finite, f"encoder {self.folder}", problem, "take another copy")
        return found

    def _layer(self, number: int) -> str:
        count = self._config["num_hidden_layers"]
        return self._names.layer.format(number % count)

    def apply(self, params: Weights, images: Batch) -> Features:
        """Features of images [n, h, w, c], float32 in [0, 1]."""
        size = self._config["image_size"]
        mean, std = (np.asarray(v, np.float32) for v in self._mean_std)
        shape = (len(images), size, size, 3)
        x = jax.image.resize(rgb(images), shape, "cubic", antialias=True)
        x = (x - along_last(jnp.asarray(mean), 4)) / along_last(jnp.asarray(std), 4)
        return self.encoded(params, x)

    def encoded(self, params: Weights, x: Batch) -> Features:
        """Features of images that are the network's input already."""
        names, config = self._names, self._config
        eps = float(config.get("layer_norm_eps", 1e-6))
        norm = _Norm(params, eps)
        h = self._embedded(params, x)
        h = norm(h, names.first) if names.first else h
        for number in range(config["num_hidden_layers"]):
            h = self._passed(params, norm, self._layer(number), h)
        first = len(names.tokens)
        if f"{_POOLER}.weight" in params:  # BEiT's mean of the patches
            return {
                "pooled": norm(h[:, first:].mean(1), _POOLER),
                "tokens": h[:, first:],
            }
        clip = names.first != ""
        last = norm(h, names.last)
        pooled, tokens = last[:, 0], (h if clip else last)[:, first:]
        if "visual_projection.weight" in params:
            pooled = pooled @ params["visual_projection.weight"].T
        return {"pooled": pooled, "tokens": tokens}

    def _embedded(self, params: Weights, x: Batch) -> Float[Array, "n t d"]:
        """The tokens: special ones, then the patches, each with its place."""
        names, p = self._names, self._config["patch_size"]
        n, h, w, _ = x.shape
        kernel = params[f"{names.patch}.weight"]  # [d, 3, p, p]
        patches = x.reshape(n, h // p, p, w // p, p, 3).transpose(0, 1, 3, 5, 2, 4)
        patches = patches.reshape(n, -1, 3 * p * p) @ kernel.reshape(len(kernel), -1).T
        if f"{names.patch}.bias" in params:
            patches = patches + along_last(params[f"{names.patch}.bias"], 3)
        first = [params[t].reshape(1, 1, -1) for t in names.tokens]
        first = [jnp.broadcast_to(t, (n, *t.shape[1:])) for t in first]
        tokens = jnp.concatenate([*first, patches], axis=1)
        if names.place not in params:
            return tokens
        return tokens + params[names.place].reshape(1, *tokens.shape[1:])

    def _bias(self, params: Weights, layer: str) -> Array | None:
        """What is added to the logits, [1, heads, t, t], if anything is."""
        own, shared = self._names.bias or ("", "")
        table = params.get(f"{layer}.{own}", params.get(shared))
        if table is None:
            return None
        side = self._config["image_size"] // self._config["patch_size"]
        return jnp.take(table, ways(side), axis=0).transpose(2, 0, 1)[None]

    def _passed(
        self, params: Weights, norm: Callable, layer: str, h: Float[Array, "n t d"]
    ) -> Float[Array, "n t d"]:
        """One layer's output."""
        names, heads = self._names, self._config["num_attention_heads"]
        act = ACTIVATIONS[self._config["hidden_act"]]

        def linear(x: Array, name: str) -> Array:
            place = f"{layer}.{name}"
            y = x @ params[f"{place}.weight"].T
            bias = params.get(f"{place}.bias")
            return y if bias is None else y + along_last(bias, y.ndim)

        def scaled(x: Array, branch: int) -> Array:
            name = names.scales[branch] if names.scales else ""
            factor = params.get(f"{layer}.{name}")
            return x if factor is None else x * along_last(factor, x.ndim)

        x = norm(h, f"{layer}.{names.norms[0]}")
        q, k, v = (linear(x, name) for name in (names.query, names.key, names.value))
        mixed = attend(q, k, v, heads, bias=self._bias(params, layer))
        h = h + scaled(linear(mixed, names.out), 0)
        x = norm(h, f"{layer}.{names.norms[1]}")
        if self._config.get("use_swiglu_ffn", False):
            gate, x = jnp.split(linear(x, names.gated[0]), 2, axis=-1)
            return h + scaled(linear(jax.nn.silu(gate) * x, names.gated[1]), 1)
        return h + scaled(linear(act(linear(x, names.hidden)), names.back), 1)


def ways(side: int) -> np.ndarray:
    """BEiT's row of the table of biases for each pair of tokens; the first is special.

    The way from one of side x side patches to another has (2 side - 1)^2 rows, row by
    row of how far it goes down, then right; three more are those from the first token
    to a patch, from a patch to it, and from it to itself.
    """
    reach = 2 * side - 1
    rows, columns = np.divmod(np.arange(side * side), side)
    down = rows[:, None] - rows[None] + side - 1
    right = columns[:, None] - columns[None] + side - 1
    table = np.empty((side * side + 1,) * 2, np.int64)
    table[1:, 1:] = reach * down + right
    table[0], table[:, 0], table[0, 0] = reach**2, reach**2 + 1, reach**2 + 2
    return table


@dataclasses.dataclass(frozen=True)
class _Norm:
    """Layer normalisation by the name of its weights."""

    params: Weights
    eps: float

    def __call__(self, x: Float[Array, "... d"], name: str) -> Float[Array, "... d"]:
        scale, bias = (self.params[f"{name}.{n}"] for n in ("weight", "bias"))
        y = normalised(x, self.eps)
        return y * along_last(scale, x.ndim) + along_last(bias, x.ndim)
