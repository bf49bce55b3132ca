"""Low-rank adapters, merged into the weights that they change as these are read.

Hu et al. 2021 (2106.09685): W' = W + scale (alpha / rank) up down. Four ways of naming
are read: diffusers' (`unet.….lora_A.weight`, and before it `….to_q_lora.down.weight`),
kohya's (`lora_unet_…` with underscores for dots, and an `.alpha`), and peft's
(`base_model.model.…` with an adapter_config.json). Nothing is scaled by alpha where a
file does not say it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from score_mia.check import UserError, existing, refusing, require
from score_mia.files import load_json
from score_mia.interop.safetensors import Lazy, Tensors

Array = Shaped[np.ndarray, "..."]

_DOWN = (
    ".lora_A.weight",
    ".lora.down.weight",
    ".lora_down.weight",
    "_lora.down.weight",
)
_UP = (".lora_B.weight", ".lora.up.weight", ".lora_up.weight", "_lora.up.weight")
_LINEAR = ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight")
_REFUSED = {
    "dora_scale": "a DoRA's",
    "lora_magnitude_vector": "a DoRA's",
    "lora_B.bias": "of a bias",
    "lora.up.bias": "of a bias",
    "lora_bias": "of a bias",
}
_KOHYA = {"lora_unet_": "unet", "lora_te_": "text_encoder", "lora_te1_": "text_encoder"}
_REMEDY = "give a LoRA that was trained for this model"
_MERGE = "merge it with the library that wrote it, and save the model whole"


class Pair(NamedTuple):
    """One adapter: the change is factor up down."""

    up: str
    down: str
    factor: float


@dataclasses.dataclass(frozen=True)
class Lora:
    """A file of adapters (`interop.diffusers.Patch`).

    Attributes:
      path: a file of safetensors, or the folder that holds it.
      scale: what its change is multiplied by.
    """

    path: str
    scale: float = 1.0

    @property
    def origin(self) -> Mapping[str, str]:
        """The file, its digest and the scale."""
        tensors = Tensors.of(self.path)
        told = f"{self._name}@{self.scale:g}:{tensors.sha256()[:16]}"
        return {"lora": told}

    @property
    def _name(self) -> str:
        return existing(self.path, "LoRA").name

    def over(self, weights: Mapping[str, Lazy]) -> Mapping[str, Lazy]:
        """The components' weights with the adapters merged.

        Args:
          weights: "unet" (or "transformer") and "text_encoder", if there is one.

        Raises:
          UserError: it is no plain LoRA, or a key changes nothing of these.
        """
        tensors = Tensors.of(self.path)
        for name in tensors:
            for part, kind in _REFUSED.items():
                problem = f"is {kind}, which is not merged here"
                require(
                    part not in name, f"LoRA {self.path}: {name!r}", problem, _MERGE
                )
        found: dict[str, dict[str, Pair]] = {name: {} for name in weights}
        for name, ends in _pairs(tensors).items():
            component, weight = _place(name, weights, self.path)
            factor = self.scale * self._factor(tensors, component, name, ends[0])
            found[component][weight] = Pair(ends[1], ends[0], factor)
        ok = any(found.values())
        require(ok, f"LoRA {self.path}", "holds no adapter", _REMEDY)
        return {
            name: Merged(lazy, tensors, found[name], f"LoRA {self.path}")
            for name, lazy in weights.items()
        }

    def _factor(self, tensors: Tensors, component: str, name: str, down: str) -> float:
        """alpha / rank, by the file's own word; 1 where it says nothing."""
        rank = tensors.shape(down)[0]
        if f"{name}.alpha" in tensors:
            return float(np.asarray(tensors[f"{name}.alpha"], np.float64)) / rank
        header = _metadata(tensors, component, f"LoRA {self.path}")
        for settings in (self._config(), header):
            alpha = settings.get("lora_alpha")
            if alpha is not None:
                patterns = settings.get("alpha_pattern") or {}
                module = name.removeprefix("base_model.model.")
                module = module.removeprefix(f"{component}.")
                alpha = patterns.get(module, alpha)
                root = rank**0.5 if settings.get("use_rslora") else rank
                return float(alpha) / root
        return 1.0

    def _config(self) -> Mapping[str, Any]:
        path = Path(self.path).expanduser()
        config = (path if path.is_dir() else path.parent) / "adapter_config.json"
        # Beside a file of another name it is another adapter's.
        peft = path.is_dir() or path.name == "adapter_model.safetensors"
        if not (peft and config.is_file()):
            return {}
        settings = load_json(config, dict, remedy=_REMEDY)
        for name in ("use_dora", "lora_bias"):
            problem = "is set, which is not merged here"
            require(not settings.get(name), f"{config}: {name}", problem, _MERGE)
        return settings


@dataclasses.dataclass(frozen=True)
class Merged(Lazy):
    """Weights, some of which are changed when they are read.

    Attributes:
      base: the weights.
      adapters: the file of `pairs`.
      pairs: name of a weight -> its adapter.
      what: for messages.
    """

    base: Lazy
    adapters: Tensors
    pairs: Mapping[str, Pair]
    what: str

    def __getitem__(self, name: str) -> Array:
        """The weight; float32 where it is changed."""
        weight = self.base[name]
        if name not in self.pairs:
            return weight
        up, down, factor = self.pairs[name]
        b, a = (np.asarray(self.adapters[n], np.float32) for n in (up, down))
        rank, problem = len(a), f"has shapes {b.shape} and {a.shape}"
        ok = b.ndim > 1 and b.shape[:2] == (weight.shape[0], rank)
        ok = ok and a[0].size == weight[0].size
        problem += f", which do not make the weight's {weight.shape}"
        require(ok, f"{self.what}: {down!r}", problem, _REMEDY)
        change = b.reshape(len(weight), rank) @ a.reshape(rank, -1)
        return weight.astype(np.float32) + factor * change.reshape(weight.shape)

    def __iter__(self) -> Any:
        return iter(self.base)

    def __len__(self) -> int:
        return len(self.base)

    def __contains__(self, name: object) -> bool:
        return name in self.base

    def shape(self, name: str) -> tuple[int, ...]:
        """Of the weight."""
        return self.base.shape(name)


def _pairs(tensors: Tensors) -> dict[str, tuple[str, str]]:
    """The adapters' modules, as the file names them, and the names of down and up."""
    ends: dict[str, dict[str, str]] = {}
    for name in tensors:
        if name.endswith(".alpha"):
            continue
        for side, suffixes in (("down", _DOWN), ("up", _UP)):
            for suffix in (*suffixes, f".{_LINEAR[side == 'up']}"):
                if name.endswith(suffix):
                    ends.setdefault(name.removesuffix(suffix), {})[side] = name
                    break
            else:
                continue
            break
        else:
            raise UserError(f"LoRA: {name!r} is of no kind that is known; {_MERGE}")
    for module, pair in ends.items():
        ok = pair.keys() == {"down", "up"}
        require(ok, f"LoRA: {module!r}", "has one half of its adapter only", _REMEDY)
    return {module: (pair["down"], pair["up"]) for module, pair in ends.items()}


def _place(name: str, weights: Mapping[str, Lazy], path: str) -> tuple[str, str]:
    """The component and the weight that an adapter's module names."""
    module, among = name, list(weights)
    for prefix, component in _KOHYA.items():
        if name.startswith(prefix):
            module, among = name.removeprefix(prefix), [component]
    flat = module != name
    module = module.removeprefix("base_model.model.")
    for component in weights:
        if module.startswith(f"{component}."):
            module, among = module.removeprefix(f"{component}."), [component]
    # Before 2023, the processors of an attention had its layers' adapters.
    module = re.sub(r"\.processor\.to_out$", ".to_out.0", module)
    module = module.replace(".processor.", ".")
    for component in among:
        lazy = weights.get(component)
        for known in lazy or ():
            stem = known.removesuffix(".weight")
            plain = stem.removeprefix("text_model.")
            for own in (stem, plain, f"text_model.{plain}"):
                if module == (own.replace(".", "_") if flat else own):
                    return component, known
    raise UserError(
        f"LoRA {path}: {name!r} matches no weight of {', '.join(among)}; {_REMEDY}"
    )


def _metadata(tensors: Tensors, component: str, what: str) -> Mapping[str, Any]:
    """The component's settings in the file's header, as diffusers writes them."""
    text = tensors.metadata.get("lora_adapter_metadata")
    with refusing(f"{what}: lora_adapter_metadata", _REMEDY, ValueError):
        told = json.loads(text) if text else {}
        require(isinstance(told, dict), what, "has settings that are none", _REMEDY)
    own = {k.removeprefix(f"{component}."): v for k, v in told.items()}
    return {k: v for k, v in own.items() if "." not in k}
