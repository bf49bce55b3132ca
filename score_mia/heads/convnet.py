"""The neural heads of SecMI (Duan et al. 2023, 2302.01316) and ReDiffuse (Li et al.,
2405.20771): a residual network that looks at the difference of two images.

    3x3, then stages of blocks (3x3, 3x3, and what came in), then the image's mean

He et al. 2016 (1512.03385) as it is built for small images, by squared error on the
label, as the published heads are trained. Theirs is a ResNet-18: `widths=(64, 128, 256,
512), blocks=2`.

Their code means to keep the epoch that is best on the images that it reports; since it
never writes down how good that was, it keeps a late one. Here it is the last.

Why a batch norm: how large the difference is at all is what the papers' other heads
judge by, and a norm over each image alone (group, layer) would divide it out. It judges
by running statistics, so that an image's score is its own.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from score_mia.arrays import Key, Scalar
from score_mia.check import at_least, positive, require, within
from score_mia.heads.training import (
    MOMENTUM,
    Seen,
    State,
    descended,
    normed,
    seen_in,
    uniform,
)
from score_mia.networks.convolution import Form, convolve
from score_mia.readings import Evidence, pixel_places
from score_mia.rules.known import Fitted, Standard, shown
from score_mia.rules.protocol import Knowledge

_TILE = 64
"""Images that are judged by one call; the last call is filled up."""

_LABELS = 0.5
"""What the output begins at, half-way between the labels 0 and 1."""


class Layer(NamedTuple):
    """A convolution [k, k, in, out] without offsets, and its batch norm's [out]."""

    kernel: Any
    scale: Any
    offset: Any


class Block(NamedTuple):
    """Two layers, and what makes the image that came in of the size that goes out.

    The last is None where it has that size.
    """

    first: Layer
    second: Layer
    shortcut: Layer | None


class Net(NamedTuple):
    """All that is learned.

    Attributes:
      stem: the first layer.
      blocks: in order.
      weights, offset: [features] and [] of the output.
    """

    stem: Layer
    blocks: tuple[Block, ...]
    weights: Any
    offset: Any


@dataclasses.dataclass(frozen=True)
class Convnet:
    """A residual network, fitted on the difference images of members and non-members.

    Its columns are the pixels of an image, placed by their names: `secmi` and
    `rediffuse` name them so if they are given `pixels`. Several signals of one size are
    channels of one image. Each channel is standardised by the images that the fit is
    shown.

    How long it learns is a matter of steps, not of epochs: the published heads make
    1,185 (10,000 known images of CIFAR-10 in 79 batches, 15 times). Where few images
    are known, give more epochs and a smaller batch.

    Attributes:
      widths: channels of each stage; from the second on, a stage halves the image.
      blocks: of each stage, of two convolutions each.
      learning_rate, momentum: of stochastic gradient descent.
      decay: of the weights, added to the gradient.
      batch: images of a step, at most; batches of an epoch are equally large.
      epochs: how often each image is shown, but for those that fill no batch. The last
        is taken.
      shape: (h, w, c) of the image where the columns' names do not tell it; the
        columns, sorted by name, are then its pixels in order.
      seed: of the weights and of the order of the images. To the bit, scores are the
        same again on one kind of device.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1
    learning_rate: float = 1e-3
    momentum: float = 0.9
    decay: float = 5e-4
    batch: int = 128
    epochs: int = 15
    shape: tuple[int, int, int] | None = None
    seed: int = 0

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(("split", "shadows"))

    def __post_init__(self) -> None:
        require(len(self.widths) > 0, "widths", "is empty", "give one or more")
        for width in self.widths:
            at_least("widths", width, 1)
        at_least("blocks", self.blocks, 1)
        positive("learning_rate", self.learning_rate)
        within("momentum", self.momentum, 0.0, 0.999)
        at_least("decay", self.decay, 0.0)
        at_least("batch", self.batch, 2)
        at_least("epochs", self.epochs, 1)
        told = f"shape={self.shape}"
        ok = self.shape is None or (len(self.shape) == 3 and min(self.shape) > 0)
        require(ok, told, "is no (height, width, channels)", "give three numbers")

    def quick(self) -> Convnet:
        """A narrow one, for an epoch."""
        return dataclasses.replace(self, widths=(2,), blocks=1, epochs=1)

    def fit(self, known: Evidence) -> Fitted:
        """Train on the known images.

        Raises:
          UserError: too few images of a class, a value that is not finite, or columns
            that are no image.
        """
        rows = shown(known, "convnet")
        grid = self._grid(rows.names)
        standard = _by_channel(rows.values, grid)
        images = jnp.asarray(standard(rows.values)[:, grid], jnp.float32)
        key = jax.random.key(self.seed)
        net, seen = _train(self, images, jnp.asarray(rows.member), key)
        height, width, channels = grid.shape
        about = (
            f"residual network on {height} x {width} pixels of {channels} channels, "
            f"the last of {self.epochs} epochs ({self.steps(len(images))} steps)"
        )
        margin = functools.partial(_judged, self, net, seen, grid)
        return Fitted.on(rows, standard, self, about, margin)

    def batches(self, count: int) -> int:
        """How many an epoch of so many images has."""
        return math.ceil(count / self.batch)

    def steps(self, count: int) -> int:
        """How many are made with so many images."""
        return self.epochs * self.batches(count)

    @property
    def plan(self) -> tuple[tuple[int, int], ...]:
        """Channels and stride of each block."""
        return tuple(
            (width, 2 if stage > 0 and block == 0 else 1)
            for stage, width in enumerate(self.widths)
            for block in range(self.blocks)
        )

    def _grid(self, names: tuple[str, ...]) -> Int[np.ndarray, "h w c"]:
        """The place of each pixel's column among the sorted names."""
        if self.shape is None:
            return pixel_places(names)
        problem = f"is no shape of {len(names)} columns"
        ok = math.prod(self.shape) == len(names)
        require(ok, f"rule 'convnet': shape={self.shape}", problem, "give theirs")
        return np.arange(len(names)).reshape(self.shape)


def _by_channel(
    values: Float[np.ndarray, "n k"], grid: Int[np.ndarray, "h w c"]
) -> Standard:
    """What puts channels on one scale: pixel by pixel, few images would tell little."""
    channels = grid.shape[-1]
    each = Standard.of(values[:, grid].reshape(-1, channels))
    mean, scale = np.empty(grid.size), np.empty(grid.size)
    mean[grid], scale[grid] = np.asarray(each.mean), np.asarray(each.scale)
    return Standard(tuple(mean.tolist()), tuple(scale.tolist()))


def _fresh(rule: Convnet, channels: int, key: Key) -> Net:
    """As torch's layers begin, and an output between the labels."""
    numbers = itertools.count()

    def layer(size: int, inp: int, out: int) -> Layer:
        own = jax.random.fold_in(key, next(numbers))
        kernel = uniform(own, (size, size, inp, out), size * size * inp)
        return Layer(kernel, jnp.ones(out), jnp.zeros(out))

    inp = rule.widths[0]
    stem, blocks = layer(3, channels, inp), []
    for out, stride in rule.plan:
        changed = stride > 1 or inp != out
        first, second = layer(3, inp, out), layer(3, out, out)
        blocks.append(Block(first, second, layer(1, inp, out) if changed else None))
        inp = out
    own = jax.random.fold_in(key, next(numbers))
    return Net(stem, tuple(blocks), uniform(own, (inp,), inp), jnp.float32(_LABELS))


@functools.partial(jax.jit, static_argnums=0)
def _train(
    rule: Convnet,
    images: Float[Array, "n h w c"],
    member: Bool[Array, " n"],
    key: Key,
) -> tuple[Net, tuple[Seen, ...]]:
    """All steps in one program."""
    count, batches = len(images), rule.batches(len(images))
    weights, order = jax.random.split(key)
    begin: Any = _fresh(rule, images.shape[-1], weights)
    label = member.astype(jnp.float32)
    turns = jax.random.split(order, rule.epochs)
    turns = jax.vmap(lambda k: jax.random.permutation(k, count))(turns)
    whole = batches * (count // batches)
    places = turns[:, :whole].reshape(rule.steps(count), count // batches)

    def loss(net: Net, number: Array) -> tuple[Scalar, tuple[Seen, ...]]:
        own = places[number - 1]
        found, seen = _forward(rule, net, images[own])
        return jnp.mean((found - label[own]) ** 2), seen

    optimiser = optax.chain(
        optax.add_decayed_weights(rule.decay),
        optax.sgd(rule.learning_rate, rule.momentum),
    )
    _, seen = jax.eval_shape(lambda: _forward(rule, begin, images[:1]))
    seen = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), seen)
    start = State(begin, seen, optimiser.init(begin))
    end = descended(loss, optimiser, start, rule.steps(count))
    # They began at nothing, which is to have no part in so few steps.
    share = 1 - (1 - MOMENTUM) ** rule.steps(count)
    return end.learned, jax.tree.map(lambda a: a / share, end.seen)


def _forward(
    rule: Convnet,
    net: Net,
    images: Float[Array, "b h w c"],
    known: tuple[Seen, ...] | None = None,
) -> tuple[Float[Array, " b"], tuple[Seen, ...]]:
    """The output, and what the batch norms see, in order.

    Args:
      rule: whose network it is.
      net: what it learned.
      images: standardised.
      known: what the norms go by when it judges; None for the batch itself.
    """
    seen: list[Seen] = []
    # In a loop, backward convolutions take a CPU seventeen times as long as matrices.
    form: Form = "patches" if jax.default_backend() == "cpu" else "direct"

    def layer(x: Array, own: Layer, stride: int = 1) -> Array:
        pad = (len(own.kernel) // 2,) * 2
        x = convolve(x, own.kernel, stride, pad, form)
        if known is None:
            here, running = seen_in(x)
        else:
            here = running = known[len(seen)]
        seen.append(running)
        return normed(x, here, own.scale, own.offset)

    x = jax.nn.relu(layer(images, net.stem))
    for block, (_, stride) in zip(net.blocks, rule.plan, strict=True):
        y = jax.nn.relu(layer(x, block.first, stride))
        y = layer(y, block.second)
        x = x if block.shortcut is None else layer(x, block.shortcut, stride)
        x = jax.nn.relu(x + y)
    return jnp.mean(x, axis=(1, 2)) @ net.weights + net.offset[None], tuple(seen)


@functools.partial(jax.jit, static_argnums=0)
def _scores(
    rule: Convnet, net: Net, seen: tuple[Seen, ...], images: Float[Array, "b h w c"]
) -> Float[Array, " b"]:
    """Outputs of the trained network.

    One image after the other: in a batch, the last bit of a convolution may hang on an
    image's place.
    """
    return jax.lax.map(lambda x: _forward(rule, net, x[None], seen)[0][0], images)


def _judged(
    rule: Convnet,
    net: Net,
    seen: tuple[Seen, ...],
    grid: Int[np.ndarray, "h w c"],
    values: Float[np.ndarray, "n k"],
) -> Float[np.ndarray, " n"]:
    """Scores of standardised columns, in calls of one size."""
    images = values[:, grid].astype(np.float32)
    found = []
    for start in range(0, len(images), _TILE):
        tile = images[start : start + _TILE]
        fill = [(0, _TILE - len(tile)), (0, 0), (0, 0), (0, 0)]
        scores = _scores(rule, net, seen, jnp.asarray(np.pad(tile, fill)))
        found.append(np.asarray(scores)[: len(tile)])
    return np.concatenate(found).astype(np.float64)
