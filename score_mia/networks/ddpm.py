"""The U-Net of DDPM (Ho et al. 2020, 2006.11239, App. B)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from score_mia.networks.convolution import Form
from score_mia.networks.layers import Draws
from score_mia.networks.network import Compute, Network, Shape, functional
from score_mia.networks.options import Options
from score_mia.networks.unet import UNet


@dataclasses.dataclass(frozen=True)
class DDPMNet:
    """Specification of DDPM's network; `Options` says what each field means.

    `features` times each multiplier must be a multiple of `groups`, the number of
    groups of every normalisation (32 in the paper).
    """

    features: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 2
    attention: tuple[int, ...] = (16,)
    dropout: float = 0.1
    resample_with_conv: bool = True
    conditional: bool = True
    classes: int = 0
    scale_by_sigma: bool = False
    sigma_min: float = 0.01
    sigma_max: float = 50.0
    sigma_steps: int = 1000
    nonlinearity: str = "swish"
    groups: int = 32
    centered: bool = True
    convolution: Form = "direct"
    up_attention: str = "level"
    embedding_order: str = "sin_cos"
    freq_shift: int = 1
    pad: tuple[int, int] = (0, 1)
    eps: float = 1e-6
    compute: Compute = "float32"

    def __post_init__(self) -> None:
        self.options()

    def options(self) -> Options:
        """The same network as options of the general U-Net."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Options(block="ddpm", fir=False, skip_rescale=False, **fields)

    def module(self, shape: Shape, draws: Draws) -> UNet:
        """A new module for images of this shape."""
        return UNet(self.options(), shape, draws)

    def build(self, shape: Iterable[int]) -> Network:
        """The network for images of shape (height, width, channels).

        Raises:
          UserError: levels, attention or groups do not fit the shape.
        """
        return functional(self, shape)
