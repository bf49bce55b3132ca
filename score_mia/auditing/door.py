"""The front door from Python: `load` a model, `audit` it, read the numbers.

The same stages and files as the command line, so that either goes on where the other
was. What exists in memory only, a model, its images, is handed over as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from score_mia.arrays import Key, Params
from score_mia.auditing import exposed, stages
from score_mia.auditing.exposed import Exposure, exposures
from score_mia.auditing.plan import Plan
from score_mia.auditing.plan import plan as planned
from score_mia.check import Incomplete, UserError, one_of, require
from score_mia.checkpoint import load_target, place, tree_digest
from score_mia.codecs import Bound
from score_mia.conditions import CONDITIONERS
from score_mia.data import SOURCES
from score_mia.data.local import in_memory
from score_mia.data.source import Source
from score_mia.data.split import Split
from score_mia.engine import Engine
from score_mia.files import digest
from score_mia.metrics.roc import Roc, roc
from score_mia.models import InMemory
from score_mia.networks import NETWORKS
from score_mia.networks.network import Network, Telling, spec_of
from score_mia.parameterisation import PARAMETERISATIONS
from score_mia.registry import make
from score_mia.results import AuditResult
from score_mia.sde import SDES
from score_mia.spec import CODECS, parts
from score_mia.storage import ObjectPath, existing, locate
from score_mia.target import Target

Array = Shaped[np.ndarray, "..."]


def load(path: str | Path, **spec: Any) -> Target:
    """A trained model, from files of score_mia, diffusers, pytorch-ddpm or score_sde.

    Args:
      path: a workdir, a target's folder or one of its snapshots; a folder that
        diffusers wrote (docs/models.md); or a file that pytorch-ddpm, score_sde or
        MIDM wrote.
      spec: sections of a config that say what a file's model is: network, sde,
        parameterisation, codec, and `shape=(h, w, c)`. pytorch-ddpm's says it itself
        (but for the shape, 32x32 if none is given), and so does a folder; of it they
        name the parts of your own packages that may be loaded.

    Raises:
      UserError: there is nothing of that kind, it is damaged, or a part is missing.
    """
    path = existing(path, "model")
    if isinstance(path, ObjectPath):
        allowed = [s["name"] for s in spec.values() if isinstance(s, Mapping)]
        return load_target(place(path), allow=allowed)
    if path.is_file():
        return _of_file(path, spec)
    of_diffusers = ("model_index.json", "config.json")
    workdir = (path / "split.npz").exists()  # which has a config.json as well
    if not workdir and any((path / name).is_file() for name in of_diffusers):
        from score_mia.interop.diffusers import read_folder

        given = read_folder(path, place=jnp.asarray)
        return parts(given.spec).target(given.params)
    folder = path / "target" if (path / "target" / "target.json").exists() else path
    allowed = [s["name"] for s in spec.values() if isinstance(s, Mapping)]
    return load_target(folder, allow=allowed)


def _of_file(path: Path, spec: Mapping[str, Any]) -> Target:
    from score_mia.interop import load_score_sde, pytorch_ddpm

    if not pytorch_ddpm.is_one(path):
        return load_score_sde(path, spec)
    side = {"size": int(spec["shape"][0])} if "shape" in spec else {}
    told = {**pytorch_ddpm.describe(path, **side), **spec}
    given = pytorch_ddpm.read_pytorch_ddpm(path, told)
    return parts(given.spec).target(jax.tree.map(jnp.asarray, given.ema))


def audit(
    target: Target | Mapping[str, Any] | str | Path,
    source: Array | Source | Mapping[str, Any],
    split: Array | Split | Mapping[str, Any],
    attacks: Mapping[str, Any],
    *,
    workdir: str | Path,
    how: Engine | None = None,
    **sections: Any,
) -> Audit:
    """Audit a model: attack it and measure, with the controls beside the attacks.

    Args:
      target: the model, or where `load` finds it; or, to be trained first, the
        sections sde, network, train, ... of a config.
      source: the images, [n, h, w, c] uint8 or floating point in [0, 1]; a `Source`;
        or a config's section data.
      split: of images in their order, which are members; a `Split`; or a config's
        section split.
      attacks: name -> entry of a config's section attacks.
      workdir: folder in which everything is kept; what is there already is not
        computed again.
      how: tile, shard and devices; None for `Engine()`.
      sections: other sections of a config (title, seed, quality, report, ...).

    Returns:
      The audit, with its numbers. An attack that failed is among its failures.

    Raises:
      UserError: a mistake in the input, told in one line.
    """
    config = {**sections, "attacks": attacks}
    config["engine"] = dataclasses.asdict(how or Engine())
    plan = _plan(target, source, split, config)
    try:
        text = stages.run(plan, workdir)
    except Incomplete as error:  # the failures are in the result
        text = error.done
    return Audit(plan, locate(workdir), text.rpartition("\n")[0])


@dataclasses.dataclass(frozen=True, eq=False)
class Audit:
    """A finished audit in its workdir.

    Attributes:
      plan: what was done.
      folder: the workdir.
      text: the table that the command line prints.
    """

    plan: Plan
    folder: Path
    text: str

    @functools.cached_property
    def result(self) -> AuditResult:
        """Every number with its interval, as metrics.json has them."""
        return AuditResult.load(self.folder)

    def table(self) -> str:
        """Every attack's numbers side by side, as the command line prints them."""
        return self.text

    def scores(self, attack: str) -> list[Exposure]:
        """What an attack says of each image: the most exposed members first."""
        ids, member, scores = self._kept(attack)
        return exposures(ids, member, scores, self.plan.source())

    def curve(self, attack: str) -> Roc:
        """The ROC of an attack: every step of it, members the positive class."""
        _, member, scores = self._kept(attack)
        return roc(scores, member)

    def report(self) -> Path:
        """The page."""
        return self.folder / "report" / "index.html"

    def _kept(self, attack: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one_of("attack", attack, self.result.scored)
        return exposed.load(self.folder, attack)


def _plan(target: Any, source: Any, split: Any, config: dict[str, Any]) -> Plan:
    """The plan of a config and of what `audit` was handed beside it."""
    given: dict[str, Any] = {}
    if isinstance(source, Mapping):
        images, config["data"] = make("data set", SOURCES, source), source
    else:
        images = in_memory(source) if isinstance(source, np.ndarray) else source
        # Named for the record; whoever builds this config without them is told so.
        config["data"] = {"name": f"{__name__}:absent_images", "digest": images.digest}
    given["source"] = lambda: images
    config["split"] = split if isinstance(split, Mapping) else _lists(split, images)
    model = load(target) if isinstance(target, str | Path) else target
    config |= _sections(model, images.shape) if isinstance(model, Target) else model
    plan = planned(config)
    if isinstance(model, Target):
        kind = dataclasses.replace(plan.known, networks=Held(model))
        given |= {"target": InMemory.of(model), "model": kind}
    return dataclasses.replace(plan, **given)


@dataclasses.dataclass(frozen=True)
class Held:
    """What makes the network of a model in memory: there it is.

    Attributes:
      model: whose.
    """

    model: Target

    def build(self, shape: tuple[int, int, int]) -> Network:
        """The network; `init` gives the parameters that it has."""
        del shape
        apply, embed = self.model.apply, self.model.embed
        if embed is None:
            return Network(self.init, apply)
        return Telling(self.init, apply, embed)

    def init(self, key: Key) -> Params:
        """The parameters, whatever the key."""
        del key
        return self.model.params


def absent_images(digest: str) -> Source:
    """In the place of images that an audit was handed in memory."""
    raise UserError(
        f"data: the images (digest {digest}) were handed over in memory and are kept "
        "nowhere; call score_mia.audit with them again, or give data=dict(name=...)"
    )


@dataclasses.dataclass(frozen=True)
class AbsentNetwork:
    """In the place of a network that is a function in memory.

    Attributes:
      function: its name, for the record.
      digest: of what it computes, so that another function is noticed.
    """

    function: str
    digest: str = ""

    def build(self, shape: tuple[int, int, int]) -> Network:
        """Refused: there is nothing to build it from."""
        raise UserError(
            f"network {self.function!r} was handed over in memory, for images of shape "
            f"{shape}, and nothing says how to build it; call score_mia.audit with the "
            "target again"
        )


def _sections(target: Target, shape: tuple[int, int, int]) -> dict[str, Any]:
    """The sections of a config that describe a model in memory."""
    spec = spec_of(target.apply)
    if spec is None:
        size = (1, *target.codec.shape(shape))
        x, label = jax.ShapeDtypeStruct(size, np.float32), np.zeros(1, np.float32)
        program = jax.make_jaxpr(target.apply)(target.params, x, label)
        # Addresses of Python's objects in it are of this process alone.
        text = re.sub(r"0x[0-9a-f]+", "", str(program))
        constants = (np.asarray(c) for c in program.consts)
        spec = AbsentNetwork(_name(target.apply), digest(text, *constants))
    codec, told = target.codec, target.conditioner
    codec = codec.kind if isinstance(codec, Bound) else codec
    told = _entry("conditioner", CONDITIONERS, told) if told else None
    return {
        **({} if told is None else {"conditioner": told}),
        "network": _entry("network", NETWORKS, spec),
        "sde": _entry("sde", SDES, target.sde),
        "parameterisation": _entry(
            "parameterisation", PARAMETERISATIONS, target.parameterisation
        ),
        "codec": _entry("codec", CODECS, codec),
        "target": {"name": "memory", "digest": tree_digest(target.tree)},
    }


def _name(function: Any) -> str:
    kind = function if inspect.isfunction(function) else type(function)
    return f"{kind.__module__}.{kind.__qualname__}"


def _entry(family: str, table: Mapping[str, Any], part: Any) -> dict[str, Any]:
    """The entry of a config that makes this part."""
    ok = dataclasses.is_dataclass(part)
    problem = "is no dataclass, so that a config cannot name its fields"
    remedy = "make it a frozen dataclass of plain fields"
    require(ok, f"{family} {type(part).__name__}", problem, remedy)
    names = {kind: name for name, kind in table.items()}
    own = f"{type(part).__module__}:{type(part).__qualname__}"
    return {"name": names.get(type(part), own), **dataclasses.asdict(part)}


def _lists(split: Array | Split, source: Source) -> dict[str, Any]:
    """The section split of a config that makes these roles."""
    if isinstance(split, Split):
        split.check(source)
        known = split.reference
        lists = {
            "members": split.ids[split.member & ~known],
            "nonmembers": split.ids[~split.member & ~known],
            "reference_members": split.ids[split.member & known],
            "reference_nonmembers": split.ids[~split.member & known],
            "auxiliary": split.auxiliary,
            "unjudged": split.unjudged,
        }
        return {"name": "listed", **_plain(lists)}
    member = np.asarray(split)
    ok = member.shape == source.ids.shape and member.dtype == bool
    problem = f"is no mask of the {len(source.ids)} images"
    remedy = "give one True or False for each image, True for those trained on"
    require(ok, f"split of {member.dtype} {member.shape}", problem, remedy)
    both = bool(member.any()) and not member.all()
    require(both, "split", "has one class only", "give members and non-members")
    lists = {"members": source.ids[member], "nonmembers": source.ids[~member]}
    return {"name": "files", **_plain(lists)}


def _plain(lists: Mapping[str, np.ndarray]) -> dict[str, list[int]]:
    return {name: ids.tolist() for name, ids in lists.items() if len(ids)}
