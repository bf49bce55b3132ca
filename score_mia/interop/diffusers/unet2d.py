"""`UNet2DModel`: the unconditional and class-conditional U-Nets of diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from score_mia.check import require
from score_mia.networks.network import Shape


def shape(config: Mapping[str, Any]) -> Shape:
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
