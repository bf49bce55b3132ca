"""Self-describing directories: a trained target, and the state of its training.

    target.json             spec (network, sde, parameterisation, codec, shape),
                            provenance, the digests of the two sets of parameters,
                            and a seal over all of it (`files.save_sealed`)
    ema-DIGEST/             parameters averaged over training, written by orbax
    params-DIGEST/          parameters of the last step
    state/step-00001000/    everything that training needs to go on, with
    state/step-00001000.json    its digest and record: written last, so it says "whole"

The arrays are written under a name that holds their digest, then `target.json` is
renamed into place: a process killed in between leaves the previous target. Reading
takes numbers from a folder and never runs code that it names, unless the caller does.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from score_mia.arrays import Params
from score_mia.check import Unreachable, UserError, one_of, refusing, require
from score_mia.codecs import Bound
from score_mia.files import (
    SEAL,
    Facts,
    digest,
    json_digest,
    load_json,
    load_sealed,
    require_shape,
    save_sealed,
)
from score_mia.spec import Parts, parts
from score_mia.storage import locate, remove_tree
from score_mia.target import Target
from score_mia.trees import has_tree, leaf_name, load_tree, save_tree

KEPT_STATES = 2
_USES = ("ema", "params")


class TrainingState(NamedTuple):
    """A restored training state: its step, its arrays (NumPy), and its record."""

    step: int
    tree: Any
    record: dict[str, Any]


# --- digests -----------------------------------------------------------------------


def target_digest(target: Target, params: str | None = None) -> str:
    """What a record of signals says it was read off: parameters and meaning.

    Args:
      target: the target; without parameters if their digest is given.
      params: digest of its `tree`, as its `target.json` has it.
    """
    meaning = repr((target.sde, target.parameterisation, target.codec))
    apart = jax.tree.leaves(target.codec) and not isinstance(target.codec, Bound)
    learned = (tree_digest(target.codec),) if apart else ()
    return digest(params or tree_digest(target.tree), meaning, *learned)


def tree_digest(tree: Any) -> str:
    """Digest of every array of a tree with its path, dtype and shape."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    pairs = ((jax.tree_util.keystr(path), np.asarray(leaf)) for path, leaf in leaves)
    return digest(*itertools.chain.from_iterable(pairs))


# --- a target's folder -------------------------------------------------------------


def save_target(
    folder: str | Path, spec: Facts, params: Params, ema: Params, provenance: Facts
) -> None:
    """Write a self-describing target; a kill or a full disk leaves the previous one.

    Args:
      folder: the directory; other files in it are left alone.
      spec: see `spec.parts`.
      params: parameters of the last step.
      ema: their exponential moving average.
      provenance: JSON values (step, config digest, split digest, versions, ...).

    Raises:
      UserError: the folder cannot be written.
    """
    folder = locate(folder)
    digests, files, live = {}, {}, _live_files(folder)
    for use, tree in (("ema", ema), ("params", params)):
        if use == "params" and tree is ema:  # what others trained: one copy of it
            digests[use], files[use] = digests["ema"], files["ema"]
            continue
        tree = jax.tree.map(np.asarray, tree)
        digests[use] = tree_digest(tree)
        path = folder / f"{use}-{digests[use]}"
        files[use] = save_tree(path, tree, live.get(path.name))
    _save_description(folder, spec, provenance, digests, files)
    names = {f"{use}-{name}" for use, name in digests.items()}
    for old in [*folder.glob("ema-*"), *folder.glob("params-*")]:
        if old.name not in names:
            remove_tree(old, ignore_errors=True)


def _save_description(
    folder: Path,
    spec: Facts,
    provenance: Facts,
    digests: Mapping[str, str],
    files: Mapping[str, str],
) -> None:
    about = {"schema": 1, "spec": _plain(spec), "provenance": _plain(provenance)}
    save_sealed(folder / "target.json", {**about, "digest": digests, "files": files})


def seal_target(folder: str | Path, spec: Facts, provenance: Facts) -> None:
    """Write an unsealed description anew, from what the caller knows to be true.

    Args:
      folder: a target whose `target.json` a version before 0.2 wrote; its arrays are
        left as they are, under the digests that they have there.
      spec, provenance: as for `save_target`.
    """
    about = describe(folder, unsealed=True)
    kept = (about["digest"], about["files"])
    _save_description(locate(folder), spec, provenance, *kept)


def _live_files(folder: Path) -> dict[str, str]:
    """Names and digests of the arrays that `target.json` speaks of, if there is one."""
    try:
        about = describe(folder)
    except UserError:
        return {}
    return {f"{use}-{about['digest'][use]}": about["files"][use] for use in _USES}


def load_target(
    folder: str | Path,
    use: Literal["ema", "params"] = "ema",
    allow: Collection[str] = (),
) -> Target:
    """Read a target back.

    Args:
      folder: as given to `save_target`.
      use: "ema" for the averaged parameters (what is published), or "params".
      allow: see `spec.parts`.

    Raises:
      UserError: the folder is missing, damaged, foreign, does not fit its own spec,
        or its weights are not finite.
    """
    one_of("use", use, _USES)
    folder = locate(folder)
    about = describe(folder)
    p, expected = _expected(folder, about["spec"], allow)
    path = _arrays(folder, about, use)
    arrays = load_tree(path, expected, about["files"][use], _remedy(path, about))
    for path, leaf in jax.tree_util.tree_flatten_with_path(arrays)[0]:
        problem = f"has NaN or infinite weights in {leaf_name(path)}"
        remedy = "training diverged: train again with a smaller learning_rate"
        require(bool(np.isfinite(leaf).all()), f"target {folder}", problem, remedy)
    return p.target(_on_device(arrays))


def _on_device(arrays: Any) -> Any:
    """The arrays on the device; the nested dicts given are emptied on the way.

    One after the other, so that weights of gigabytes are there once and not twice.
    """
    if not isinstance(arrays, dict):
        return jnp.asarray(arrays)
    return {name: _on_device(arrays.pop(name)) for name in sorted(arrays)}


def _expected(folder: Path, spec: Facts, allow: Collection[str]) -> tuple[Parts, Any]:
    """The parts of a spec that was read from a file, and its parameters' shapes."""
    try:
        p = parts(spec, allow)
        return p, jax.eval_shape(p.init, jax.random.key(0))
    except UserError as error:
        raise UserError(f"target {folder}: {error}") from error
    except Exception as error:  # values of any type: whatever they make parts raise
        raise UserError(
            f"target {folder}: its spec cannot be built ({type(error).__name__}: "
            f"{error}); restore target.json from a copy, or train again"
        ) from error


def place(start: str | Path) -> Path:
    """The folder of a target: that of a workdir, or the one given."""
    inner = locate(start) / "target"
    return inner if inner.is_dir() else locate(start)


def fingerprint(folder: str | Path) -> str:
    """Of a kept target: what it is, and its parameters; no array is read.

    Raises:
      UserError: see `describe`.
    """
    about = describe(folder)
    return json_digest({"spec": about["spec"], "ema": about["digest"]["ema"]})


def describe(folder: str | Path, *, unsealed: bool = False) -> dict[str, Any]:
    """The contents of `target.json`: "spec", "provenance", "digest" and "files".

    Args:
      folder: the target's.
      unsealed: whether to take one without a seal, as versions before 0.2 wrote it.
        Any change in it goes unnoticed, so the caller must know better (`seal_target`).

    Raises:
      UserError: there is none, it is damaged, or changed since it was written.
    """
    path = locate(folder) / "target.json"
    snapshot = path.parent.parent.name == "snapshots"
    ok = path.is_file()
    remedy = _remedy(path) if snapshot else "train it first, or check the path"
    require(ok, f"target {folder}", "does not exist (no target.json)", remedy)
    remedy = _remedy(path)
    about = load_json(path, _DESCRIPTION, remedy=remedy)
    if SEAL in about:
        about = load_sealed(path, remedy=remedy)
    elif not unsealed:
        imported = about["provenance"].get("imported") is not None
        again = "run 'import' again with the same file" if imported else "run 'train'"
        raise UserError(
            f"{path} carries no seal, as a version before 0.2 wrote it, so that "
            f"changes in it would go unnoticed; {again} with this workdir: it is "
            "checked and sealed, and nothing is trained again"
        )
    ok = all(_are_digests(about[k]) for k in ("digest", "files"))
    require(ok, str(path), "is no description of a target", remedy)
    return about


_DESCRIPTION = {"spec": dict, "provenance": dict, "digest": dict, "files": dict}


def is_unsealed(folder: str | Path) -> bool:
    """Whether there is a whole `target.json` without a seal, as before 0.2."""
    try:
        return SEAL not in load_json(locate(folder) / "target.json", dict)
    except Unreachable:
        raise
    except UserError:
        return False  # missing or damaged: told by whoever needs it


def has_arrays(folder: str | Path) -> bool:
    """Whether both sets of parameters that `target.json` speaks of are there."""
    about = describe(folder, unsealed=True)
    return all(has_tree(_arrays(locate(folder), about, use)) for use in _USES)


def _arrays(folder: Path, about: Facts, use: str) -> Path:
    """Where one set of parameters is: the two are one if their files are."""
    same = about["files"]["params"] == about["files"]["ema"]
    use = "ema" if same and use == "params" else use
    return folder / f"{use}-{about['digest'][use]}"


def has_state(folder: str | Path) -> bool:
    """Whether a training state is kept with a target."""
    return any((locate(folder) / "state").glob("step-*.json"))


def _remedy(path: Path, about: Facts | None = None) -> str:
    """What to do about a damaged part of a target: what loses least.

    Args:
      path: the part, in the target's folder.
      about: the description, if that can be read.
    """
    folder = path.parent
    again = f"delete {path.name} there and run"
    if about is not None and about["provenance"].get("imported"):
        return f"{again} 'import' again with the same file"
    if has_state(folder):
        return (
            f"{again} 'train' with this workdir: it is written again from the training "
            "state, which is kept"
        )
    if folder.parent.name == "snapshots":
        return (
            "restore it from a copy, or attack another snapshot (target.snapshot); the "
            "others and the last target are kept"
        )
    return f"restore it from a copy, or delete {folder} and train or import it again"


def _are_digests(value: Any) -> bool:
    return isinstance(value, dict) and all(
        re.fullmatch("[0-9a-f]{16}", str(value.get(use))) for use in _USES
    )


# --- the state of training ---------------------------------------------------------


def save_state(folder: str | Path, step: int, tree: Any, record: Facts) -> None:
    """Write the training state of one step, then forget all but the last two.

    Args:
      folder: the target's folder; states live in its subfolder `state`.
      step: number of finished training steps.
      tree: nested dict of arrays.
      record: JSON values kept beside it.

    Raises:
      UserError: the folder cannot be written; earlier states are kept.
    """
    root = locate(folder) / "state"
    name = f"step-{step:08d}"
    tree = jax.tree.map(np.asarray, tree)
    path = root / f"{name}.json"
    with refusing(f"cannot write {path}", "free the folder, then run again", OSError):
        path.unlink(missing_ok=True)
    files = save_tree(root / name, tree)
    save_sealed(path, {"step": step, "files": files, "record": _plain(record)})
    kept = sorted(root.glob("step-*.json"))
    for old in kept[:-KEPT_STATES]:
        old.unlink(missing_ok=True)
    names = {path.stem for path in kept[-KEPT_STATES:]}
    for old in root.glob("step-*"):
        if old.is_dir() and old.name not in names:
            remove_tree(old, ignore_errors=True)


def load_state(
    folder: str | Path, like: Any, step: int | None = None
) -> TrainingState | None:
    """The newest whole state, or None where training has not got that far.

    A damaged state is passed over with a warning for the one before it.

    Args:
      folder: as given to `save_state`.
      like: nested dict of things with `shape` and `dtype`, as they were saved.
      step: of the state, if only that one will do.

    Raises:
      UserError: states exist, and none can be read; or not that of the step.
    """
    root = locate(folder) / "state"
    failure: UserError | None = None
    name = "step-*" if step is None else f"step-{step:08d}"
    for path in sorted(root.glob(f"{name}.json"), reverse=True):
        try:
            about = _read_state(path)
            tree = load_tree(path.with_suffix(""), like, about["files"], "delete it")
            return TrainingState(about["step"], tree, about["record"])
        except Unreachable:
            raise
        except UserError as error:
            failure = failure or error
        warnings.warn(f"{failure}; trying the state before it", stacklevel=2)
    if failure is not None:
        problem = f"training state {root}: no state can be read ({failure})"
        remedy = "delete that folder to train from the start"
        raise UserError(f"{problem}; {remedy}") from failure
    problem = "is not here, though another host reads it"
    require(step is None, f"{root / name}", problem, "give all hosts the same workdir")
    return None


def state_record(folder: str | Path) -> dict[str, Any] | None:
    """The record of the newest state whose description is whole; None if none is."""
    for path in sorted((locate(folder) / "state").glob("step-*.json"), reverse=True):
        try:
            return _read_state(path)["record"]
        except Unreachable:
            raise
        except UserError:
            continue
    return None


_STATE = {"step": int, "files": str, "record": dict}


def _read_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote of one state."""
    about = load_json(path, _STATE, remedy="delete it")
    if SEAL in about:
        about = load_sealed(path, remedy="delete it")
    # Versions before 0.2 wrote the same keys without a seal, and no others.
    own = set(about) == set(_STATE) and path.stem == f"step-{about['step']:08d}"
    require(own, str(path), "is no record of a training state", "delete it")
    seconds = about["record"].get("seconds", 0.0)
    require_shape(str(path), seconds, float, "delete it")
    return about


# --- JSON ----------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """As JSON will give it back: dicts and lists of plain values."""
    return json.loads(json.dumps(value, default=_untangle, allow_nan=False))


def _untangle(value: Any) -> Any:
    if isinstance(value, Mapping | ConfigDict):
        return dict(value.items())
    if isinstance(value, np.generic):
        return value.item()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
