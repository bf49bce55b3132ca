"""Images that are made as they are asked for, and a model that nobody trained.

As many as one likes, without a file: what a run then takes is its own.
"""

import dataclasses
import functools

import jax
import numpy as np

from score_mia.arrays import hashed
from score_mia.data.source import Source
from score_mia.files import digest
from score_mia.interop import Foreign
from score_mia.spec import FAMILIES, build

SIDE = 8


@dataclasses.dataclass(frozen=True)
class Made:
    """A source of noise: grey images, each a function of its id.

    Attributes:
      count: how many.
    """

    count: int

    @property
    def shape(self):
        """(h, w, c) of every image."""
        return (SIDE, SIDE, 1)

    @functools.cached_property
    def ids(self):
        """[N] int64, ascending."""
        return np.arange(self.count, dtype=np.int64)

    @property
    def digest(self):
        """Of how many there are, which decides them."""
        return digest(f"made {self.count}")

    def images(self, ids):
        """float32 in [0, 1], [n, h, w, c]."""
        place = np.asarray(ids)[:, None] * SIDE**2 + np.arange(SIDE**2)
        values = (hashed(place, 7) >> np.uint64(40)).astype(np.float32) / 2**24
        return values.reshape(-1, *self.shape)

    def columns(self, ids, names):
        """The images; there is nothing else."""
        return {"image": self.images(ids)} if "image" in names else {}


def made(count: int) -> Source:
    """The source of a config: `dict(name="stream:made", count=...)`."""
    return Made(count)


def untrained(spec):
    """The target of a config: the network's initial parameters."""
    model = build({name: spec[name] for name in FAMILIES if name in spec})
    params = model.at((SIDE, SIDE, 1)).network.init(jax.random.key(0))
    origin = {"file": "none", "format": "made", "sha256": "none"}
    return Foreign(spec, params, params, 0, origin)
