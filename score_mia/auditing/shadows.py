"""Shadow models of an audit: trained like its target, read like it, on other members.

    shadows/03-1a2b3c4d5e6f/    a workdir in miniature, under what decides it:
        split.npz               who is in its training set
        target/                 as the target's own; resumable
        signals/, products/     what is read off it

Another `shadows` section trains others beside these; a larger count goes on with them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from score_mia.attacks.protocol import Attack
from score_mia.auditing.plan import Plan, plan
from score_mia.auditing.ready import abstract_target
from score_mia.auditing.sections import SEEDS
from score_mia.auditing.work import Work
from score_mia.checkpoint import (
    describe,
    has_arrays,
    has_state,
    place,
    target_digest,
)
from score_mia.data.shadows import Shadows
from score_mia.files import json_digest
from score_mia.models import Finetuned
from score_mia.models.kept import told
from score_mia.readings import Readings, joined
from score_mia.rows import is_whole
from score_mia.spec import FAMILIES
from score_mia.storage import remove_tree
from score_mia.target import Target


class Shadow(Work):
    """A shadow model's workdir, with a plan and a split of its own, looked at only.

    What was read off it is found by its digest: no weights are loaded for that.
    """

    @cached_property
    def target(self) -> Target:
        """The shapes of the shadow."""
        return abstract_target(self.plan, self.source.shape)

    @property
    def whole(self) -> Work:
        """The same workdir, whose target is the trained shadow."""
        return Work(self.plan, self.folder, self.source, self.split, self.host)

    @cached_property
    def digest(self) -> str:
        """Of the shadow, with its weights or without."""
        params = describe(self.target_folder)["digest"]["ema"]
        meaning = self.plan.known.at(self.source.shape).target(None)
        return target_digest(meaning, params)

    @property
    def is_kept(self) -> bool:
        """Whether it is trained and its weights are there."""
        return self.is_trained and has_arrays(self.target_folder)

    def is_read(self, names: Sequence[str]) -> bool:
        """Whether these signals were read off it."""
        if not self.is_trained:
            return False
        return all(is_whole(self.signal_folder(self.reader(name))) for name in names)

    def prepare(self) -> None:
        """Write who is in it, and forget a description whose weights are gone."""
        self.split.save(self.folder / "split.npz")
        gone = self.is_trained and not self.is_kept
        if gone and not has_state(self.target_folder):
            (self.target_folder / "target.json").unlink()

    def forget(self) -> None:
        """Remove its weights; what was read off it stays."""
        for pattern in ("ema-*", "params-*", "state"):
            for path in self.target_folder.glob(pattern):
                remove_tree(path)


def others(
    work: Work, attack: Attack, train: Callable[[Work], None]
) -> tuple[Readings, ...]:
    """Labelled readings of every shadow model, for an attack that knows them.

    Args:
      work: the audit.
      attack: whose signals are read; one that knows no shadows gets none.
      train: brings the target of a workdir into it, or goes on with that.
    """
    return tuple(_read(one, attack, train) for one in known_to(work, attack))


def spent(work: Work, attack: Attack) -> float:
    """Seconds that the shadows of an attack took: their training, and its signals."""
    total = 0.0
    for one in known_to(work, attack):
        if one.is_trained:
            total += describe(one.target_folder)["provenance"]["seconds"]
            total += sum(map(one.spent, attack.signals))
    return total


def known_to(work: Work, attack: Attack) -> tuple[Shadow, ...]:
    """The shadow models that an attack knows, trained or not; none if it knows none."""
    if attack.knows != "shadows":
        return ()
    config = work.plan.shadows[attack.shadows]
    return tuple(shadow(work, number, config) for number in range(config.count))


def shadow(work: Work, number: int, config: Shadows) -> Shadow:
    """One of the models of a set, trained or not."""
    own, train = _kind(work.plan, config.base), work.plan.train
    assert own.trained is not None
    assert train is not None
    split = config.split(work.split, number, work.plan.seed)
    seed = (train.seed + 1 + number) % (1 + SEEDS[1])
    settings = dataclasses.replace(train, seed=seed, snapshot_every=None)
    model = dataclasses.replace(own.trained, train=settings, snapshot="last")
    own = dataclasses.replace(own, target=model)
    made = {
        "spec": own.spec(work.source.shape),
        "train": settings.science(own.known.sde.clock),
        "steps": settings.steps,
        "start": model.begins_with,
        "split": split.fingerprint,
    }
    name = f"{number:02d}-{json_digest(made)[:12]}"
    return Shadow(own, work.folder / "shadows" / name, work.source, split, work.host)


def _kind(target: Plan, base: str | Mapping[str, Any] | None) -> Plan:
    """The plan with the shadows' own family of models, or their own base."""
    if base is None:
        return target
    entry, tuned = target.config["target"], isinstance(target.trained, Finetuned)
    if isinstance(base, Mapping) and base.keys() <= {*FAMILIES}:
        # Conventions are the process's, unless they are given.
        left = ("parameterisation", "codec") if "sde" in base else ()
        config = {k: v for k, v in target.config.items() if k not in left}
        fresh = {} if tuned else entry
        return plan({**config, **base, "target": fresh})
    config = {k: v for k, v in target.config.items() if k not in FAMILIES}
    if tuned:
        return plan({**config, "target": {**entry, "base": base}})
    own = told(place(str(base)))
    return plan({**config, **own, "target": {**entry, "start": base}})


def _read(one: Shadow, attack: Attack, train: Callable[[Work], None]) -> Readings:
    """An attack's signals off one shadow, trained for that if need be."""
    config, names = one.plan.shadows[attack.shadows], [*attack.signals]
    where: Work = one
    if not one.is_read(names):
        if one.host.first:
            one.prepare()
            train(one.whole)
        else:
            # Its weights may be gone again by now.
            one.host.wait_for(
                f"shadow {one.folder.name}", lambda: one.is_kept or one.is_read(names)
            )
        one = dataclasses.replace(one)  # what was known of it before is outdated
        where = one.whole
    readings = joined({name: where.collect(name) for name in names})
    every = one.plan.read_off(attack.shadows)
    if one.host.first and not config.weights and one.is_read([*every]):
        one.forget()
    return dataclasses.replace(readings, member=one.split.member)
