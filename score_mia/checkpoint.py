"""Self-describing directories: a trained target, and the state of its training.

    target.json             spec (network, sde, parameterisation, codec, shape),
                            provenance, and the digests of the two sets of parameters
    ema-DIGEST/             parameters averaged over training, written by orbax
    params-DIGEST/          parameters of the last step
    state/step-00001000/    everything that training needs to go on, with
    state/step-00001000.json    its digest: written last, so it says "whole"

The arrays are written under a name that holds their digest, then `target.json` is
renamed into place: a process killed in between leaves the previous target. Reading
takes numbers from a folder and never runs code that it names, unless the caller does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import time
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.arrays import Params
from score_mia.check import UserError, one_of, require
from score_mia.files import digest, load_json, save_json
from score_mia.parameterisation import PARAMETERISATIONS, Parameterisation
from score_mia.registry import make
from score_mia.sde import SDE, SDES
from score_mia.target import Codec, Target

SPEC = ("network", "sde", "parameterisation", "codec", "shape")
"""What a spec holds: four entries for the registries, and the image's [h, w, c]."""

KEPT_STATES = 2
_USES = ("ema", "params")


class Parts(NamedTuple):
    """What a spec describes; the parameters are all that is missing for a target."""

    network: Any
    sde: SDE
    parameterisation: Parameterisation
    codec: Codec
    shape: tuple[int, int, int]


class TrainingState(NamedTuple):
    """A restored training state: its step, its arrays (NumPy), and its record."""

    step: int
    tree: Any
    record: dict[str, Any]


# --- from a spec to a target -------------------------------------------------------


def parts(spec: Mapping[str, Any], allow: Collection[str] = ()) -> Parts:
    """Build what a spec describes.

    Args:
      spec: {"network": {"name", ...}, "sde": {...}, "parameterisation": {...},
        "codec": {"low", "high"}, "shape": [h, w, c]}.
      allow: names such as "my_package.mine:Net" that may be imported. A spec read
        from a file must not choose what runs, so only the caller can allow them.

    Raises:
      UserError: something is missing, unknown, wrong, or needs to be allowed.
    """
    from score_mia.networks import NETWORKS  # Flax: seconds, for who needs it

    missing = [k for k in SPEC if k not in spec]
    require(not missing, "spec", f"has no {missing}", f"give all of {list(SPEC)}")
    tables = (
        ("network", NETWORKS),
        ("sde", SDES),
        ("parameterisation", PARAMETERISATIONS),
    )
    for family, _ in tables:
        entry = spec[family]
        ok = isinstance(entry, Mapping) and isinstance(entry.get("name"), str)
        require(ok, f"spec {family!r}", "has no 'name'", "give {'name': ..., fields}")
        require(
            ":" not in entry["name"] or entry["name"] in allow,
            f"{family} {entry['name']!r}",
            "would run code from outside score_mia",
            "if you trust it, name it in the config (or in `allow`)",
        )
    shape = _shape(spec["shape"])
    network, sde, parameterisation = (make(f, t, spec[f]) for f, t in tables)
    codec = make("codec", {"codec": Codec}, {"name": "codec", **dict(spec["codec"])})
    require(
        bool(np.isfinite([codec.low, codec.high]).all()) and codec.low < codec.high,
        f"codec {codec}",
        "is no ascending pair",
        "give finite low < high",
    )
    return Parts(network.build(shape), sde, parameterisation, codec, shape)


def _shape(value: Any) -> tuple[int, int, int]:
    ok = (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(isinstance(n, int) and n > 0 for n in value)
    )
    require(ok, f"spec shape {value!r}", "is no image shape", "give [h, w, c]")
    h, w, c = value
    return h, w, c


def assemble(
    spec: Mapping[str, Any], params: Params, allow: Collection[str] = ()
) -> Target:
    """The target that a spec and parameters make (see `parts`)."""
    p = parts(spec, allow)
    return Target(params, p.sde, p.parameterisation, p.network.apply, p.codec)


def target_digest(target: Target) -> str:
    """What a record of signals says it was read off: parameters and meaning."""
    meaning = repr((target.sde, target.parameterisation, target.codec))
    return digest(tree_digest(target.params), meaning)


def tree_digest(tree: Any) -> str:
    """Digest of every array of a tree with its path, dtype and shape."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return digest(
        *(
            part
            for path, leaf in leaves
            for part in (jax.tree_util.keystr(path), np.asarray(leaf))
        )
    )


# --- a target's folder -------------------------------------------------------------


def save_target(
    folder: str | Path,
    spec: Mapping[str, Any],
    params: Params,
    ema: Params,
    provenance: Mapping[str, Any],
) -> None:
    """Write a self-describing target; a kill or a full disk leaves the previous one.

    Args:
      folder: the directory; other files in it are left alone.
      spec: see `parts`.
      params: parameters of the last step.
      ema: their exponential moving average.
      provenance: JSON values (step, config digest, split digest, versions, ...).

    Raises:
      UserError: the folder cannot be written.
    """
    folder = Path(folder)
    digests, files, live = {}, {}, _live_files(folder)
    for use, tree in (("ema", ema), ("params", params)):
        tree = jax.tree.map(np.asarray, tree)
        digests[use] = tree_digest(tree)
        path = folder / f"{use}-{digests[use]}"
        files[use] = _save_tree(path, tree, live.get(path.name))
    about = {"schema": 1, "spec": _plain(spec), "provenance": _plain(provenance)}
    save_json(folder / "target.json", {**about, "digest": digests, "files": files})
    names = {f"{use}-{name}" for use, name in digests.items()}
    for old in [*folder.glob("ema-*"), *folder.glob("params-*")]:
        if old.name not in names:
            shutil.rmtree(old, ignore_errors=True)


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
      allow: see `parts`.

    Raises:
      UserError: the folder is missing, damaged, foreign, does not fit its own spec,
        or its weights are not finite.
    """
    one_of("use", use, _USES)
    folder = Path(folder)
    about = describe(folder)
    p, expected = _expected(folder, about["spec"], allow)
    path = folder / f"{use}-{about['digest'][use]}"
    arrays = _load_tree(path, expected, about["files"][use], folder)
    for path, leaf in jax.tree_util.tree_flatten_with_path(arrays)[0]:
        require(
            bool(np.isfinite(leaf).all()),
            f"target {folder}",
            f"has NaN or infinite weights in {_slashes(path)}",
            "training diverged: train again with a smaller learning_rate",
        )
    params = jax.tree.map(jnp.asarray, arrays)
    return Target(params, p.sde, p.parameterisation, p.network.apply, p.codec)


def _expected(
    folder: Path, spec: Mapping[str, Any], allow: Collection[str]
) -> tuple[Parts, Any]:
    """The parts of a spec that was read from a file, and its parameters' shapes."""
    try:
        p = parts(spec, allow)
        return p, jax.eval_shape(p.network.init, jax.random.key(0))
    except UserError as error:
        raise UserError(f"target {folder}: {error}") from error
    except Exception as error:  # values of any type: whatever they make parts raise
        raise UserError(
            f"target {folder}: its spec cannot be built ({type(error).__name__}: "
            f"{error}); restore target.json from a copy, or train again"
        ) from error


def describe(folder: str | Path) -> dict[str, Any]:
    """The contents of `target.json`: "spec", "provenance" and "digest".

    Raises:
      UserError: there is none, or it is damaged.
    """
    path = Path(folder) / "target.json"
    require(
        path.is_file(),
        f"target {folder}",
        "does not exist (no target.json)",
        "train it first, or check the path",
    )
    about = load_json(path)
    about = about if isinstance(about, dict) else {}
    ok = (
        all(_are_digests(about.get(k)) for k in ("digest", "files"))
        and isinstance(about.get("spec"), dict)
        and isinstance(about.get("provenance"), dict)
    )
    require(
        ok,
        str(path),
        "is no description of a target",
        "delete the folder and train again, or restore it from a copy",
    )
    return about


def _are_digests(value: Any) -> bool:
    return isinstance(value, dict) and all(
        re.fullmatch("[0-9a-f]{16}", str(value.get(use))) for use in _USES
    )


# --- the state of training ---------------------------------------------------------


def save_state(
    folder: str | Path, step: int, tree: Any, record: Mapping[str, Any]
) -> None:
    """Write the training state of one step, then forget all but the last two.

    Args:
      folder: the target's folder; states live in its subfolder `state`.
      step: number of finished training steps.
      tree: nested dict of arrays.
      record: JSON values kept beside it.

    Raises:
      UserError: the folder cannot be written; earlier states are kept.
    """
    root = Path(folder) / "state"
    name = f"step-{step:08d}"
    tree = jax.tree.map(np.asarray, tree)
    (root / f"{name}.json").unlink(missing_ok=True)
    files = _save_tree(root / name, tree)
    about = {"step": step, "files": files, "record": _plain(record)}
    save_json(root / f"{name}.json", about)
    live = sorted(root.glob("step-*.json"))[-KEPT_STATES:]
    for old in set(root.glob("step-*.json")) - set(live):
        old.unlink()
    names = {path.stem for path in live}
    for old in root.iterdir():
        if old.is_dir() and old.name not in names:
            shutil.rmtree(old, ignore_errors=True)


def load_state(folder: str | Path, like: Any) -> TrainingState | None:
    """The newest whole state, or None where training has not got that far.

    A damaged state is passed over with a warning for the one before it.

    Args:
      folder: as given to `save_state`.
      like: nested dict of things with `shape` and `dtype`, as they were saved.

    Raises:
      UserError: states exist, and none can be read.
    """
    root = Path(folder) / "state"
    failure: UserError | None = None
    for path in sorted(root.glob("step-*.json"), reverse=True):
        try:
            about = load_json(path)
            tree = _load_tree(path.with_suffix(""), like, about["files"], root)
            return TrainingState(int(about["step"]), tree, dict(about["record"]))
        except UserError as error:
            failure = failure or error
        except (KeyError, TypeError, ValueError):
            failure = failure or UserError(f"{path} is damaged")
        warnings.warn(f"{failure}; trying the state before it", stacklevel=2)
    if failure is not None:
        raise UserError(
            f"training state {root}: no state can be read ({failure}); delete that "
            "folder to train from the start"
        ) from failure
    return None


# --- trees of arrays on disk -------------------------------------------------------


def _plain(value: Any) -> Any:
    """As JSON will give it back: dicts and lists of plain values."""
    return json.loads(json.dumps(value, default=_untangle, allow_nan=False))


def _untangle(value: Any) -> Any:
    if isinstance(value, Mapping) or hasattr(value, "items"):
        return dict(value.items())
    if isinstance(value, np.generic):
        return value.item()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)


def _slashes(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _save_tree(path: Path, tree: Any, live: str | None = None) -> str:
    """Write the arrays atomically; the digest of the files that hold them.

    A path whose name says its contents and whose files have the digest `live` is left
    as it is: another process may be reading it.
    """
    import orbax.checkpoint as ocp

    try:
        if live is not None and path.is_dir() and files_digest(path) == live:
            return live
        path.parent.mkdir(parents=True, exist_ok=True)
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
        if shutil.disk_usage(path.parent).free < 1.1 * needed + 1e6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if path.exists():
            shutil.rmtree(path)
        with _silent(), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as writer:
            writer.save(path.absolute(), args=ocp.args.PyTreeSave(tree))
        return files_digest(path)
    except (OSError, ValueError, RuntimeError) as error:
        # A full disk reaches us from the storage library as any of the three.
        _remove_torn(path)
        told = re.search(r": ([^:\[]+) \[os_error_code", str(error))
        reason = getattr(error, "strerror", None) or (told or [0, "storage failed"])[1]
        raise UserError(
            f"cannot write {path} ({reason}); free some space or choose a writable "
            "folder, then run the same command again: what was done is kept"
        ) from error


def _remove_torn(path: Path) -> None:
    """Remove what a failed write left, whose threads may still be writing there."""
    for _ in range(50):
        left = list(path.parent.glob(f"{path.name}.orbax-checkpoint-tmp*"))
        if not left:
            return
        for torn in left:
            shutil.rmtree(torn, ignore_errors=True)
        time.sleep(0.02)


def files_digest(path: Path) -> str:
    """Digest of the names and bytes of all files in a folder."""
    lines = []
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        with file.open("rb") as stream:
            contents = hashlib.file_digest(stream, "sha256").hexdigest()
        lines.append(f"{file.relative_to(path).as_posix()}\0{contents}\n")
    return digest(*lines)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep the storage library's log of tracebacks off the terminal: we tell it."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _load_tree(path: Path, like: Any, expected: str, folder: Path) -> Any:
    """Read arrays shaped `like`, if the files are the ones that were written.

    Damaged bytes never reach the storage library, which reads a missing chunk as
    zeros and reports others from its own threads.
    """
    import orbax.checkpoint as ocp

    remedy = "restore the folder from a copy, or delete it and run again"
    require(path.is_dir(), f"{folder}", f"{path.name} is missing", remedy)
    kinds = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
    try:
        same = files_digest(path) == expected
        require(same, f"{folder}", f"{path.name} is damaged (digest differs)", remedy)
        with _silent(), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
            held = reader.metadata(path.absolute()).item_metadata.tree
            _require_same_shapes(held, like, folder, remedy)
            args = ocp.args.PyTreeRestore(item=like, restore_args=kinds)
            tree = reader.restore(path.absolute(), args=args)
        return jax.tree.map(np.asarray, tree)
    except UserError:
        raise
    except Exception as error:  # bytes from anywhere: whatever they make it raise
        reason = f"{path.name} cannot be read ({type(error).__name__})"
        raise UserError(f"{folder}: {reason}; {remedy}") from error


def _require_same_shapes(held: Any, like: Any, folder: Path, remedy: str) -> None:
    def listed(tree: Any) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
        return {_slashes(path): tuple(leaf.shape) for path, leaf in leaves}

    found, wanted = listed(held), listed(like)
    for name in sorted({*found, *wanted}):
        require(
            found.get(name) == wanted.get(name),
            f"{folder}",
            f"array {name!r} has shape {found.get(name, 'none')} where its spec needs "
            f"{wanted.get(name, 'none')}",
            remedy,
        )
