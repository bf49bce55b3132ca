"""What a reader of other codes' files hands over."""

from __future__ import annotations

from typing import Any, NamedTuple

from score_mia.arrays import Params


class Foreign(NamedTuple):
    """A model of other code in our terms: what `checkpoint.save_target` is given.

    Attributes:
      spec: network, sde, parameterisation, codec, shape (`spec.parts`).
      params: the weights of the last step, NumPy arrays; with a learned codec
        {"network", "codec"}.
      ema: their moving average, which samples and attacks use; the same tree where the
        files hold one set only.
      step: training steps that the file says were made.
      origin: where it came from: "file", "format", "sha256".
    """

    spec: dict[str, Any]
    params: Params
    ema: Params
    step: int
    origin: dict[str, str]
