"""The workdir of one audit: its config, its data and its split, opened and checked."""

from __future__ import annotations

import dataclasses
import functools
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from score_mia.attacks.prompts import Captioner, Given, decides, instead
from score_mia.attacks.protocol import AnySignal, Attack, Refinable, side_by_side
from score_mia.attacks.protocol import Columns as Measured
from score_mia.auditing.guard import require_same_split, require_same_target
from score_mia.auditing.plan import Plan
from score_mia.auditing.ready import require_ready
from score_mia.check import UserError, require
from score_mia.checkpoint import describe, load_target, target_digest
from score_mia.conditions import Columns, Conditions, gather
from score_mia.data.source import Source
from score_mia.data.split import Split
from score_mia.engine import Making, Reader, collect, make_product
from score_mia.files import digest, json_digest, load_json, load_sealed, save_json
from score_mia.hosts import ALONE, Host, TaskError
from score_mia.models import InMemory
from score_mia.readings import Readings, joined
from score_mia.rows import Shards, folder_of, is_whole, seconds
from score_mia.rules.scheme import calibrating
from score_mia.storage import workdir as check_workdir
from score_mia.target import Target
from score_mia.views import unprompted


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """A plan in its folder.

    Attributes:
      plan: what is to be done.
      folder: where.
      source, split: the data, and who is a member; the split is kept in split.npz.
      host: which of several processes this is.
    """

    plan: Plan
    folder: Path
    source: Source
    split: Split
    host: Host = ALONE
    _found: dict[str, AnySignal | Exception] = dataclasses.field(
        default_factory=dict, init=False, repr=False
    )

    @cached_property
    def target(self) -> Target:
        """The target under attack, read from its checkpoint."""
        self.require_trained()
        return self.load(self.step)

    @property
    def step(self) -> int:
        """Training step of the target under attack."""
        plan, trained = self.plan, self.plan.trained
        _ = plan.known
        if trained is None:
            return describe(self.folder / "target")["provenance"]["step"]
        if trained.metric is None:
            return trained.step or trained.train.steps
        path = self.folder / "selection.json"
        require(path.exists(), f"{path}", "does not exist", "run 'attack' or 'audit'")
        chosen = load_sealed(path, {"chosen": int}, remedy=_CHOOSE)["chosen"]
        require(chosen in plan.snapshots, f"{path}", f"names step {chosen}", _CHOOSE)
        return chosen

    @property
    def target_folder(self) -> Path:
        """Where the target under attack is kept."""
        return self.folder_of(self.step)

    def load(self, step: int) -> Target:
        """The target of one of the kept steps.

        Raises:
          UserError: it is missing, damaged, or another than the config and the split
            say.
        """
        folder = self.folder_of(step)
        self.require_same_target(folder)
        given = self.plan.target
        if isinstance(given, InMemory) and given.model is not None:
            return given.model
        return load_target(folder, allow=self.plan.names)

    def require_same_target(self, folder: Path) -> None:
        """Refuse a folder with another target than the config and the split say."""
        require_same_target(folder, self.plan, self.split, self.source.shape)

    @property
    def is_trained(self) -> bool:
        """Whether the training is finished, or there is none."""
        path = self.folder / "target" / "target.json"
        return self.plan.client is not None or path.exists()

    def require_trained(self) -> None:
        """Refuse to go on before the training is finished."""
        path = self.folder / "target"
        if not self.is_trained:
            raise UserError(
                f"{path} holds no trained target; run 'train' or 'audit' with this "
                "workdir first"
            )

    def folder_of(self, step: int) -> Path:
        """Where the target of a kept step is."""
        target, trained = self.folder / "target", self.plan.trained
        if trained is None or step == trained.train.steps:
            return target
        return target / "snapshots" / f"step-{step:06d}"

    def columns_told(self, signal: str) -> Columns:
        """What is known of images, as the model is told it for a signal."""
        prompt = self.plan.prompts.get(signal)
        if prompt is None:
            return self.source.columns
        if isinstance(prompt, Given):
            return instead(self.source.columns, prompt.column, prompt.values)
        # Made, or found, when the first tile asks; then every tile reads the same.
        made = functools.cache(functools.partial(self.captions, signal, prompt))
        return instead(
            self.source.columns, "caption", lambda ids: made().take("captions", ids)
        )

    def conditions(self, ids: np.ndarray, told: Columns | None = None) -> Conditions:
        """What the model is told of these images, by name; {} if it is told nothing.

        Args:
          ids: of the images.
          told: what is known of them, for a signal; None for the source's own.

        Raises:
          UserError: the data set has no such column, or values that the model does not
            know.
        """
        if self.plan.model is None:
            return {}
        told = self.source.columns if told is None else told
        return gather(self.plan.model.conditioner, told, ids)

    def prompts(self, ids: np.ndarray, told: Columns) -> tuple[Any, ...] | None:
        """What a service would be asked for, to draw images like these."""
        name = self.plan.asked.column
        if name is None:
            return None
        columns = told(ids, (name,))
        require(
            name in columns,
            f"target: prompt {name!r}",
            "is no column of the data",
            "give data that has it, or leave it out",
        )
        return tuple(columns[name])

    def captions(self, signal: str, captioner: Captioner) -> Shards:
        """What a captioner says of every image for a signal, made once and kept."""
        making, root = self._captioning(signal, captioner), self.folder / "products"
        return make_product(making, self.split.ids, root, self.host)

    def _captioning(self, signal: str, captioner: Captioner) -> Making:
        reader = dataclasses.replace(self.reader(signal), prompts=unprompted)
        return Making(captioner, reader)

    @cached_property
    def digest(self) -> str:
        """Of the model under attack: its parameters and meaning, or what is asked."""
        if self.plan.client is not None:
            # How it is asked changes no answer.
            entry = self.plan.config["target"]
            return json_digest({k: v for k, v in entry.items() if k != "polite"})
        return target_digest(self.target)

    def reader(self, name: str) -> Reader:
        """One of the plan's signals, to be read off the target.

        What a first pass over reference images is to refine is refined by then; where
        that failed, it is as it was, and cannot be collected.
        """
        signal = self.plan.signals[name]
        if isinstance(signal, Refinable) and name not in self._found:
            self._found[name] = self._attempted(name, signal)
        found = self._found.get(name, signal)
        return self._reading(name, signal if isinstance(found, Exception) else found)

    def first_pass(self, name: str) -> Reader | None:
        """What refines a signal, read of the reference images; None if nothing does."""
        signal = self.plan.signals[name]
        if not isinstance(signal, Refinable):
            return None
        return self._reading(name, signal.coarse)

    def is_refined(self, name: str) -> bool:
        """Whether a signal's first pass is over, or there is none."""
        first = self.first_pass(name)
        return first is None or is_whole(self._first_folder(first))

    def _attempted(self, name: str, signal: Refinable) -> AnySignal | Exception:
        """A failure of the signal itself is kept, for those attacks that read it."""
        try:
            return self._refine(name, signal)
        except UserError as error:
            if not isinstance(error, TaskError):
                raise
            return error
        except Exception as error:
            return error

    def _refine(self, name: str, signal: Refinable) -> AnySignal:
        first, split = self._reading(name, signal.coarse), self.split
        folder, products = self._first_folder(first), self.folder / "products"
        rows = collect(first, split.known, folder, self.host, products)
        rows = dataclasses.replace(rows, member=split.member[split.reference])
        # A threshold is set by images that had no part in what is read.
        held_out = calibrating(split.ids, split.reference & ~split.member)
        rows = rows.select(~held_out[split.reference])
        try:
            return signal.refined(first.view, rows)
        except UserError as error:
            raise TaskError(str(error)) from error

    def _first_folder(self, first: Reader) -> Path:
        return folder_of(first, self.split.known, self.folder / "signals")

    def _reading(self, name: str, signal: AnySignal) -> Reader:
        """A signal, to be read off the target as the plan's signal of this name is."""
        plan, told = self.plan, self.columns_told(name)
        return Reader(
            name,
            signal,
            self.target if plan.client is None else plan.client.generator,
            self.source,
            plan.seed,
            plan.engine,
            {"target": self.digest, **decides(plan.prompts.get(name))},
            functools.partial(self.conditions, told=told),
            functools.partial(self.prompts, told=told),
            plan.service(self.source.shape),
        )

    def columns(self, attack: Attack) -> Measured:
        """What an attack's signals measure, as its rule sees them."""
        measured = {name: self.reader(name).columns for name in attack.signals}
        return side_by_side(measured)

    def needed(self, reader: Reader) -> Int[np.ndarray, " n"]:
        """Ids of the images that a signal is read of.

        All, even where fewer would do, if the reading of all was begun before.
        """
        return self._place(reader)[0]

    def signal_folder(self, reader: Reader) -> Path:
        """Where a signal's numbers are kept: under what decides them, and its name."""
        return self._place(reader)[1]

    def _place(self, reader: Reader) -> tuple[Int[np.ndarray, " n"], Path]:
        every, root = self.split.ids, self.folder / "signals"
        ids = self.plan.needed(reader.name, self.split)
        whole = folder_of(reader, every, root)
        if len(ids) == len(every) or (whole / "manifest.json").exists():
            return every, whole
        return ids, folder_of(reader, ids, root)

    def collect(self, name: str) -> Readings:
        """One of the plan's signals of every image that an attack needs."""
        reader, found = self.reader(name), self._found.get(name)
        if isinstance(found, Exception):
            raise found
        (ids, folder), products = self._place(reader), self.folder / "products"
        return collect(reader, ids, folder, self.host, products)

    def evidence(self, attack: Attack) -> Readings:
        """An attack's signals, side by side, of the images that it needs."""
        readings = {name: self.collect(name) for name in attack.signals}
        needed = attack.needed(self.split)
        if len(needed) < len(self.split.ids):
            readings = {
                name: one.select(np.isin(one.ids, needed))
                for name, one in readings.items()
            }
        return joined(readings)

    def spent(self, name: str) -> float:
        """Seconds that a signal took, over all starts and hosts.

        What it reads counts as well (a model's images, captions), however many other
        signals share it: so long it would have taken alone.
        """
        reader, prompt = self.reader(name), self.plan.prompts.get(name)
        making = [Making(product, reader) for product in reader.signal.needs]
        if prompt is not None and not isinstance(prompt, Given):
            making.append(self._captioning(name, prompt))
        root, ids = self.folder / "products", np.sort(self.split.ids)
        folders = [folder_of(each, ids, root) for each in making]
        first = self.first_pass(name)
        folders += [] if first is None else [self._first_folder(first)]
        return sum(map(seconds, [self.signal_folder(reader), *folders]))

    def pictures(self, ids: np.ndarray, most: int) -> np.ndarray:
        """The first `most` images of these ids, [n, h, w, c] in [0, 1]."""
        return self.source.images(ids[:most])


_CHOOSE = "delete it and run again: it is chosen again from the samples that are kept"


def open_work(plan: Plan, workdir: str | Path, host: Host = ALONE) -> Work:
    """Open or begin the workdir of a plan; the first of several hosts writes there.

    Raises:
      UserError: see `look`; or the workdir cannot be written.
    """
    work = dataclasses.replace(look(plan, workdir), host=host)
    if not host.first:
        return work
    # Written only now: what is refused must not leave a trace.
    path = work.folder / "split.npz"
    if not path.exists():
        work.split.save(path)
    _record_config(plan, work.folder / "config.json")
    return work


def look(plan: Plan, workdir: str | Path) -> Work:
    """The workdir of a plan, looked at and not touched: it need not exist.

    Raises:
      UserError: the data cannot be read or have changed, the network does not take
        them, or the workdir holds another split or another target.
    """
    folder = check_workdir(workdir)
    source = plan.source()
    split = plan.split(source)
    path = folder / "split.npz"
    if path.exists():
        kept = Split.load(path)
        kept.check(source)
        require_same_split(path, kept, split)
        split = kept
    work = Work(plan, folder, source, split)
    require_ready(plan, source, split, plan.attacks)
    work.require_same_target(folder / "target")
    return work


def config_digest(config: Any) -> str:
    """Short digest of a resolved config."""
    return digest(json.dumps(config, sort_keys=True))


def _record_config(plan: Plan, path: Path) -> None:
    """Keep the config of the last command; an absent or damaged one is written anew."""
    try:
        same = load_json(path) == plan.config
    except UserError:
        same = False
    if not same:
        save_json(path, plan.config)
