"""The options of the U-Net, and what they require of an image."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.check import at_least, one_of, positive, require, within
from score_mia.networks.convolution import FORMS, Form
from score_mia.networks.layers import ACTIVATIONS
from score_mia.networks.network import COMPUTES, Compute, Shape


@dataclasses.dataclass(frozen=True)
class Options:
    """Every option of the U-Net.

    Attributes:
      features: channels at full resolution.
      multipliers: channels of each level as multiples of `features`; each further
        level halves the resolution.
      blocks: residual blocks a level (one more on the way up).
      attention: heights of the levels whose blocks are followed by self-attention
        (the lowest point always has it).
      dropout: rate inside the blocks, where a dropout key is given.
      block: "biggan" (resampling inside the blocks) or "ddpm".
      resample_with_conv: resampling layers hold a convolution ("ddpm" blocks).
      fir, fir_kernel: smooth by this FIR filter when resampling.
      skip_rescale: divide residual sums by sqrt(2).
      progressive: "none", "output_skip" or "residual" growing of the output.
      progressive_input: "none", "input_skip" or "residual" feeding of the input.
      progressive_combine: "sum" or "cat" joining of the fed input.
      embedding: "positional" (the label itself) or "fourier" (its logarithm).
      fourier_scale: standard deviation of the Fourier frequencies.
      conditional: the network is told its label at all.
      classes: number of classes it is told of; 0 for none.
      vector: length of a vector that it is told instead, such as that of a text; 0 for
        none.
      scale_by_sigma: divide the output by the noise level, which is the label itself
        for "fourier" and `sigma(label)` for "positional".
      sigma_min, sigma_max, sigma_steps: the descending geometric table of `sigma`.
      nonlinearity: "swish", "elu", "relu" or "lrelu".
      init_scale: variance scale of the last layer of each block; 0 for nearly none.
      groups: of the group normalisations; 0 for min(channels / 4, 32).
      centered: x comes in [-1, 1]; if False, it comes in [0, 1] and is centred here.
      convolution: form of the 3x3 convolutions (`score_mia.networks.convolution`).
      up_attention: on the way up, self-attention after each "block", or once a "level".
      embedding_order: of the positional embedding, "sin_cos" or "cos_sin".
      freq_shift: its rates fall to 1/10,000 at the last one (1) or one after that (0).
      pad: zeros before and after each axis where a 3x3 convolution halves it.
      eps: of the group normalisations.
      heads: of each self-attention.
      head_width: channels of a head, whose number then follows; 0 to give `heads`.
      widths: channels of each level, in place of `features` and `multipliers`.
      halve_blocks, double_blocks: for each level (from the finest on), whether "ddpm"
        blocks halve (double) its resolution instead of a convolution; () for none.
      told_as: a block is told by a "shift" before its second normalisation, or by a
        "scale_shift" after it.
      middle: at the lowest point, blocks with "attention", "plain" ones, or "none".
      middle_groups: of the normalisation there; 0 as everywhere, -1 for none.
      embedding_width: of what the blocks are told; 0 for 4 * features.
      learned_variance: twice the output's channels, of which the first half is taken.
      compute: in what it multiplies, "float32" or "bfloat16"; see `network.Compute`.
    """

    features: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 4
    attention: tuple[int, ...] = (16,)
    dropout: float = 0.1
    block: str = "biggan"
    resample_with_conv: bool = True
    fir: bool = True
    fir_kernel: tuple[float, ...] = (1.0, 3.0, 3.0, 1.0)
    skip_rescale: bool = True
    progressive: str = "none"
    progressive_input: str = "none"
    progressive_combine: str = "sum"
    embedding: str = "positional"
    fourier_scale: float = 16.0
    conditional: bool = True
    classes: int = 0
    vector: int = 0
    scale_by_sigma: bool = False
    sigma_min: float = 0.01
    sigma_max: float = 50.0
    sigma_steps: int = 1000
    nonlinearity: str = "swish"
    init_scale: float = 0.0
    groups: int = 0
    centered: bool = True
    convolution: Form = "direct"
    up_attention: str = "level"
    embedding_order: str = "sin_cos"
    freq_shift: int = 1
    pad: tuple[int, int] = (0, 1)
    eps: float = 1e-6
    heads: int = 1
    head_width: int = 0
    widths: tuple[int, ...] = ()
    halve_blocks: tuple[bool, ...] = ()
    double_blocks: tuple[bool, ...] = ()
    told_as: str = "shift"
    middle: str = "attention"
    middle_groups: int = 0
    embedding_width: int = 0
    learned_variance: bool = False
    compute: Compute = "float32"

    def __post_init__(self) -> None:
        at_least("features", self.features, 4)
        at_least("blocks", self.blocks, 1)
        at_least("classes", self.classes, 0)
        at_least("vector", self.vector, 0)
        both = self.classes > 0 and self.vector > 0
        remedy = "give one of them"
        require(not both, "classes and vector", "are both given", remedy)
        at_least("sigma_steps", self.sigma_steps, 2)
        within("dropout", self.dropout, 0.0, 0.99)
        ok = len(self.multipliers) > 0 and min(self.multipliers) > 0
        problem = "are no positive whole numbers"
        remedy = "give one for each level, such as (1, 2, 2)"
        require(ok, f"multipliers={self.multipliers}", problem, remedy)
        require(
            0 < self.sigma_min < self.sigma_max,
            f"sigma_min={self.sigma_min!r}, sigma_max={self.sigma_max!r}",
            "are no ascending positive pair",
            "give 0 < sigma_min < sigma_max",
        )
        ok = not self.fir or (len(self.fir_kernel) > 1 and sum(self.fir_kernel) > 0)
        remedy = "give two taps or more with a positive sum, such as (1, 3, 3, 1)"
        require(ok, f"fir_kernel={self.fir_kernel}", "is no filter", remedy)
        for name, known in _CHOICES.items():
            one_of(name, getattr(self, name), known)
        self._check_levels()
        ok = not self.learned_variance or self.progressive == "none"
        problem = "goes with an output that grows in one piece only"
        require(ok, "learned_variance", problem, "set progressive='none'")

    def _check_levels(self) -> None:
        """Further options, of each level or of all."""
        for name, low in (("heads", 1), ("head_width", 0), ("middle_groups", -1)):
            at_least(name, getattr(self, name), low)
        within("freq_shift", self.freq_shift, 0, 1)
        positive("eps", self.eps)
        ok = sorted(self.pad) in ([0, 1], [1, 1])
        problem = "does not halve an even number of pixels"
        require(ok, f"pad={self.pad}", problem, "give (0, 1) or (1, 1)")
        for name in ("widths", "halve_blocks", "double_blocks"):
            given = getattr(self, name)
            ok = len(given) in (0, len(self.multipliers))
            problem = f"has {len(given)} entries for {len(self.multipliers)} levels"
            require(ok, name, problem, "give one for each multiplier, or ()")

    @property
    def taps(self) -> tuple[float, ...]:
        """The FIR filter in use, () for none."""
        return self.fir_kernel if self.fir else ()

    @property
    def level_widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return self.widths or tuple(self.features * m for m in self.multipliers)

    @property
    def width_told(self) -> int:
        """Width of what the blocks are told."""
        return self.embedding_width or 4 * self.features

    def heads_of(self, channels: int) -> tuple[int, int]:
        """Number and width of the heads of a self-attention on so many channels."""
        if not self.head_width:
            ok = channels % self.heads == 0
            what, problem = f"heads={self.heads}", f"do not divide {channels} channels"
            require(ok, what, problem, "give a divisor")
            return self.heads, channels // self.heads
        what, problem = f"head_width={self.head_width}", f"is above {channels} channels"
        require(channels >= self.head_width, what, problem, "give a smaller one")
        return channels // self.head_width, self.head_width

    @property
    def told(self) -> bool:
        """Whether the blocks get an embedding."""
        return self.conditional or self.classes > 0 or self.vector > 0

    def norm_groups(self, channels: int) -> int:
        """Groups of a normalisation of so many channels."""
        return self.groups or max(min(channels // 4, 32), 1)

    def sigma(self, label: Float[Array, " b"]) -> Float[Array, " b"]:
        """Noise level of a label: geometric from sigma_max at 0 to sigma_min.

        At whole labels the table of `sigma_steps` levels; smooth in between.
        """
        fall = np.log(self.sigma_min / self.sigma_max) / (self.sigma_steps - 1)
        return self.sigma_max * jnp.exp(float(fall) * label)


_CHOICES = {
    "block": ("biggan", "ddpm"),
    "progressive": ("none", "output_skip", "residual"),
    "progressive_input": ("none", "input_skip", "residual"),
    "progressive_combine": ("sum", "cat"),
    "embedding": ("positional", "fourier"),
    "nonlinearity": tuple(ACTIVATIONS),
    "convolution": FORMS,
    "up_attention": ("level", "block"),
    "embedding_order": ("sin_cos", "cos_sin"),
    "told_as": ("shift", "scale_shift"),
    "middle": ("attention", "plain", "none"),
    "compute": COMPUTES,
}


def check_shape(o: Options, shape: Shape) -> None:
    """Require an image shape that the options' levels and attention fit."""
    height, width, _ = shape
    factor = 2 ** (len(o.multipliers) - 1)
    require(
        height % factor == 0 and width % factor == 0,
        f"image size {height}x{width}",
        f"is not divisible by {factor}, as {len(o.multipliers)} levels need",
        "resize the images or give fewer multipliers",
    )
    levels = [height >> level for level in range(len(o.multipliers))]
    for resolution in o.attention:
        problem = f"names no level; their heights are {levels}"
        remedy = "choose among these, or () for none"
        require(resolution in levels, f"attention at {resolution}", problem, remedy)
