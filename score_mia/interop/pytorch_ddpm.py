"""Checkpoints of pytorch-ddpm (w86763777), to a spec and its weights.

    foreign = read_pytorch_ddpm("ckpt.pt")

`torch.save` wrote them: "ema_model" (which samples and attacks use) and "net_model",
as they are or with DataParallel's "module." before each name. They are read as data.
The shapes say the network (ch, ch_mult, attn, num_res_blocks, T); what no file holds is
given: the size of the images and the ends of the linear betas.

Their embedding of a step alternates sines and cosines, and is a table. Ours has all
sines first: the order of the first matrix's columns makes up for it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Shaped

from score_mia.arrays import Params
from score_mia.check import UserError, existing, require
from score_mia.files import sha256
from score_mia.interop.foreign import Foreign
from score_mia.interop.keys import Key, fill, same
from score_mia.interop.unpickle import is_pickled, read_torch
from score_mia.spec import FAMILIES, parts

Array = Shaped[np.ndarray, "..."]
State = Mapping[str, Array]

_ENTRIES = ("ema_model", "net_model")
_TABLE = "time_embedding.timembedding.0.weight"
_REMEDY = "give a checkpoint of pytorch-ddpm (ema_model, net_model, step)"


def is_one(path: Path) -> bool:
    """Whether a file is torch's and has a moving average as pytorch-ddpm calls it."""
    return is_pickled(path) and "ema_model" in read_torch(path, ("ema_model",))


def describe(
    path: str | Path,
    *,
    size: int = 32,
    beta_1: float = 1e-4,
    beta_t: float = 0.02,
) -> dict[str, Any]:
    """The spec (`spec.parts`) of a checkpoint's model.

    Args:
      path: the file.
      size: height and width of the images that it was trained on.
      beta_1, beta_t: the first and the last beta.

    Raises:
      UserError: the file is missing, damaged, or of another kind.
    """
    path = existing(path, "checkpoint")
    return _telling(
        path, lambda: _spec(_state(path, "ema_model"), size, beta_1, beta_t)
    )


def read_pytorch_ddpm(
    path: str | Path,
    spec: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Foreign:
    """A checkpoint's model, its moving average and its step.

    Args:
      path: the file.
      spec: what it is taken for; None for what the file and the settings say.
      settings: of `describe`.

    Raises:
      UserError: the file is missing, damaged, names code to be run, is of another kind
        or network, or holds NaNs.
    """
    path = existing(path, "checkpoint")
    told = dict(spec) if spec is not None else describe(path, **settings)
    chosen = {k: v for k, v in told.items() if k in (*FAMILIES, "shape")}

    def weights(name: str) -> Params:
        state = _state(path, name)
        tree = jax.eval_shape(parts(chosen).init, jax.random.key(0))
        blocks = int(chosen["network"]["blocks"])
        names = functools.partial(named, blocks=blocks)
        return fill(tree, state, names, ignore=(re.escape(_TABLE),))

    ema, last = (_telling(path, functools.partial(weights, n)) for n in _ENTRIES)
    step = read_torch(path, ("step",)).get("step", 0)
    origin = {"file": path.name, "format": "pytorch_ddpm", "sha256": sha256(path)}
    return Foreign(chosen, last, ema, int(step), origin)


def _telling(path: Path, read: Any) -> Any:
    """What is read; errors begin with the file."""
    before = f"checkpoint {path}: "
    try:
        return read()
    except UserError as error:
        raise UserError(before + str(error).removeprefix(before)) from error


def _state(path: Path, name: str) -> dict[str, Array]:
    """A network's tensors by their names."""
    entry = read_torch(path, (name,)).get(name)
    ok = isinstance(entry, dict) and len(entry) > 0
    require(ok, f"entry {name!r}", "is missing, or no state dict", _REMEDY)
    assert isinstance(entry, dict)
    state = {str(k).removeprefix("module."): v for k, v in entry.items()}
    wrong = [k for k, v in state.items() if not isinstance(v, np.ndarray)]
    require(not wrong, f"entry {name!r}", f"{wrong[:1]} is no tensor", _REMEDY)
    for needed in (_TABLE, "head.weight", "downblocks.0.block1.2.weight"):
        there = needed in state
        require(there, f"entry {name!r}", f"has no {needed!r}", _REMEDY)
    return state


def _spec(state: State, size: int, beta_1: float, beta_t: float) -> dict[str, Any]:
    steps = state[_TABLE].shape[0]
    _require_alternating(state[_TABLE])
    channels = state["head.weight"].shape[1]
    return {
        "network": {
            **_levels(state),
            **{"name": "unet2d", "dropout": 0.1, "groups": 32, "middle": "attention"},
            **{"up_attention": "block", "embedding_order": "sin_cos"},
            **{"freq_shift": 0, "pad": [1, 1], "eps": 1e-5, "heads": 1},
        },
        "sde": {
            **{"name": "ddpm", "beta_min": beta_1 * steps, "beta_max": beta_t * steps},
            "steps": steps,
        },
        "parameterisation": {"name": "noise"},
        "codec": {"low": -1.0, "high": 1.0},
        "sampler": {"name": "ancestral", "variance": "forward"},
        "shape": [size, size, channels],
    }


def _levels(state: State) -> dict[str, Any]:
    """Widths, attention and blocks a level, from the blocks on the way down."""
    found = {int(m[1]) for n in state if (m := re.match(r"downblocks\.(\d+)\.", n))}
    levels: list[list[int]] = [[]]
    for index in sorted(found):
        if f"downblocks.{index}.main.weight" in state:
            levels.append([])
        else:
            levels[-1].append(index)
    blocks = {len(level) for level in levels}
    problem = f"has levels of {sorted(blocks)} blocks on the way down"
    require(len(blocks) == 1 and 0 not in blocks, "its network", problem, _REMEDY)
    lasts = [level[-1] for level in levels]
    names = [f"downblocks.{i}.block2.3.weight" for i in lasts]
    require(all(n in state for n in names), "its network", f"lacks {names}", _REMEDY)
    return {
        "widths": [int(state[name].shape[0]) for name in names],
        "attention": [f"downblocks.{i}.attn.proj.weight" in state for i in lasts],
        "blocks": blocks.pop(),
    }


def _require_alternating(table: Shaped[np.ndarray, "t d"]) -> None:
    """Their embedding: sin, cos, sin, cos, ..., rates 10,000^(-2i/d)."""
    steps, features = table.shape
    rates = np.exp(-np.log(10_000.0) * np.arange(0, features, 2) / features)
    angle = np.arange(steps)[:, None] * rates[None, :]
    theirs = np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(table.shape)
    ok = bool(np.allclose(table, theirs, atol=1e-3))
    problem = "is another embedding of the step than pytorch-ddpm's"
    require(ok, f"{_TABLE!r}", problem, "such a model has no counterpart here")


_WORDS = {
    **{"embedding.dense_0": "time_embedding.timembedding.1"},
    **{"embedding.dense_1": "time_embedding.timembedding.3", "first": "head"},
    **{"head.norm": "tail.0", "head.conv": "tail.2"},
    **{"middle_0": "middleblocks.0", "middle_1": "middleblocks.1"},
    "middle_attention": "middleblocks.0.attn",
}
_BLOCK = {
    **{"norm_0": "block1.0", "conv_0": "block1.2", "dense": "temb_proj.1"},
    **{"norm_1": "block2.0", "conv_1": "block2.3", "shortcut": "shortcut"},
    **{"norm": "group_norm", "query": "proj_q", "key": "proj_k", "value": "proj_v"},
    **{"out": "proj", "conv": "main"},
}


def named(path: str, blocks: int) -> str | Key:
    """The name of a parameter of `UNet` in pytorch-ddpm's state dict.

    Args:
      path: of ours.
      blocks: residual blocks a level; they are counted through all levels.
    """
    module, _, kind = path.rpartition(".")
    if path == "embedding.dense_0.kernel":
        return Key((f"{_WORDS['embedding.dense_0']}.weight",), _sines_first)
    if module in _WORDS:
        return same(f"{_WORDS[module]}.{kind}")
    way = re.fullmatch(
        r"(down|up)s\.(\d+)\.(?:(blocks|attentions)\.(\d+)|halve|double)\.(\w+)", module
    )
    if way is None:
        place, _, layer = module.partition(".")
        return same(f"{_WORDS.get(place, place)}.{_BLOCK.get(layer, layer)}.{kind}")
    per = blocks + (0 if way[1] == "down" else 1)
    index = int(way[2]) * (per + 1) + (int(way[4]) if way[4] else per)
    inner = "attn." if way[3] == "attentions" else ""
    return same(f"{way[1]}blocks.{index}.{inner}{_BLOCK[way[5]]}.{kind}")


def _sines_first(weight: Array) -> Array:
    """[out, in] with alternating columns, as [in, out] with the sines' rows first."""
    return np.concatenate([weight[:, 0::2], weight[:, 1::2]], axis=1).T
