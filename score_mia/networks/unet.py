"""The U-Net behind `ddpm` and `ncsnpp`: one module, whose options make either.

Ho et al. 2020 (2006.11239, App. B) and Song et al. 2021 (2011.13456, App. H).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from score_mia.arrays import Key
from score_mia.networks.layers import (
    ACTIVATIONS,
    Attention,
    ClassEmbedding,
    Conv,
    Dense,
    Draws,
    Dropout,
    Fourier,
    GroupNorm,
    residual,
    sinusoids,
)
from score_mia.networks.network import Shape, take_condition
from score_mia.networks.options import Options, check_shape
from score_mia.networks.resample import Double, Halve, double, halve

Features: TypeAlias = Float[Array, "_ _ _ _"]
"""[b, h, w, c], of any level."""
Told: TypeAlias = Float[Array, "_ _"] | None
"""[b, e], what the blocks are told of time and class."""


class Embedding(nnx.Module):
    """What the blocks are told of the label and the class."""

    def __init__(self, o: Options, draws: Draws):
        fourier, width = o.embedding == "fourier", o.width_told
        told = (2 if fourier else 1) * o.features
        self.o = o
        self.fourier: Any = (
            Fourier(o.features, o.fourier_scale, draws) if fourier else None
        )
        self.dense_0: Any = Dense(told, width, draws) if o.conditional else None
        self.dense_1: Any = Dense(width, width, draws) if o.conditional else None
        self.classes: Any = (
            ClassEmbedding(o.classes, width, draws) if o.classes else None
        )
        self.vector: Any = Dense(o.vector, width, draws) if o.vector else None

    def __call__(
        self, label: Float[Array, " b"], condition: Array | None, dtype: Any
    ) -> Float[Array, "b e"] | None:
        """What is told, [b, e], of this type; None if there is nothing to tell."""
        take_condition(condition, self.o.classes or self.o.vector)
        total = None
        if self.o.conditional:
            act = ACTIVATIONS[self.o.nonlinearity]
            told = (
                sinusoids(
                    label, self.o.features, self.o.embedding_order, self.o.freq_shift
                )
                if self.fourier is None
                else self.fourier(label)
            )
            # A step is exact in float32 only: beyond 256 bfloat16 skips some.
            total = self.dense_1(act(self.dense_0(told.astype(dtype))))
        for told in (self.classes, self.vector):
            if told is not None:
                more = told(condition).astype(dtype)
                total = more if total is None else total + more
        return total

    def in_order(self) -> Iterator[Any]:
        """The layers in the order of their use."""
        layers = (self.fourier, self.dense_0, self.dense_1)
        yield from (m for m in layers if m is not None)


class Block(nnx.Module):
    """A residual block, told of time and class by a shift after its first layer.

    Or, if `told_as` is "scale_shift", by a scale and a shift after its second
    normalisation (Dhariwal & Nichol 2021, Section 3, "adaptive group normalisation").
    """

    def __init__(
        self, o: Options, inp: int, out: int, draws: Draws, resample: str = ""
    ):
        form = o.convolution
        self.norm_0 = GroupNorm(inp, o.norm_groups(inp), o.eps)
        self.conv_0 = Conv(inp, out, draws, form=form)
        self.scaled = o.told_as == "scale_shift"
        told = out * (2 if self.scaled else 1)
        self.dense: Any = Dense(o.width_told, told, draws) if o.told else None
        self.norm_1 = GroupNorm(out, o.norm_groups(out), o.eps)
        self.conv_1 = Conv(out, out, draws, form=form, scale=o.init_scale)
        needed = inp != out or (resample != "" and o.block == "biggan")
        scale = 1.0 if o.block == "biggan" else 0.1
        self.shortcut = Dense(inp, out, draws, scale) if needed else None
        self.o, self.resample = o, resample

    def __call__(
        self,
        x: Float[Array, "b h w i"],
        embedding: Float[Array, "b e"] | None,
        dropout: Dropout,
    ) -> Float[Array, "b h2 w2 o"]:
        """The block's features, at half or twice the size of x if it resamples."""
        act = ACTIVATIONS[self.o.nonlinearity]
        h = act(self.norm_0(x))
        if self.resample:
            change = halve if self.resample == "halve" else double
            h, x = change(h, self.o.taps), change(x, self.o.taps)
        h = self.conv_0(h)
        told = None
        if self.dense is not None:
            assert embedding is not None
            told = self.dense(act(embedding))[:, None, None, :]
        if told is not None and self.scaled:
            scale, shift = jnp.split(told, 2, axis=-1)
            h = self.norm_1(h) * (1.0 + scale) + shift
        else:
            h = self.norm_1(h if told is None else h + told)
        h = self.conv_1(dropout(act(h)))
        x = x if self.shortcut is None else self.shortcut(x)
        return residual(x, h, self.o.skip_rescale)


class Head(nnx.Module):
    """Normalisation, nonlinearity and a convolution: from features to an image."""

    def __init__(self, o: Options, inp: int, out: int, scale: float, draws: Draws):
        self.norm = GroupNorm(inp, o.norm_groups(inp), o.eps)
        self.conv = Conv(inp, out, draws, form=o.convolution, scale=scale)
        self.o = o

    def __call__(self, h: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        """The image."""
        return self.conv(ACTIVATIONS[self.o.nonlinearity](self.norm(h)))


class Combine(nnx.Module):
    """Joins the halved input image to the features."""

    def __init__(self, o: Options, fed: int, out: int, draws: Draws):
        self.dense = Dense(fed, out, draws)
        self.cat = o.progressive_combine == "cat"

    def __call__(
        self, image: Float[Array, "b h w c"], h: Float[Array, "b h w i"]
    ) -> Float[Array, "b h w o"]:
        """The features, with those of the image added or appended."""
        fed = self.dense(image)
        return jnp.concatenate([fed, h], axis=-1) if self.cat else fed + h


class Level(NamedTuple):
    """A level among the others.

    Attributes:
      attends: whether its blocks are followed by self-attention.
      last: of its way, so that it does not change the resolution.
      inside: whether a residual block changes it.
    """

    attends: bool
    last: bool
    inside: bool


class Down(nnx.Module):
    """One level on the way down: blocks, then (but last) half the resolution."""

    def __init__(
        self, o: Options, inp: int, out: int, fed: int, level: Level, draws: Draws
    ):
        attends, last, inside = level
        self.o = o
        widths = [inp] + [out] * o.blocks
        self.blocks = nnx.List([Block(o, a, out, draws) for a in widths[: o.blocks]])
        self.attentions = nnx.List(
            [_attention(o, out, draws) for _ in range(o.blocks if attends else 0)]
        )
        self.halve: Any = None if last else _resampling(Halve, o, out, inside, draws)
        self.feed: Any = None if last else _feeding(o, fed, out, draws)
        doubled = o.progressive_input == "input_skip" and o.progressive_combine == "cat"
        self.width = out * (2 if doubled and not last else 1)
        self.fed = out if o.progressive_input == "residual" else fed
        self.skips = (out,) * o.blocks + (() if last else (self.width,))

    def __call__(
        self, h: Features, image: Features, embedding: Told, dropout: Dropout
    ) -> tuple[list[Features], Features, Features]:
        """Features for the way up (a list), features and image for the next level."""
        skips = []
        for i, block in enumerate(self.blocks):
            h = block(h, embedding, dropout)
            h = self.attentions[i](h) if self.attentions else h
            skips.append(h)
        if self.halve is None:
            return skips, h, image
        if isinstance(self.halve, Block):
            h = self.halve(h, embedding, dropout)
        else:
            h = self.halve(h)
        if self.o.progressive_input == "input_skip":
            image = halve(image, self.o.taps)
            h = self.feed(image, h)
        elif self.o.progressive_input == "residual":
            h = image = residual(self.feed(image), h, self.o.skip_rescale)
        return [*skips, h], h, image

    def in_order(self) -> Iterator[Any]:
        """The layers in the order of their use."""
        for i, block in enumerate(self.blocks):
            yield block
            yield from self.attentions[i : i + 1]
        yield from (m for m in (self.halve, self.feed) if m is not None)


class Up(nnx.Module):
    """One level on the way up: blocks fed with skips, then twice the resolution."""

    def __init__(
        self,
        o: Options,
        inp: int,
        out: int,
        skips: tuple[int, ...],
        channels: int,
        grown: int,
        level: Level,
        draws: Draws,
    ):
        attends, last, inside = level
        self.o = o
        widths = [inp] + [out] * o.blocks
        self.blocks = nnx.List(
            [Block(o, a + b, out, draws) for a, b in zip(widths, skips, strict=True)]
        )
        each = o.up_attention == "block"
        self.attentions = nnx.List(
            [_attention(o, out, draws) for _ in widths if attends and each]
        )
        once = attends and not each
        self.attention = _attention(o, out, draws) if once else None
        deepest = grown == 0
        if o.progressive == "output_skip":
            head = Head(o, out, channels, o.init_scale, draws)
        elif o.progressive == "residual" and deepest:
            head = Head(o, out, out, 1.0, draws)
        else:
            head = None
        self.head = head
        grows = o.progressive == "residual" and not deepest
        self.grow = _resampler(Double, o, grown, out, True, draws) if grows else None
        self.double = None if last else _resampling(Double, o, out, inside, draws)

    def __call__(
        self,
        h: Features,
        skips: list[Features],
        image: Features | None,
        embedding: Told,
        dropout: Dropout,
    ) -> tuple[Features, Features | None]:
        """Features and growing image for the next level; takes its skips' ends."""
        for i, block in enumerate(self.blocks):
            h = jnp.concatenate([h, skips.pop()], axis=-1)
            h = block(h, embedding, dropout)
            h = self.attentions[i](h) if self.attentions else h
        h = h if self.attention is None else self.attention(h)
        if self.grow is not None:
            h = image = residual(self.grow(image), h, self.o.skip_rescale)
        elif self.head is not None:
            grows = self.o.progressive == "output_skip"
            new = self.head(h.astype(jnp.float32) if grows else h)
            image = new if image is None else double(image, self.o.taps) + new
        if isinstance(self.double, Block):
            h = self.double(h, embedding, dropout)
        elif self.double is not None:
            h = self.double(h)
        return h, image

    def in_order(self) -> Iterator[Any]:
        """The layers in the order of their use."""
        for i, block in enumerate(self.blocks):
            yield block
            yield from self.attentions[i : i + 1]
        rest = (self.attention, self.head, self.grow, self.double)
        yield from (m for m in rest if m is not None)


class UNet(nnx.Module):
    """Down the levels, through the middle, and up again with skip connections."""

    def __init__(self, o: Options, shape: Shape, draws: Draws):
        check_shape(o, shape)
        self.o = o
        self.embedding = Embedding(o, draws)
        height, _, channels = shape
        attends = [(height >> i) in o.attention for i in range(len(o.multipliers))]
        halved, doubled = o.halve_blocks, o.double_blocks
        widths = o.level_widths
        self.first = Conv(channels, o.features, draws, form=o.convolution)
        width, fed, skips, downs = o.features, channels, [o.features], []
        for i, out in enumerate(widths):
            inside = bool(halved) and halved[i]
            level = Level(attends[i], i == len(widths) - 1, inside)
            down = Down(o, width, out, fed, level, draws)
            width, fed = down.width, down.fed
            skips += down.skips
            downs.append(down)
        self.downs = nnx.List(downs)
        self._make_middle(o, width, draws)
        ups, grown = [], 0
        for i in reversed(range(len(widths))):
            taken = tuple(skips.pop() for _ in range(o.blocks + 1))
            inside = bool(doubled) and doubled[i]
            level = Level(attends[i], i == 0, inside)
            ups.append(Up(o, width, widths[i], taken, channels, grown, level, draws))
            width = grown = widths[i]
        self.ups = nnx.List(ups)
        whole = o.progressive != "output_skip"
        made = channels * (2 if o.learned_variance else 1)
        self.head = Head(o, width, made, o.init_scale, draws) if whole else None

    def _make_middle(self, o: Options, width: int, draws: Draws) -> None:
        """The lowest point: block, attention, block, as far as they are there."""
        none, attends = o.middle == "none", o.middle == "attention"
        self.middle_0: Any = None if none else Block(o, width, width, draws)
        self.middle_attention: Any = (
            _attention(o, width, draws, o.middle_groups) if attends else None
        )
        self.middle_1: Any = None if none else Block(o, width, width, draws)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        label: Float[Array, " b"],
        condition: Array | None,
        dropout_key: Key | None,
    ) -> Float[Array, "b h w c"]:
        """The network's output, of the shape of x."""
        dropout = Dropout(self.o.dropout, dropout_key)
        dtype = jnp.dtype(self.o.compute)
        embedding = self.embedding(label, condition, dtype)
        image = (x if self.o.centered else 2.0 * x - 1.0).astype(dtype)
        h = self.first(image)
        skips = [h]
        for level in self.downs:
            more, h, image = level(h, image, embedding, dropout)
            skips += more
        if self.middle_0 is not None:
            h = self.middle_0(h, embedding, dropout)
            h = h if self.middle_attention is None else self.middle_attention(h)
            h = self.middle_1(h, embedding, dropout)
        grown = None
        for level in self.ups:
            h, grown = level(h, skips, grown, embedding, dropout)
        out: Any = grown if self.head is None else self.head(h.astype(x.dtype))
        out = out[..., : x.shape[-1]] if self.o.learned_variance else out
        return out / self._sigma(label) if self.o.scale_by_sigma else out

    def _sigma(self, label: Float[Array, " b"]) -> Float[Array, "b 1 1 1"]:
        fourier = self.o.embedding == "fourier"
        return (label if fourier else self.o.sigma(label))[:, None, None, None]

    def in_order(self) -> Iterator[Any]:
        """The layers in the order of their use (foreign checkpoints number them so)."""
        yield from self.embedding.in_order()
        yield self.first
        for level in self.downs:
            yield from level.in_order()
        middle = (self.middle_0, self.middle_attention, self.middle_1)
        yield from (m for m in middle if m is not None)
        for level in self.ups:
            yield from level.in_order()
        if self.head is not None:
            yield self.head


def _attention(o: Options, channels: int, draws: Draws, groups: int = 0) -> Attention:
    """With so many groups in its normalisation: 0 as everywhere, -1 for none of it."""
    of = groups or o.norm_groups(channels)
    return Attention(
        channels,
        draws,
        norm=GroupNorm(channels, of, o.eps) if of > 0 else None,
        heads=o.heads_of(channels),
        scale=o.init_scale,
        rescale=o.skip_rescale,
    )


def _resampler(
    kind: type, o: Options, inp: int, out: int, conv: bool, draws: Draws
) -> Any:
    pad = {"pad": o.pad} if kind is Halve else {}
    return kind(inp, out, draws, conv=conv, fir=o.taps, form=o.convolution, **pad)


def _resampling(kind: type, o: Options, width: int, inside: bool, draws: Draws) -> Any:
    if inside or o.block == "biggan":
        change = "halve" if kind is Halve else "double"
        return Block(o, width, width, draws, change)
    return _resampler(kind, o, width, width, o.resample_with_conv, draws)


def _feeding(o: Options, fed: int, out: int, draws: Draws) -> Combine | Halve | None:
    if o.progressive_input == "input_skip":
        return Combine(o, fed, out, draws)
    if o.progressive_input == "residual":
        return _resampler(Halve, o, fed, out, True, draws)
    return None
