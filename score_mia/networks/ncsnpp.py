"""NCSN++ and DDPM++ (Song et al. 2021, 2011.13456, App. H)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from score_mia.networks.layers import Draws
from score_mia.networks.network import Network, Shape, functional
from score_mia.networks.options import Options
from score_mia.networks.unet import UNet


@dataclasses.dataclass(frozen=True)
class NCSNpp(Options):
    """Specification of an NCSN++; the fields are those of `Options`."""

    def module(self, shape: Shape, draws: Draws) -> UNet:
        """A new module for images of this shape."""
        return UNet(self, shape, draws)

    def build(self, shape: Iterable[int]) -> Network:
        """The network for images of shape (height, width, channels).

        Raises:
          UserError: levels, attention or groups do not fit the shape.
        """
        return functional(self, shape)
