"""Row tasks of a few lines."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from score_mia.rows import Words, tiled

WAVES = Words("waves", "waves", "choose another folder")
NORMALS = Words("normals", "normals")


@dataclasses.dataclass(frozen=True)
class Waves:
    """Two sines of each id, by NumPy."""

    seed: int = 3
    words: Words = WAVES
    device: str = "1 x toy"

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"task": self.words.label, "seed": self.seed}

    def __call__(self, ids, advance) -> dict[str, np.ndarray]:
        advance(len(ids), speed="1/s")
        values = np.sin(np.stack([ids, self.seed * ids], axis=1)).astype(np.float32)
        return {"values": values, "odd": ids % 2 == 1}


@dataclasses.dataclass(frozen=True)
class Normals(Waves):
    """Random numbers of each id, by a compiled program on tiles of four."""

    words: Words = NORMALS

    def __call__(self, ids, advance) -> dict[str, np.ndarray]:
        program = _normals(self.seed)
        values = tiled(
            lambda block: program(block.astype(np.uint32)),
            ids,
            4,
            lambda values: advance(len(values)),
        )
        return {"values": values, "odd": values[:, 0] > 0}


@functools.cache
def _normals(seed: int):
    import jax  # not where waves are enough

    def row(id_):
        key = jax.random.fold_in(jax.random.key(seed), id_)
        return jax.numpy.tanh(jax.random.normal(key, (3,))).cumsum()

    return jax.jit(jax.vmap(row))
