"""Where the arrays of a training run are: on devices of one process or of several.

Either every device holds the whole state, or (`TrainConfig.fsdp`) each large array is
dealt out along its longest axis that the number of devices divides, and every device
has its share of it, of its average and of its moments. A step then gathers parameters
where they are used, and each device updates its share. What is written to disk is the
same in both cases, so that a run may go on in the other one.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from score_mia import device
from score_mia.arrays import Params
from score_mia.train.step import Layout, State

SMALL = 2**12
"""Arrays of fewer numbers are whole on every device."""


@dataclasses.dataclass(frozen=True, eq=False)
class Spread:
    """A mesh of devices, and how a state lies on it.

    Attributes:
      mesh: with the axis "data"; of one process or of all that work together.
      dealt: whether large arrays are dealt out.
    """

    mesh: Mesh
    dealt: bool = False

    @property
    def plain(self) -> bool:
        """Whether each device has everything, and all are of this process."""
        return not self.dealt and self.sharding().is_fully_addressable

    def sharding(self, *axes: str | None) -> NamedSharding:
        """Whole on each device, or an axis spread over them."""
        return NamedSharding(self.mesh, PartitionSpec(*axes))

    def put(self, tree: Any, *axes: str | None) -> Any:
        """Arrays that every process has, on the devices."""
        sharding = self.sharding(*axes)
        if sharding.is_fully_addressable:
            return jax.device_put(tree, sharding)
        return jax.tree.map(lambda a: _put(a, sharding), tree)

    def held(self, tree: Any) -> Any:
        """The sharding of each array of a state, from the arrays or their shapes."""
        return jax.tree.map(lambda a: self.sharding(*self._axes(a.shape)), tree)

    def place(self, tree: Any) -> Any:
        """A part of a state that every process has, on the devices."""
        if self.plain:
            return jax.device_put(tree, self.sharding())
        return jax.tree.map(_put, tree, self.held(tree))

    def gather(self, tree: Any) -> Any:
        """In a program: whole on every device."""
        if not self.dealt:
            return tree
        return jax.lax.with_sharding_constraint(tree, self.sharding())

    def settle(self, tree: Any) -> Any:
        """In a program: as the state is held."""
        if not self.dealt:
            return tree
        return jax.lax.with_sharding_constraint(tree, self.held(tree))

    def fetch(self, array: Any) -> np.ndarray:
        """The whole array on the host; every process has to ask for it."""
        if not (array.is_fully_addressable or array.is_fully_replicated):
            array = device.jit(lambda a: a, out_shardings=self.sharding())(array)
        return np.asarray(array)

    def _axes(self, shape: tuple[int, ...]) -> tuple[str | None, ...]:
        if not self.dealt or math.prod(shape) < SMALL:
            return ()
        fits = [i for i, n in enumerate(shape) if n % self.mesh.size == 0]
        if not fits:
            return ()
        longest = max(fits, key=lambda i: shape[i])
        return (*[None] * longest, "data")


class Dealt(Layout):
    """A tree that stays one, since its arrays are dealt out one by one.

    Args:
      like: the tree, of arrays or of shapes.
      spread: where they are.
    """

    def __init__(self, like: Params, spread: Spread) -> None:
        super().__init__(like)
        self._spread = spread

    @property
    def abstract(self) -> Any:
        """Shapes of the tree."""
        leaves = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in self.shapes]
        return jax.tree.unflatten(self.treedef, leaves)

    def ravel(self, tree: Params) -> Params:
        """The tree, as the state holds it."""
        return self._spread.settle(tree)

    def unravel(self, vector: Params) -> Params:
        """The tree, whole where it is used."""
        return self._spread.gather(vector)

    def settle(self, tree: Params) -> Params:
        """A gradient as the state holds parameters: each device keeps its share."""
        return self._spread.settle(tree)


def layout(like: Params, spread: Spread) -> Layout:
    """How trained parameters lie in the state."""
    return Dealt(like, spread) if spread.dealt else Layout(like)


def written(spread: Spread, layout: Layout, like: State, state: State) -> State:
    """A state on the host as it is written: raveled, without what is not trained.

    Every process has to ask for it.

    Args:
      spread: where the state is.
      layout: of its parameters.
      like: shapes of what is written.
      state: the state.
    """

    def vector(expected: Any, held: Any) -> np.ndarray:
        if expected.shape != (layout.size,):
            return spread.fetch(held)
        leaves = [spread.fetch(leaf).ravel() for leaf in jax.tree.leaves(held)]
        return leaves[0] if len(leaves) == 1 else np.concatenate(leaves)

    bare = dataclasses.replace(state, frozen={})
    return jax.tree.map(vector, like, bare)


def restored(spread: Spread, layout: Layout, like: State, state: State) -> State:
    """The inverse of `written`: a state that was read, on the devices."""

    def held(expected: Any, array: np.ndarray) -> Any:
        dealt = spread.dealt and expected.shape == (layout.size,)
        return layout.cut(array) if dealt else array

    return spread.place(jax.tree.map(held, like, state))


def _put(array: Any, sharding: NamedSharding) -> Any:
    """An array that every process has, over the devices of all, without a message."""
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        data = _put(jax.random.key_data(array), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(array))
    known = np.asarray(array)
    return jax.make_array_from_callback(known.shape, sharding, lambda i: known[i])
