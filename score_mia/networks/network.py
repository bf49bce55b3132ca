"""What a network specification builds: two pure functions on a nested dict of arrays.

Flax NNX modules say how a network is made; no module lives on. `functional` makes the
module once in the abstract (no arrays), and `apply` merges the parameters into it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

from score_mia.arrays import Key, Params
from score_mia.check import UserError, require
from score_mia.networks.convolution import Form
from score_mia.networks.layers import Draws

Apply = Callable[..., Float[Array, "b h w c"]]
"""`apply(params, x [b,h,w,c], label [b], condition=None, *, dropout_key=None)`.

A network that draws nothing may leave `dropout_key` out.
"""

Shape = tuple[int, int, int]
"""Height, width, channels of one image."""

Compute = Literal["float32", "bfloat16"]
"""In what a network multiplies, whatever its parameters are stored in.

In bfloat16 its label, means and variances, softmaxes and last layer stay in float32, as
do what it is given and what it gives: only what lies between is rounded.
"""
COMPUTES: tuple[str, ...] = get_args(Compute)


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of one image shape.

    Attributes:
      init: from a key to fresh parameters, a nested dict of float32 arrays.
      apply: `apply(params, x [b,h,w,c], label [b], condition=None, *,
        dropout_key=None) -> [b,h,w,c]`. Hashable, and equal for equal
        specifications, so that programs compiled for one serve the other. Without
        `dropout_key` nothing is random; training gives one to a network that takes it.
    """

    init: Callable[[Key], Params]
    apply: Apply


@runtime_checkable
class Embedding(Protocol):
    """A network that makes something of a condition before it looks at x.

    A text encoder, say: its parameters are among the network's, and it is part of the
    traced program. It is a `Network` besides.
    """

    def embed(self, params: Params, condition: Any) -> Any:
        """What `apply` is given for conditions [b, ...]; a pure, hashable function."""
        ...


@runtime_checkable
class Spec(Protocol):
    """A frozen dataclass of plain fields that makes its module."""

    def module(self, shape: Shape, draws: Draws) -> Any:
        """A new NNX module, called as `module(x, label, condition, dropout_key)`."""
        ...


@runtime_checkable
class Computing(Protocol):
    """A specification that can be told in what to multiply."""

    compute: Compute


def computing(apply: Apply, compute: Compute) -> Apply:
    """The same network, of the same parameters, that multiplies in another type.

    Raises:
      UserError: it was not built by `functional`, or its specification has no field
        `compute`.
    """
    spec = spec_of(apply)
    if not (isinstance(apply, _Apply) and isinstance(spec, Computing)):
        raise UserError(
            f"the network cannot compute in {compute}: its specification has no field "
            "`compute`; read it in float32, or give it one"
        )
    changed: Any = dataclasses.replace(apply.spec, compute=compute)
    return dataclasses.replace(apply, spec=changed)


@runtime_checkable
class Convolving(Protocol):
    """A specification that can be told in what form to convolve."""

    convolution: Form


def unfolded(apply: Apply) -> Apply:
    """The network as gradients of its parameters for single images want it.

    On CPU, that is with convolutions as products of unfolded images: an ordinary one's
    gradient for each of several images is a grouped convolution, and in a loop over
    times slow besides. The same function of the same parameters; five times faster
    (docs/performance.md). On accelerators, and where a specification knows no forms,
    the network as it is.
    """
    spec = spec_of(apply)
    ours = isinstance(apply, _Apply) and isinstance(spec, Convolving)
    if jax.default_backend() != "cpu" or not ours:
        return apply
    changed: Any = dataclasses.replace(apply.spec, convolution="patches")
    return dataclasses.replace(apply, spec=changed)


def with_dropout(apply: Apply, key: Key) -> Apply:
    """The network with its dropout on, if it takes a key for it."""
    arguments = inspect.signature(apply).parameters.values()
    takes = any(a.name == "dropout_key" or a.kind is a.VAR_KEYWORD for a in arguments)
    return functools.partial(apply, dropout_key=key) if takes else apply


def functional(spec: Spec, shape: Iterable[int]) -> Network:
    """The network of a specification for images of shape (height, width, channels).

    Raises:
      UserError: the shape is no triple of positive ints, or the module refuses it.
    """
    sizes = tuple(int(n) for n in shape)
    ok = len(sizes) == 3 and min(sizes) > 0
    remedy = "give three positive whole numbers"
    require(ok, f"image shape {sizes}", "is no (height, width, channels)", remedy)
    height, width, channels = sizes
    hwc = (height, width, channels)
    abstract(spec, hwc)
    return Network(_Init(spec, hwc), _Apply(spec, hwc))


@dataclasses.dataclass(frozen=True)
class Telling(Network):
    """A network that makes something of a condition first; see `Embedding`.

    Attributes:
      embed: `embed(params, condition [b, ...]) -> [b, ...]`, hashable like `apply`.
    """

    embed: Callable[[Params, Any], Any]


def telling(spec: Spec, shape: Iterable[int]) -> Telling:
    """`functional` for a module with a method `embed(condition)`."""
    network = functional(spec, shape)
    height, width, channels = (int(n) for n in shape)
    embed = _Embed(spec, (height, width, channels))
    return Telling(network.init, network.apply, embed)


@dataclasses.dataclass(frozen=True)
class _Embed:
    spec: Any
    shape: Shape

    def __call__(self, params: Params, condition: Any) -> Any:
        return merged(self.spec, self.shape, params).embed(condition)


@dataclasses.dataclass(frozen=True)
class _Init:
    spec: Any
    shape: Shape

    def __call__(self, key: Key) -> Params:
        if not jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key):
            key = jax.random.wrap_key_data(key)
        return fresh(self.spec, self.shape, key)


@functools.partial(jax.jit, static_argnums=(0, 1))
def fresh(spec: Any, shape: Shape, key: Key) -> Params:
    """Fresh parameters of a specification, in one compiled program."""
    counter = Draws()
    nnx.eval_shape(lambda: spec.module(shape, counter))
    numbers = jax.random.uniform(key, (counter.used,), minval=-1.0, maxval=1.0)
    return parameters(spec.module(shape, Draws(numbers)))


@dataclasses.dataclass(frozen=True)
class _Apply:
    spec: Any
    shape: Shape

    def __call__(
        self,
        params: Params,
        x: Float[Array, "b h w c"],
        label: Float[Array, " b"] | Int[Array, " b"],
        condition: Any = None,
        *,
        dropout_key: Key | None = None,
    ) -> Float[Array, "b h w c"]:
        ok = x.shape[1:] == self.shape
        problem = f"do not fit the network's {self.shape}"
        remedy = "resize them, or build the network for their shape"
        require(ok, f"images of shape {x.shape[1:]}", problem, remedy)
        module = merged(self.spec, self.shape, params)
        return module(x, label.astype(x.dtype), condition, dropout_key)


def spec_of(apply: Apply) -> Spec | None:
    """The specification of a network that `functional` built; None of any other."""
    return apply.spec if isinstance(apply, _Apply) else None


def abstract(spec: Spec, shape: Shape) -> Any:
    """A new module whose parameters are shapes only; costs no memory."""
    return nnx.eval_shape(lambda: spec.module(shape, Draws()))


def merged(spec: Spec, shape: Shape, params: Params) -> Any:
    """A module that holds these parameters.

    Raises:
      UserError: the parameters are of another specification or shape.
    """
    graph, structure = _graph(spec, shape)
    ok = jax.tree.structure(params) == structure
    remedy = "use the specification that they were made with"
    require(ok, "network parameters", "are not those of this network", remedy)
    return nnx.merge(graph, _renamed(params, _int_if_digits))


def parameters(module: Any) -> Params:
    """The module's parameters as a nested dict whose keys are all strings."""
    return _renamed(nnx.to_pure_dict(nnx.state(module)), str)


@functools.lru_cache(maxsize=64)
def _graph(spec: Spec, shape: Shape) -> tuple[Any, Any]:
    module = abstract(spec, shape)
    return nnx.split(module)[0], jax.tree.structure(parameters(module))


def _int_if_digits(name: str) -> str | int:
    return int(name) if name.isdigit() else name


def _renamed(tree: Any, rename: Callable[[Any], Any]) -> Any:
    if not isinstance(tree, dict):
        return tree
    return {rename(name): _renamed(leaf, rename) for name, leaf in tree.items()}


def take_condition(condition: Any, classes: int) -> None:
    """Require class labels exactly where the network has classes."""
    if classes and condition is None:
        raise UserError(
            f"a network of {classes} classes got no class labels; give condition [b]"
        )
    if not classes and condition is not None:
        raise UserError("the network has no classes; set classes or give no condition")
