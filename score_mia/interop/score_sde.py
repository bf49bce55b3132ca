"""Checkpoints of score_sde, its torch port, and MIDM (Hu & Pang 2023), to a `Target`.

    target = load_score_sde("checkpoint_10.pth", from_score_sde_config(config))

The file says its kind by its first bytes: `torch.save`'s zip or older format (model and
moving average as in score_sde_pytorch and MIDM), or Flax's msgpack (score_sde). Either
is read as data. What the numbers mean (process, parameterisation, range of the images)
is in no file: it comes from a specification, and is held against the table of noise
levels that the torch files carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.arrays import Params
from score_mia.check import UserError, existing, require
from score_mia.files import sha256
from score_mia.interop.foreign import Foreign
from score_mia.interop.score_sde_config import from_score_sde_config
from score_mia.interop.score_sde_jax import params_from_flax
from score_mia.interop.score_sde_torch import averaged, params_from_state_dict
from score_mia.interop.unpickle import is_pickled, read_torch
from score_mia.networks import DDPMNet, NCSNpp
from score_mia.networks.network import Shape
from score_mia.spec import build, image_shape, parts
from score_mia.target import Target


def read_score_sde(path: str | Path, config: Mapping[str, Any]) -> Foreign:
    """Read a checkpoint's model, moving average and step.

    Args:
      path: the file: "checkpoint_10.pth" or, of the JAX original, "checkpoint_10".
      config: a specification (`spec.parts`; `plan(config).spec(shape)`
        makes one of an experiment), or a configuration of theirs as a mapping
        (`from_score_sde_config`).

    Raises:
      UserError: the file is missing, damaged, names code to be run, is not of this
        kind, holds NaNs, or does not fit the specification.
    """
    path = existing(path, "checkpoint")
    theirs = "model" in config and "training" in config
    spec = from_score_sde_config(config) if theirs else dict(config)
    network, shape = _network(spec), image_shape(spec)
    require(path.is_file(), f"checkpoint {path}", "is a folder", "name the file in it")
    torch = is_pickled(path)
    try:
        read = _torch if torch else _flax
        params, ema, step = read(path, network, spec["sde"], shape)
        for name, tree in (("params", params), ("ema", ema)):
            _require_finite(name, tree)
    except UserError as error:
        before = f"checkpoint {path}: "
        raise UserError(before + str(error).removeprefix(before)) from error
    kind = "score_sde_pytorch" if torch else "score_sde"
    origin = {"file": path.name, "format": kind, "sha256": sha256(path)}
    return Foreign(spec, params, ema, step, origin)


def load_score_sde(
    path: str | Path, config: Mapping[str, Any], *, ema: bool = True
) -> Target:
    """The target of a checkpoint (see `read_score_sde`), with averaged parameters.

    Args:
      ema: False for the parameters of the last step.
    """
    found = read_score_sde(path, config)
    params = jax.tree.map(jnp.asarray, found.ema if ema else found.params)
    return parts(found.spec).target(params)


def _network(spec: Mapping[str, Any]) -> DDPMNet | NCSNpp:
    """The network that a specification names: one whose layers theirs have too."""
    network = build(spec).networks
    ok = isinstance(network, DDPMNet | NCSNpp)
    problem = "is none of score_sde's"
    remedy = "its checkpoints are of 'ddpm' or 'ncsnpp'"
    require(ok, f"network {spec['network']['name']!r}", problem, remedy)
    return network


def _torch(
    path: Path, network: DDPMNet | NCSNpp, sde: Mapping[str, Any], shape: Shape
) -> tuple[Params, Params, int]:
    found = read_torch(path, ("model", "ema", "step"))
    model, ema = _entry(found, "model", dict), _entry(found, "ema", dict)
    averages = _entry(ema, "shadow_params", list)
    for name, array in (*model.items(), *enumerate(averages)):
        ok = isinstance(array, np.ndarray)
        remedy = "give a checkpoint of score_sde_pytorch"
        require(ok, f"entry {name!r}", "is no tensor", remedy)
    _check_levels(sde, model.get("module.sigmas", model.get("sigmas")))
    params = params_from_state_dict(network, model, shape)
    average = params_from_state_dict(network, averaged(model, averages), shape)
    return params, average, _step(found)


def _flax(
    path: Path, network: DDPMNet | NCSNpp, _: Mapping[str, Any], shape: Shape
) -> tuple[Params, Params, int]:
    from flax.serialization import msgpack_restore

    try:
        found: Any = msgpack_restore(path.read_bytes())
    except Exception as error:  # bytes from anywhere: whatever they make it raise
        reason = " ".join(f"{type(error).__name__} {error}".split())[:200]
        problem = f"it is damaged, or neither torch's nor Flax's ({reason})"
        raise UserError(f"{problem}; copy the file again from where it came") from error
    require(isinstance(found, dict), "what it holds", "is no dict", _OF_JAX)
    optimiser = _entry(found, "optimizer", dict)
    params = params_from_flax(network, _entry(optimiser, "target", dict), shape)
    average = params_from_flax(network, _entry(found, "params_ema", dict), shape)
    return params, average, _step(found)


_OF_JAX = "give a checkpoint of score_sde"


def _entry(found: Mapping[str, Any], name: str, kind: type) -> Any:
    """An entry that has to be there."""
    value = found.get(name)
    if not isinstance(value, kind):
        raise UserError(
            f"it has no entry {name!r} (a {kind.__name__}) among "
            f"{sorted(map(str, found))[:8]}; give what score_sde saves while training: "
            "model, moving average and step"
        )
    return value


def _step(found: Mapping[str, Any]) -> int:
    try:
        return int(found["step"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            "it has no entry 'step' (a number); give what score_sde saves while "
            "training: model, moving average and step"
        ) from error


def _check_levels(sde: Mapping[str, Any], table: np.ndarray | None) -> None:
    """Noise levels of a variance-exploding process against the file's table.

    The published attack on SMLD shows what happens otherwise: it takes 50 ... 0.001
    where the network was trained on 90 ... 0.01 (docs/interop.md).
    """
    if table is None or not {"sigma_min", "sigma_max"} <= sde.keys():
        return
    ends = (sde["sigma_max"], sde["sigma_min"])
    require(
        table.ndim == 1 and len(table) > 1 and np.allclose(table[[0, -1]], ends, 1e-4),
        f"its noise levels {table.ravel()[:1]} ... {table.ravel()[-1:]}",
        f"are not the specification's {ends[0]} ... {ends[1]}",
        "set sigma_min and sigma_max to those it was trained with",
    )


def _require_finite(name: str, tree: Params) -> None:
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        require(
            bool(np.isfinite(leaf).all()),
            f"{name} {jax.tree_util.keystr(path, simple=True, separator='/')}",
            "holds NaN or infinite weights",
            "its training diverged: take an earlier checkpoint",
        )
