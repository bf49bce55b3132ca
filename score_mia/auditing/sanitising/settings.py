"""From a config to the settings of a sanitisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from score_mia.auditing.plan import made_source
from score_mia.auditing.sections import SEEDS, plain
from score_mia.check import UserError, at_least, did_you_mean, one_of, require, within
from score_mia.data.duplicates import PUBLISHED, Bins
from score_mia.data.filtering import CLASSIFIERS, Classifier, How
from score_mia.data.pools import Pool, Where, conditions
from score_mia.data.source import Source
from score_mia.encoders import ENCODERS, Encoder, usual_encoder
from score_mia.fields import check_value
from score_mia.registry import make, require_has, section

REQUIRED = ("data", "members", "nonmembers")
OPTIONAL = ("title", "seed", "encoder", "duplicates", "rounds", "report")

KINDS = ("image", "caption")
"""What the rounds may tell images apart by."""


@dataclasses.dataclass(frozen=True, eq=False)
class DuplicatesConfig:
    """Which candidates are near-duplicates of what may be in training.

    Attributes:
      threshold: of the Euclidean distance of unit-norm features, 0 ... 2: a candidate
        stays if its nearest neighbour is at least so far. The default is LAION-mi's,
        for CLIP ViT-L/14 and for nothing else: set it by judged pairs.
      neighbours: the images that may be in training. Default: the members' pool, those
        that its conditions leave out included.
      index: a file of neighbours that another search found, in their place; candidates
        without a usable one are dropped.
      where: conditions on further columns of that file, as those of a pool.
    """

    threshold: float = PUBLISHED
    neighbours: Pool | None = None
    index: str | Path | None = None
    where: Where = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        within("duplicates.threshold", self.threshold, 0.0, 2.0)
        one = self.neighbours is None or self.index is None
        problem = "give both neighbours and an index of them"
        require(one, "duplicates", problem, "leave one out")
        remedy = "give duplicates.index, or put them into the pool's own where"
        asked = not self.where or self.index is not None
        require(
            asked, "duplicates.where", "is about an index, and there is none", remedy
        )
        conditions(self.where)


@dataclasses.dataclass(frozen=True, eq=False)
class RoundsConfig:
    """How members and non-members are made alike.

    Attributes:
      classifiers: one a round, by name or as dict(name=..., ...); () tests and filters
        nothing.
      features: what they see: "image" (the encoder's), "caption", or both.
      prompts: an npz of a text encoder's features of the captions, arrays "features"
        and "files" or "ids"; None for hashed words.
      components: principal components of each kind of features.
      keep: "overlap" thins both pools to the law that they share; "matched" thins the
        members to the law of the non-members, who all stay; "misclassified" keeps the
        members that every classifier takes for non-members, as LAION-mi does.
      shares: of either pool in the parts fit, select and test.
      folds: classifiers of a round, each trained on all but one fold of fit.
      most: images of either class that a round trains on at most.
      least: images of either class that must be left in select and in test.
      until: p-value on select from which on no further round is due; the first is due
        if the interval of the AUC leaves out 1/2.
      permutations: of each test.
      level: of its interval.
    """

    classifiers: tuple[str | Mapping[str, Any], ...] = ("linear", "mlp", "wide_mlp")
    features: tuple[str, ...] = ("image",)
    prompts: str | Path | None = None
    components: int = 64
    keep: str = How.keep
    shares: tuple[float, float, float] = How.shares
    folds: int = How.folds
    most: int = How.most
    least: int = How.least
    until: float = How.until
    permutations: int = 999
    level: float = 0.95

    def __post_init__(self) -> None:
        require(len(self.features) > 0, "rounds.features", "is empty", "give some")
        for name in self.features:
            one_of("rounds.features", name, KINDS)
        asked = self.prompts is None or "caption" in self.features
        problem = "is given, and no classifier sees captions"
        remedy = "add 'caption' to rounds.features"
        require(asked, "rounds.prompts", problem, remedy)
        at_least("rounds.components", self.components, 1)
        at_least("rounds.permutations", self.permutations, 99)
        within("rounds.level", self.level, 0.5, 0.999)
        _ = self.how(0), self.made

    def how(self, seed: int) -> How:
        """Its part that the filtering itself asks for."""
        limits = (self.folds, self.most, self.least, self.until)
        return How(self.keep, self.shares, *limits, seed)

    @property
    def made(self) -> list[tuple[str, Classifier]]:
        """Name and classifier of each round."""
        result = []
        for spec in self.classifiers:
            entry = {"name": spec} if isinstance(spec, str) else spec
            one = make("classifier", CLASSIFIERS, entry)
            require_has("classifier", one, ("estimator",))
            result.append((str(entry["name"]), one))
        return result


@dataclasses.dataclass(frozen=True)
class SanitisedReport:
    """What is written beside the lists.

    Attributes:
      pairs: how many pairs of each bin are drawn for a person to judge; 0 for none.
      bins: edges of the bins of distance.
      judged: a copy of pairs.csv in which the column `duplicate` says yes or no; by
        default the workdir's own.
      pictures: whether pairs.html shows these pairs. Whoever is handed it is handed
        these images.
    """

    pairs: int = 100
    bins: tuple[float, ...] = Bins.edges
    judged: str | Path | None = None
    pictures: bool = False

    def __post_init__(self) -> None:
        at_least("report.pairs", self.pairs, 0)
        Bins(self.bins)


@dataclasses.dataclass(frozen=True, eq=False)
class Sanitising:
    """A whole sanitisation, built but not begun.

    Attributes:
      config: plain JSON values.
      title, seed: of the run; the seed decides parts, classifiers and drawn pairs.
      source: makes the data.
      members, nonmembers: the pools.
      encoder: by whose features images are compared.
      duplicates, rounds, report: the stages' settings.
    """

    config: Mapping[str, Any]
    title: str
    seed: int
    source: Callable[[], Source]
    members: Pool
    nonmembers: Pool
    encoder: Encoder
    duplicates: DuplicatesConfig
    rounds: RoundsConfig
    report: SanitisedReport


def plan(config: Any) -> Sanitising:
    """Build it from a ConfigDict (or mapping); every mistake is a UserError."""
    config = plain(config)
    for name in config:
        if name not in (*REQUIRED, *OPTIONAL):
            remedy = did_you_mean(name, (*REQUIRED, *OPTIONAL))
            raise UserError(f"config has no section {name!r}; {remedy}")
    for name in REQUIRED:
        require(name in config, f"config section {name!r}", "is missing", "add it")
    for name, value in config.items():
        wanted = {"title": str, "seed": int}.get(name, Mapping)
        check_value("config", name, value, wanted)
    seed = config.get("seed", 0)
    within("config: seed", seed, *SEEDS)

    def made(name: str, part: Callable[..., Any]) -> Any:
        return section("config section", name, part, config.get(name, {}))

    return Sanitising(
        config=config,
        title=config.get("title", "Two pools, made alike"),
        seed=seed,
        source=lambda: made_source(config["data"]),
        members=made("members", Pool),
        nonmembers=made("nonmembers", Pool),
        encoder=_encoder(config.get("encoder")),
        duplicates=made("duplicates", DuplicatesConfig),
        rounds=made("rounds", RoundsConfig),
        report=made("report", SanitisedReport),
    )


def _encoder(entry: Mapping[str, Any] | None) -> Encoder:
    encoder = usual_encoder() if entry is None else make("encoder", ENCODERS, entry)
    needed = ("name", "canonical", "fingerprint", "tile", "params", "apply")
    require_has("encoder", encoder, needed)
    return encoder
