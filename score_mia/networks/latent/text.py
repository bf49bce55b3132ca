"""CLIP's text encoder (Radford et al. 2021, 2103.00020), of any size."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from score_mia.check import at_least, one_of, require
from score_mia.networks.attention import attend
from score_mia.networks.latent.layers import ACTIVATIONS, Table
from score_mia.networks.layers import Dense, Draws, LayerNorm


@dataclasses.dataclass(frozen=True)
class ClipText:
    """Fields of the encoder; the defaults are those of CLIP ViT-L/14.

    Attributes:
      vocabulary: how many tokens there are.
      length: most tokens of a text.
      width, hidden: of the states, and of the perceptrons' hidden layers.
      layers, heads: how many.
      activation: "quick_gelu" (CLIP), "gelu" (OpenCLIP), or another of the layers'.
      eps: of the normalisations.
    """

    vocabulary: int = 49408
    length: int = 77
    width: int = 768
    hidden: int = 3072
    layers: int = 12
    heads: int = 12
    activation: str = "quick_gelu"
    eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("vocabulary", "length", "width", "hidden", "layers", "heads"):
            at_least(name, getattr(self, name), 1)
        one_of("activation", self.activation, ACTIVATIONS)
        ok = self.width % self.heads == 0
        problem = f"does not divide the width {self.width}"
        require(ok, f"heads={self.heads}", problem, "give heads that divide it")


class TextEncoder(nnx.Module):
    """The states of a text's tokens, each of which sees those before it."""

    def __init__(self, spec: ClipText, draws: Draws):
        self.embeddings = _Embeddings(spec, draws)
        self.encoder = _Encoder(spec, draws)
        self.final_layer_norm = LayerNorm(spec.width, spec.eps)

    def __call__(self, tokens: Int[Array, "b l"]) -> Float[Array, "b l d"]:
        """The last states, after the last normalisation, float32."""
        h = self.embeddings(tokens)
        causal = jnp.asarray(np.tri(tokens.shape[1], dtype=bool))[None, None]
        for layer in self.encoder.layers:
            h = layer(h, causal)
        return self.final_layer_norm(h)


class _Embeddings(nnx.Module):
    def __init__(self, spec: ClipText, draws: Draws):
        self.token_embedding = Table(spec.vocabulary, spec.width, draws)
        self.position_embedding = Table(spec.length, spec.width, draws)

    def __call__(self, tokens: Int[Array, "b l"]) -> Float[Array, "b l d"]:
        words = self.token_embedding(tokens)
        places = self.position_embedding.embedding[...][: tokens.shape[1]]
        return (words + places[None]).astype(jnp.float32)


class _Encoder(nnx.Module):
    def __init__(self, spec: ClipText, draws: Draws):
        self.layers = nnx.List([_Layer(spec, draws) for _ in range(spec.layers)])


class _Layer(nnx.Module):
    def __init__(self, spec: ClipText, draws: Draws):
        self.self_attn = _SelfAttention(spec.width, spec.heads, draws)
        self.layer_norm1 = LayerNorm(spec.width, spec.eps)
        self.mlp = _Perceptron(spec, draws)
        self.layer_norm2 = LayerNorm(spec.width, spec.eps)

    def __call__(
        self, h: Float[Array, "b l d"], mask: Bool[Array, "1 1 l l"]
    ) -> Float[Array, "b l d"]:
        h = h + self.self_attn(self.layer_norm1(h), mask)
        return h + self.mlp(self.layer_norm2(h))


class _SelfAttention(nnx.Module):
    def __init__(self, width: int, heads: int, draws: Draws):
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            Dense(width, width, draws) for _ in range(4)
        )
        self.heads = heads

    def __call__(
        self, h: Float[Array, "b l d"], mask: Bool[Array, "1 1 l l"]
    ) -> Float[Array, "b l d"]:
        q, k, v = self.q_proj(h), self.k_proj(h), self.v_proj(h)
        return self.out_proj(attend(q, k, v, self.heads, mask=mask))


class _Perceptron(nnx.Module):
    def __init__(self, spec: ClipText, draws: Draws):
        self.fc1 = Dense(spec.width, spec.hidden, draws)
        self.fc2 = Dense(spec.hidden, spec.width, draws)
        self.act: Any = ACTIVATIONS[spec.activation]

    def __call__(self, h: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        return self.fc2(self.act(self.fc1(h)))
