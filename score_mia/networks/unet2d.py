"""U-Nets as diffusion libraries train them, level by level: diffusers, pytorch-ddpm."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from score_mia.check import require
from score_mia.networks.convolution import Form
from score_mia.networks.layers import Draws
from score_mia.networks.network import Compute, Network, Shape, functional
from score_mia.networks.options import Options
from score_mia.networks.unet import UNet


@dataclasses.dataclass(frozen=True)
class UNet2D:
    """Specification of a U-Net whose levels are described one by one.

    The same network as `ddpm`; the fields that are not below are those of `Options`,
    whose defaults here are those of diffusers' `UNet2DModel`.

    Attributes:
      widths: channels of each level.
      attention: for each level, whether its blocks are followed by self-attention.
    """

    widths: tuple[int, ...] = (224, 448, 672, 896)
    attention: tuple[bool, ...] = (False, True, True, True)
    blocks: int = 2
    dropout: float = 0.0
    classes: int = 0
    nonlinearity: str = "swish"
    groups: int = 32
    centered: bool = True
    convolution: Form = "direct"
    up_attention: str = "block"
    embedding_order: str = "cos_sin"
    freq_shift: int = 0
    pad: tuple[int, int] = (1, 1)
    eps: float = 1e-5
    heads: int = 1
    head_width: int = 0
    halve_blocks: tuple[bool, ...] = ()
    double_blocks: tuple[bool, ...] = ()
    told_as: str = "shift"
    middle: str = "attention"
    middle_groups: int = 0
    embedding_width: int = 0
    learned_variance: bool = False
    compute: Compute = "float32"

    def __post_init__(self) -> None:
        require(len(self.widths) > 0, "widths", "has no level", "give one or more")
        problem = f"has {len(self.attention)} entries for {len(self.widths)} levels"
        ok = len(self.attention) == len(self.widths)
        require(ok, "attention", problem, "give one for each of the widths")
        self.options(0)

    def options(self, height: int) -> Options:
        """The same network as options of the general U-Net, for images this high."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["attention"] = tuple(
            height >> level for level, attends in enumerate(self.attention) if attends
        )
        return Options(
            block="ddpm",
            fir=False,
            skip_rescale=False,
            features=self.widths[0],
            multipliers=(1,) * len(self.widths),
            **fields,
        )

    def module(self, shape: Shape, draws: Draws) -> UNet:
        """A new module for images of this shape."""
        return UNet(self.options(shape[0]), shape, draws)

    def build(self, shape: Iterable[int]) -> Network:
        """The network for images of shape (height, width, channels).

        Raises:
          UserError: levels or groups do not fit the shape.
        """
        return functional(self, shape)
