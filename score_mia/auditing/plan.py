"""From a config to objects: the only room that knows every registry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from score_mia.attacks.prompts import Prompt
from score_mia.attacks.protocol import AnySignal, Attack
from score_mia.auditing.chosen import Asked, chosen
from score_mia.auditing.sections import CONTROLS, SEEDS, resolve
from score_mia.check import UserError, at_least, one_of, require, within
from score_mia.data import SOURCES, SPLITS
from score_mia.data.shadows import Shadows
from score_mia.data.source import Source
from score_mia.data.split import Split
from score_mia.encoders import ENCODERS, Encoder
from score_mia.engine import Engine
from score_mia.fields import check_value
from score_mia.metrics.copies import Copying
from score_mia.models import MODELS, Client, Finetuned, Model, Trained
from score_mia.registry import make, require_has, section
from score_mia.sampling import SAMPLERS, Service
from score_mia.spec import FAMILIES, Kind, build, names
from score_mia.train.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """What the report shows.

    Attributes:
      samples: how many samples of the target are drawn and shown.
      replicates: bootstrap replicates of every interval.
      level: coverage of the intervals.
      near_duplicates: RMSE in [0, 1] under which two images count as the same.
      grid_check: on how many images the likelihood's grid is checked against the
        adaptive solver; 0 for none.
      pictures: whether images of the data set, and samples, which may repeat them, are
        put on the page. Whoever is handed the report is handed these images.
      names: whether the names of the most exposed members' files are put on the page;
        scores.csv has all of them in any case.
    """

    samples: int = 32
    replicates: int = 1000
    level: float = 0.95
    near_duplicates: float = 10 / 255
    grid_check: int = 4
    pictures: bool = False
    names: bool = False

    def __post_init__(self) -> None:
        ok = isinstance(self.pictures, bool)
        problem = "is neither True nor False"
        remedy = "say True to put images on the page, or leave it out"
        require(ok, f"report.pictures={self.pictures!r}", problem, remedy)
        at_least("report.samples", self.samples, 0)
        at_least("report.replicates", self.replicates, 100)
        within("report.level", self.level, 0.5, 0.999)
        within("report.near_duplicates", self.near_duplicates, 0.0, 1.0)
        at_least("report.grid_check", self.grid_check, 0)


@dataclasses.dataclass(frozen=True)
class QualityConfig:
    """How the quality of samples is measured; without it, it is not.

    Attributes:
      encoder: by whose features samples and images are compared.
      samples: how many are drawn.
      reference: how many members, and as many non-members, they are compared with;
        None for as many as both groups have.
      seed: of the samples; None for the audit's.
    """

    encoder: Encoder
    samples: int = 256
    reference: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        at_least("quality.samples", self.samples, 3)
        if self.reference is not None:
            at_least("quality.reference", self.reference, 3)
        if self.seed is not None:
            within("quality.seed", self.seed, *SEEDS)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A whole audit, built but not begun.

    Attributes:
      config: the resolved config, plain JSON values.
      title, seed: of the audit; the seed keys training, signals and intervals.
      source, split: make the data source and, from it, the split.
      model: the target's process, conventions and network, but for the image shape;
        None for a service.
      target: where the target comes from.
      attacks, engine, report, sampler: the stages' settings.
      quality: how samples are judged, or None.
      shadows: sets of models that are trained beside the target, by name; "" is that of
        a config that has one set only.
      controls: which of `CONTROLS` stand beside the attacks.
      prompts: signal -> what its model is told in the place of each image's own prompt;
        no entry for those that are told that.
      guidance: weight of classifier-free guidance wherever images are drawn, the
        config's `sampler.guidance`; None for none. Scores are never guided by it.
      copies: what counts as a copy among the samples.
    """

    config: Mapping[str, Any]
    title: str
    seed: int
    source: Callable[[], Source]
    split: Callable[[Source], Split]
    model: Kind | None
    target: Model
    attacks: tuple[Attack, ...]
    sampler: Any
    engine: Engine
    report: ReportConfig
    quality: QualityConfig | None = None
    shadows: Mapping[str, Shadows] = dataclasses.field(default_factory=dict)
    controls: tuple[str, ...] = CONTROLS[:2]
    guidance: float | None = None
    prompts: Mapping[str, Prompt] = dataclasses.field(default_factory=dict)
    copies: Copying = dataclasses.field(default_factory=Copying)

    @property
    def trained(self) -> Trained | None:
        """The target's source, if it is trained here."""
        return self.target if isinstance(self.target, Trained) else None

    @property
    def train(self) -> TrainConfig | None:
        """How it is trained, if it is trained here."""
        return None if self.trained is None else self.trained.train

    @property
    def signals(self) -> dict[str, AnySignal]:
        """Name -> signal, of all that the attacks read."""
        return {n: s for attack in self.attacks for n, s in attack.signals.items()}

    def needed(self, signal: str, split: Split) -> Int[np.ndarray, " n"]:
        """Ids of the images that a signal is read of: those that an attack needs."""
        reading = [attack for attack in self.attacks if signal in attack.signals]
        return max((attack.needed(split) for attack in reading), key=len)

    def read_off(self, shadows: str) -> frozenset[str]:
        """Names of the signals that are read off one set of shadow models."""
        known = [a for a in self.attacks if a.knows == "shadows"]
        return frozenset(n for a in known if a.shadows == shadows for n in a.signals)

    @property
    def snapshots(self) -> tuple[int, ...]:
        """Training steps whose targets are kept, the last one's included."""
        return () if self.trained is None else self.trained.steps

    @property
    def client(self) -> Client | None:
        """The target, if it is somebody's service."""
        return self.target if isinstance(self.target, Client) else None

    @property
    def shown(self) -> int:
        """How many samples the page is about; none of a service."""
        return 0 if self.model is None else self.report.samples

    @property
    def quality_seed(self) -> int:
        """Of the samples that quality is measured on."""
        own = None if self.quality is None else self.quality.seed
        return self.seed if own is None else own

    @property
    def drawn(self) -> dict[int, int]:
        """Seed -> how many samples of the attacked target are drawn by it."""
        sets = {self.seed: self.shown} if self.shown else {}
        if self.model is not None and self.quality is not None:
            seed = self.quality_seed
            sets[seed] = max(sets.get(seed, 0), self.quality.samples)
        return sets

    @property
    def asked(self) -> Asked:
        """With what the model is asked."""
        return _asked(self.model, self.target)

    @property
    def known(self) -> Kind:
        """The model, where there is one.

        Raises:
          UserError: the target is a service.
        """
        if self.model is None:
            raise UserError(
                "target: of a service nothing but its images is known; take signals of "
                "access 'samples', and leave out what needs the model"
            )
        return self.model

    @property
    def names(self) -> frozenset[str]:
        """Names of the target's parts: what the user trusts a checkpoint to name."""
        return frozenset() if self.model is None else names(self.config)

    def service(self, shape: tuple[int, int, int]) -> Service | None:
        """How a target of this process is met by who has no network."""
        if self.model is None:
            return None
        how = (self.engine.rows, self.guidance)
        return Service(self.sampler, self.model.conditioner, shape, *how)

    def spec(self, shape: tuple[int, int, int]) -> dict[str, Any]:
        """What a checkpoint must say of itself to be loaded anywhere."""
        entries = {n: self.config[n] for n in FAMILIES if n in self.config}
        return {**entries, "shape": list(shape)}


def plan(config: Any) -> Plan:
    """Build a `Plan` from a ConfigDict (or mapping); every mistake is a UserError."""
    config = resolve(config)
    model = build(config, names(config)) if "sde" in config else None
    sampling = dict(config["sampler"])
    guidance = sampling.pop("guidance", None)
    if guidance is not None:
        check_value("sampler", "guidance", guidance, float)
    sampler = make("sampler", SAMPLERS, sampling)
    require_has("sampler", sampler, ("times", "evaluations", "run"))
    if model is not None:
        sampler.evaluations(model.sde)  # times that cannot be are told before training
    attacks = config["attacks"]
    require(len(attacks) > 0, "attacks", "none is given", "add one to the config")
    target = _target(config)
    made = chosen(attacks, config.get("signals", {}), _asked(model, target))
    result = Plan(
        config=config,
        title=config["title"],
        seed=config["seed"],
        source=lambda: made_source(config["data"]),
        split=lambda source: _split(config["split"], source),
        model=model,
        target=target,
        attacks=made.attacks,
        sampler=sampler,
        engine=_section(Engine, "engine", config["engine"]),
        report=_section(ReportConfig, "report", config["report"]),
        quality=_quality(config["quality"]) if "quality" in config else None,
        shadows=_shadows(config.get("shadows", {})),
        controls=tuple(config.get("controls", CONTROLS[:2])),
        guidance=guidance,
        prompts=made.prompts,
        copies=_section(Copying, "copies", config.get("copies", {})),
    )
    _check_shadows(result)
    _check_controls(result)
    _check_devices(result.engine)
    if result.trained is not None:
        within("train.seed", result.trained.train.seed, *SEEDS)
        _check_snapshot(result.trained, result.quality)
    return result


def made_source(entry: Mapping[str, Any]) -> Source:
    """The data of a config's section."""
    source = make("data set", SOURCES, entry)
    require_has(
        f"data set {entry['name']!r}",
        source,
        ("shape", "ids", "digest", "images", "columns"),
    )
    return source


def _split(entry: Mapping[str, Any], source: Source) -> Split:
    split = make("split", SPLITS, entry, source=source)
    ok = isinstance(split, Split)
    remedy = "let it return a score_mia.data.Split"
    require(ok, f"split {entry['name']!r}", f"made a {type(split).__name__}", remedy)
    return split


def _section(part: Callable[..., Any], name: str, fields: Mapping[str, Any]) -> Any:
    return section("config section", name, part, fields)


def _target(config: Mapping[str, Any]) -> Model:
    """Where the target comes from."""
    entry = {"name": "trained", **config["target"]}
    given = {}
    if "train" in config:
        given["train"] = _section(TrainConfig, "train", config["train"])
    target = make("target", MODELS, entry, **given)
    require_has("target", target, ("make",))
    return target


def _quality(fields: Mapping[str, Any]) -> QualityConfig:
    spec = fields.get("encoder", "random_conv")
    spec = {"name": spec} if isinstance(spec, str) else spec
    encoder = make("encoder", ENCODERS, spec)
    needed = ("name", "canonical", "fingerprint", "tile", "params", "apply")
    require_has("quality.encoder", encoder, needed)
    rest = {k: v for k, v in fields.items() if k != "encoder"}
    return section("config section", "quality", QualityConfig, rest, encoder=encoder)


def _shadows(entry: Mapping[str, Any]) -> dict[str, Shadows]:
    """One set of shadow models, or several by name."""
    if not entry:
        return {}
    named = all(isinstance(value, Mapping) for value in entry.values())
    if not named or set(entry) == {"base"}:
        return {"": _section(Shadows, "shadows", entry)}
    return {n: _section(Shadows, f"shadows.{n}", one) for n, one in entry.items()}


def _check_shadows(plan: Plan) -> None:
    """Require shadow models that can be trained where an attack wants them."""
    for attack in plan.attacks:
        where = f"attacks.{attack.name}"
        needed = attack.knows == "shadows"
        require(
            not needed or (len(plan.shadows) > 0 and plan.trained is not None),
            f"{where}.knows='shadows'",
            "needs shadow models, trained like a target that is trained here",
            "add shadows=dict(count=4)",
        )
        if attack.shadows or (needed and "" not in plan.shadows):
            one_of(f"{where}.shadows", attack.shadows, plan.shadows)
        problem = "names shadow models that its rule does not know"
        remedy = "say knows='shadows', or leave it out"
        require(needed or not attack.shadows, f"{where}.shadows", problem, remedy)
    for one in plan.shadows.values():
        fields = {*one.base} if isinstance(one.base, Mapping) else set()
        if isinstance(plan.target, Finetuned) and not fields <= {*FAMILIES}:
            dataclasses.replace(plan.target, base=one.base)  # tells what is wrong
            continue
        for field in sorted(fields):
            one_of("shadows.base field", field, FAMILIES)


def _check_devices(engine: Engine) -> None:
    """Require as many devices as there are."""
    if engine.devices is not None:
        there = jax.local_device_count()
        ok = 1 <= engine.devices <= there
        problem = f"is not from 1 to {there}, the devices that are here"
        remedy = "give one of these, or None for all"
        require(ok, f"engine.devices={engine.devices!r}", problem, remedy)


def _check_snapshot(target: Trained, quality: QualityConfig | None) -> None:
    """Tell before training what would keep the wanted snapshot from being there."""
    wanted = f"target.snapshot={target.snapshot!r}"
    if target.step is not None:
        ok = target.step in target.steps
        remedy = f"set train.snapshot_every, or give one of {list(target.steps)[-8:]}"
        require(ok, wanted, "is no step at which a target is kept", remedy)
    if target.metric is None:
        return
    if quality is None:
        raise UserError(
            f"{wanted} needs to know how quality is measured; add "
            "quality=dict(encoder=...)"
        )
    remedy = "set train.snapshot_every below train.steps"
    require(len(target.steps) > 1, wanted, "has one target to choose from", remedy)
    require(
        target.snapshot != "best_fid" or quality.encoder.canonical,
        wanted,
        f"needs FID's own encoder, not {quality.encoder.name!r}",
        'give quality.encoder=dict(name="inception", weights=...), or say "best_fd"',
    )


def _asked(model: Kind | None, target: Model) -> Asked:
    """With what the model is asked: it may have been given its prompts' column."""
    conditioner = None if model is None else model.conditioner
    if isinstance(target, Client):
        return Asked(target.prompt, None)
    names = () if conditioner is None else conditioner.columns
    return Asked(names[0] if len(names) == 1 else None, conditioner)


def _check_controls(plan: Plan) -> None:
    for name in plan.controls:
        one_of("controls", name, CONTROLS)
    told = plan.model is None or plan.model.conditioner is not None
    for name, there, remedy in (
        ("untrained", plan.model is not None, "a network"),
        ("generated", not told and plan.shown > 0, "no conditioner, and samples"),
    ):
        require(
            there or name not in plan.controls,
            f"controls: {name!r}",
            f"cannot be had of this target: it needs {remedy}",
            "leave it out (or raise report.samples)",
        )
