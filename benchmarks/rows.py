"""What a signal reads of one image, as a function of the target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from score_mia.attacks.protocol import Query, Reading
from score_mia.target import Target
from score_mia.views import view


def row_of(signal: Any) -> Callable[[Target, Any, Any], Reading]:
    """`row(target, image, key)`, without a condition, to be mapped over images."""

    def row(target: Target, image: Any, key: Any) -> Reading:
        return signal(view(target, signal.access), Query(image, {}, key, key))

    return row
