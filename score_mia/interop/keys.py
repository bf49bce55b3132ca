"""From torch's names and orders to ours: one rule for all networks, few exceptions.

A network whose attributes are named as theirs needs no list of names: the parameter
`down_blocks.0.resnets.1.norm1.scale` is their `down_blocks.0.resnets.1.norm1.weight`.
Convolutions [out, in, h, w] become [h, w, in, out], matrices [out, in] become [in,
out], and a 1x1 convolution that is a matrix here becomes one.

Names and shapes are held against the headers of all files before any number is read;
then one tensor after the other is read, turned and placed, so that the most that is in
memory is the network itself and one tensor of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Shaped

from score_mia.arrays import Params
from score_mia.check import require
from score_mia.interop.safetensors import Lazy

Array = Shaped[np.ndarray, "..."]


class Key(NamedTuple):
    """Where a parameter comes from, where the general rule does not say it.

    Attributes:
      names: of torch; the first that the files have is taken.
      turn: from their array to one of our shape; None for the general rule. It is also
        called with zeros that are views of one number, to learn the shape.
    """

    names: tuple[str, ...]
    turn: Callable[[Array], Array] | None = None


Names = Callable[[str], "str | Key"]
"""From the dotted path of a parameter of ours to where it comes from."""

_KINDS = re.compile(r"(^|\.)(kernel|scale|embedding)$")
_REMEDY = "is the configuration that of these weights?"


def same(path: str) -> str:
    """The general rule: a kernel, a scale and an embedding are torch's `weight`."""
    return _KINDS.sub(r"\1weight", path)


def fill(
    tree: Params,
    tensors: Mapping[str, Any],
    names: Names = same,
    *,
    dtype: Any = np.float32,
    ignore: Sequence[str] = (),
    place: Callable[[Array], Any] = np.asarray,
) -> Params:
    """A tree of parameters (or of their shapes) with torch's numbers.

    Args:
      tree: of the network, or of its shapes.
      tensors: of the files (`safetensors.Tensors`), or arrays in memory.
      names: where each parameter comes from.
      dtype: of the parameters: float32 or `jnp.bfloat16`.
      ignore: regular expressions; a tensor whose whole name one matches is left.
      place: what is done with each array, such as `jnp.asarray`.

    Raises:
      UserError: names are missing or have no place here, a shape is another, or there
        are NaN or infinite weights; each by name.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    wanted = {jax.tree_util.keystr(p, simple=True, separator="."): v for p, v in leaves}
    keys = {path: _key(path, names(path)) for path in wanted}
    taken = {p: next((n for n in k.names if n in tensors), "") for p, k in keys.items()}
    _require_all(wanted, keys, taken)
    _require_no_more(tensors, taken, ignore)
    shapes = tensors.shape if isinstance(tensors, Lazy) else None
    for path, leaf in wanted.items():
        name = taken[path]
        sizes = shapes(name) if shapes else np.shape(tensors[name])
        turned = _turned(np.broadcast_to(np.float32(0), sizes), keys[path], leaf)
        problem = (
            f"has shape {tuple(sizes)} where {leaf.shape} (in our order) is needed"
        )
        require(turned.shape == leaf.shape, f"tensor {name!r}", problem, _REMEDY)
    filled = (
        place(_read(tensors, taken[path], keys[path], leaf, dtype))
        for path, leaf in wanted.items()
    )
    return jax.tree_util.tree_unflatten(structure, list(filled))


def _key(path: str, given: str | Key) -> Key:
    """What the rule gives, with the general turn where it says none."""
    key = Key((given,)) if isinstance(given, str) else given
    kernel = path.rpartition(".")[2] == "kernel"
    return key if key.turn or not kernel else key._replace(turn=kernel_turned)


def _require_all(
    wanted: Iterable[str], keys: Mapping[str, Key], taken: Mapping[str, str]
) -> None:
    lacking = [keys[path].names[0] for path in wanted if not taken[path]]
    require(not lacking, "weights", f"have no {listed(lacking)}", _REMEDY)


def _require_no_more(
    tensors: Iterable[str], taken: Mapping[str, str], ignore: Sequence[str]
) -> None:
    known = set(taken.values())
    left = [
        name
        for name in tensors
        if name not in known and not any(re.fullmatch(p, name) for p in ignore)
    ]
    problem = f"have {listed(left)}, for which the network has no place"
    require(not left, "weights", problem, _REMEDY)


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(map(repr, names[:most]))
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _read(
    tensors: Mapping[str, Any], name: str, key: Key, leaf: Any, dtype: Any
) -> Array:
    """One parameter, contiguous and of the wanted type."""
    array = _turned(tensors[name], key, leaf)
    array = np.ascontiguousarray(array, dtype=dtype).reshape(leaf.shape)
    problem, remedy = "holds NaN or infinite weights", "take another checkpoint"
    for piece in _pieces(array):
        ok = bool(np.isfinite(piece).all())
        require(ok, f"tensor {name!r}", problem, remedy)
    return array


def _pieces(array: Array, size: int = 2**22) -> Iterator[Array]:
    """Views of a few million numbers, whose checks take little memory."""
    flat = array.reshape(-1)
    return (flat[i : i + size] for i in range(0, len(flat), size))


def _turned(array: Array, key: Key, leaf: Any) -> Array:
    """A tensor in our order."""
    turned = array if key.turn is None else key.turn(array)
    # Convolutions of one pixel are matrices here.
    while turned.ndim > leaf.ndim and turned.shape[0] == 1 and key.turn:
        turned = turned[0]
    return turned


def kernel_turned(array: Array) -> Array:
    """[out, in, ...] as [..., in, out]: a convolution or a matrix in our order."""
    return array.transpose(*range(2, array.ndim), 1, 0) if array.ndim > 1 else array
