"""A folder as diffusers writes it: what it describes, and then its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.arrays import Params
from score_mia.check import UserError, existing, one_of, require
from score_mia.files import load_json
from score_mia.interop.diffusers import schedulers
from score_mia.interop.diffusers.families import ROLES, SCHEDULER, UNUSED, reader
from score_mia.interop.foreign import Foreign
from score_mia.interop.keys import fill
from score_mia.interop.safetensors import Lazy, Tensors
from score_mia.spec import FAMILIES, parts

_REMEDY = "give the folder that diffusers' save_pretrained wrote"
_AGAIN = "copy the folder again from where it came"
_DTYPES = {"float32": np.float32, "bfloat16": jnp.bfloat16}


class Part(NamedTuple):
    """A component of a folder.

    Attributes:
      kind: its class.
      folder: where its config and its weights are.
      config: what its config says; empty for a tokenizer.
    """

    kind: str
    folder: Path
    config: Mapping[str, Any]


@runtime_checkable
class Patch(Protocol):
    """A change of a model's weights as they are read: low-rank adapters, say.

    Attributes:
      origin: what is told of it in the target's origin, by names of its own.
    """

    @property
    def origin(self) -> Mapping[str, str]:
        """See above."""
        ...

    def over(self, weights: Mapping[str, Lazy]) -> Mapping[str, Lazy]:
        """The weights of the components ("unet", "text_encoder", ...) changed.

        Raises:
          UserError: it does not fit them.
        """
        ...


def components(folder: str | Path) -> dict[str, Part]:
    """The components of a folder, by the names that pipelines give them.

    A folder with a model_index.json is a pipeline. One with a config.json alone is its
    network, whose scheduler is in it (scheduler_config.json, as itself or in
    "scheduler") or beside it.

    Raises:
      UserError: no such folder, a file is missing or damaged, or a component has a
        name that is unknown here.
    """
    folder = existing(folder, "diffusers folder")
    problem, remedy = "is a file", "name the folder that it is in"
    require(folder.is_dir(), f"diffusers folder {folder}", problem, remedy)
    index = folder / "model_index.json"
    if not index.exists():
        return _bare(folder)
    found = {}
    for name, value in load_json(index, dict, remedy=_AGAIN).items():
        if name.startswith("_") or not isinstance(value, list):
            continue  # settings of the pipeline
        ok = len(value) == 2 and all(v is None or isinstance(v, str) for v in value)
        remedy = "each component is [library, class]"
        require(ok, f"{index}", f"has no class for {name!r}", remedy)
        kind = value[1]
        if kind is None or name in UNUSED:
            continue
        one_of(f"component {name!r} of {index.name}", name, (*ROLES, SCHEDULER))
        found[name] = _part(folder, name, kind)
    return found


def _part(folder: Path, name: str, kind: str) -> Part:
    """A pipeline's component: in a folder of its name, or in the pipeline's own."""
    own = folder / name if (folder / name).is_dir() else folder
    if name == "tokenizer":
        return Part(kind, own, {})
    stem = "scheduler_config.json" if name == SCHEDULER else "config.json"
    config = load_json(own / stem, dict, remedy=_AGAIN)
    return Part(config.get("_class_name", kind), own, config)


def _bare(folder: Path) -> dict[str, Part]:
    path = folder / "config.json"
    problem = "has neither model_index.json nor config.json"
    require(path.exists(), f"diffusers folder {folder}", problem, _REMEDY)
    config = load_json(path, {"_class_name": str}, remedy=_AGAIN)
    kind = config["_class_name"]
    classes = {k: role for role, table in ROLES.items() for k in table}
    one_of(f"_class_name of {path}", kind, classes)
    found = {classes[kind]: Part(kind, folder, config)}
    stem = "scheduler_config.json"
    places = (folder, folder / SCHEDULER, folder.parent / SCHEDULER)
    scheduler = next((p for p in places if (p / stem).exists()), None)
    if scheduler is not None:
        found[SCHEDULER] = _part(scheduler, SCHEDULER, "")
    return found


def describe(folder: str | Path) -> dict[str, Any]:
    """The spec of a folder's model (`spec.parts`); no weights are read.

    Args:
      folder: a pipeline (model_index.json) or a network (config.json).

    Returns:
      network, sde, parameterisation, codec, shape and, where there is one, conditioner;
      and the sampler that its scheduler is, as a config's section "sampler".

    Raises:
      UserError: something is missing, damaged, or has no counterpart here, by name.
    """
    return _describe(folder, components(folder))


def _describe(folder: str | Path, found: Mapping[str, Part]) -> dict[str, Any]:
    name, network = _network(folder, found)
    read = reader(name, network.kind)
    what = f"{name} of {folder}"
    ok = SCHEDULER in found
    problem, remedy = "has no scheduler_config.json", f"{_REMEDY}, whole"
    require(ok, what, problem, remedy)
    entry, shape = read.entry(network.config), read.shape(network.config)
    sections: dict[str, Any] = {"network": entry, "codec": {"low": -1.0, "high": 1.0}}
    if read.told is not None:
        sections["conditioner"] = read.told(network.config)
    if read.join is not None:
        lacking = [n for n in ("text_encoder", "tokenizer") if n not in found]
        problem = f"is told of text, and there is no {' and no '.join(lacking)}"
        require(not lacking, what, problem, "give the whole pipeline's folder")
        text, tokens = found["text_encoder"], found["tokenizer"]
        told = reader("text_encoder", text.kind).entry(text.config)
        sections["network"] = read.join(entry, told)
        tokenizer = reader("tokenizer", tokens.kind)
        sections["conditioner"] = tokenizer.entry(tokens.folder, text.config)
    if "vae" in found:
        vae = found["vae"]
        codec = reader("vae", vae.kind)
        sections["codec"] = codec.entry(vae.config)
        shape = codec.image(vae.config, shape)
    process = schedulers.sections(found[SCHEDULER].kind, found[SCHEDULER].config)
    return {**sections, **process, "shape": list(shape)}


def _network(folder: str | Path, found: Mapping[str, Part]) -> tuple[str, Part]:
    """The component that is the network, and what the pipeline calls it."""
    names = [name for name in ("unet", "transformer") if name in found]
    problem = f"has no network among its components ({', '.join(found)})"
    require(len(names) == 1, f"diffusers folder {folder}", problem, _REMEDY)
    return names[0], found[names[0]]


def read_folder(
    folder: str | Path,
    spec: Mapping[str, Any] | None = None,
    *,
    lora: Patch | None = None,
    dtype: str = "float32",
    variant: str = "",
    place: Callable[[np.ndarray], Any] = np.asarray,
) -> Foreign:
    """A folder's model with its weights; the most in memory is one copy of them.

    Args:
      folder: see `describe`.
      spec: what it is taken for; None for what the folder says. Options that change no
        parameter, and the images' shape, may differ.
      lora: changes the weights as they are read.
      dtype: of the weights in memory, "float32" or "bfloat16".
      variant: which weights of several, e.g. "fp16" (`Tensors.of`).
      place: what is done with each array, such as `jnp.asarray`.

    Raises:
      UserError: what `describe` refuses, or weights that are pickled, missing, damaged,
        not finite, or of another network than the spec's.
    """
    one_of("dtype", dtype, _DTYPES)
    found = components(folder)
    told = _describe(folder, found)
    chosen = {k: v for k, v in (spec or told).items() if k in (*FAMILIES, "shape")}
    weights = _weights(found, variant)
    origin = _origin(folder, weights, lora, dtype)
    if lora is not None:
        weights = lora.over(weights)
    kinds = {"dtype": _DTYPES[dtype], "place": place}
    params = _filled(folder, chosen, found, weights, kinds)
    return Foreign(chosen, params, params, 0, origin)


def origin(
    folder: str | Path,
    *,
    lora: Patch | None = None,
    dtype: str = "float32",
    variant: str = "",
) -> dict[str, str]:
    """What `read_folder` says of where its model came from; no number is turned."""
    return _origin(folder, _weights(components(folder), variant), lora, dtype)


def _weights(found: Mapping[str, Part], variant: str) -> Mapping[str, Lazy]:
    return {
        name: Tensors.of(part.folder, variant)
        for name, part in found.items()
        if name not in (SCHEDULER, "tokenizer")
    }


def _filled(
    folder: str | Path,
    spec: Mapping[str, Any],
    found: Mapping[str, Part],
    weights: Mapping[str, Lazy],
    kinds: Mapping[str, Any],
) -> Params:
    """The tree of parameters that the spec's parts have, with the folder's numbers."""
    wanted = jax.eval_shape(parts(spec).init, jax.random.key(0))
    name, network = _network(folder, found)

    def one(component: str, tree: Params) -> Params:
        part, read = found[component], reader(component, found[component].kind)
        what = f"{component} of {folder}"
        try:
            names = read.names(part.config)
            return fill(tree, weights[component], names, ignore=read.ignore, **kinds)
        except UserError as error:
            raise UserError(f"{what}: {error}") from error

    tree = wanted["network"] if "vae" in found else wanted
    if reader(name, network.kind).join is None:
        own = one(name, tree)
    else:
        own = {"unet": one(name, tree["unet"])}
        own["text"] = one("text_encoder", tree["text"])
    return (
        {"network": own, "codec": one("vae", wanted["codec"])}
        if "vae" in found
        else own
    )


def _origin(
    folder: str | Path, weights: Mapping[str, Lazy], lora: Patch | None, dtype: str
) -> dict[str, str]:
    digests = {n: w.sha256() for n, w in weights.items() if isinstance(w, Tensors)}
    whole = hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()
    name = Path(folder).expanduser().resolve().name
    told = {"file": name, "format": "diffusers", "sha256": whole}
    told |= {} if dtype == "float32" else {"dtype": dtype}
    return told if lora is None else {**told, **lora.origin}
