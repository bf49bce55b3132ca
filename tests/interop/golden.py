"""The checkpoints that the published codes wrote, unpacked, and what they computed."""

from __future__ import annotations

import dataclasses
import json
import lzma
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.interop import from_score_sde_config, load_score_sde
from tests.golden.derive_checkpoints import STEPS, TIMES

GOLDEN = Path(__file__).parents[1] / "golden"
TORCH = ("ddpm", "smld", "vpsde", "vesde")
JAX = ("jax_ddpm_smld", "jax_ncsnpp_fourier")


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A file, the specification of its configuration, and the published results."""

    name: str
    path: Path
    config: dict
    spec: dict
    data: dict

    def target(self, **options):
        return load_score_sde(self.path, self.spec, **options)

    def times(self):
        """Where losses were computed, on our clock: SMLD's indices are reversed."""
        if self.name == "ddpm":
            return tuple(float(t) for t in STEPS)
        if self.name == "smld":
            return tuple(999.0 - t for t in STEPS)
        return TIMES


def case(name: str, folder: Path) -> Case:
    """Unpack a checkpoint into the folder."""
    path = folder / name
    if not path.exists():
        packed = (GOLDEN / f"checkpoint_{name}.xz").read_bytes()
        path.write_bytes(lzma.decompress(packed))
    with np.load(GOLDEN / f"checkpoint_{name}.npz") as file:
        data = dict(file)
    config = json.loads(str(data.pop("config")))
    return Case(name, path, config, from_score_sde_config(config), data)


def dealt(signal, function: str):
    """The signal of images [n], with given numbers [n] for those of `jax.random`."""

    def run(target, image, numbers):
        def given(key, shape=(), dtype=jnp.float32):
            return jnp.broadcast_to(numbers, shape).astype(dtype)

        with mock.patch.object(jax.random, function, given):
            return signal(target, image, jax.random.key(0))

    return jax.jit(jax.vmap(run, (None, 0, 0)))
