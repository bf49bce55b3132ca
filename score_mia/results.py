"""The numbers of an audit, typed: what metrics.json holds, and how it is read.

    AuditResult.load(folder)      version 2, and version 1 of score_mia 0.2
    AuditResult.save(folder)      metrics.json, and timings.json beside it

What hangs on the machine (seconds, devices) is in timings.json, so that metrics.json
can be compared to the bit. results.schema.json describes it to other programs. A number
that is not there is None; one that is not finite is refused (`typed`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from score_mia.check import require
from score_mia.earlier import from_version_1
from score_mia.files import AGAIN, load_json, load_sealed, save_sealed
from score_mia.guarantee import Privacy
from score_mia.guarantee import Profile as Profile
from score_mia.storage import locate
from score_mia.typed import from_json, to_json

SCHEMA = 2
METRICS, TIMINGS = "metrics.json", "timings.json"


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
      value: the estimate; None where the images cannot resolve it.
      low, high: limits of the interval; what can be said even without a value.
      resolvable: False where fpr * n_nonmembers < 1.
      fpr_upper: of a TPR at zero false positives: how large the FPR may really be.
    """

    value: float | None
    low: float | None
    high: float | None
    resolvable: bool = True
    fpr_upper: float | None = None

    @property
    def known(self) -> bool:
        """Whether there is a number, and an interval beside it."""
        parts = (self.value, self.low, self.high)
        return self.resolvable and None not in parts

    @property
    def interval(self) -> tuple[float, float, float]:
        """Value, low and high of an estimate that is known."""
        value, low, high = self.value, self.low, self.high
        if value is None or low is None or high is None:
            raise ValueError(f"{self} has no number")
        return value, low, high


UNKNOWN = Estimate(None, None, None, False)
"""In the place of an estimate that an attack does not have."""


@dataclasses.dataclass(frozen=True)
class Distance:
    """A distance between two sets of images, seen by an encoder.

    Attributes:
      value: the estimate; KID may fall below 0, being unbiased.
      low, high: limits of its interval, None where there is none.
      n, features: images in either set; numbers that the encoder gives for one.
    """

    value: float
    low: float | None
    high: float | None
    n: tuple[int, int]
    features: int = 0


@dataclasses.dataclass(frozen=True)
class FixedThreshold:
    """The rates at a threshold that was fixed on known non-members.

    Attributes:
      threshold: member means strictly above.
      tpr, fpr, nominal_fpr: on the images under evaluation; what it was set for.
    """

    threshold: float
    tpr: Estimate
    fpr: Estimate
    nominal_fpr: float | None = None

    @property
    def above_nominal(self) -> bool:
        """Whether the FPR's exact lower limit exceeds what the threshold was set for.

        The limit is Clopper & Pearson's at the report's level (wider for cross-fitted
        scores): of thresholds that keep their FPR, (1 - level) / 2 at most are above.
        """
        low, nominal = self.fpr.low, self.nominal_fpr
        return low is not None and nominal is not None and low > nominal


@dataclasses.dataclass(frozen=True)
class EpsilonBound:
    """What scores prove about epsilon, and what perfect ones would."""

    value: float
    largest: float
    delta: float
    level: float


@dataclasses.dataclass(frozen=True)
class GridError:
    """The error of a likelihood's grid over some images, in bits/dim."""

    mean: float
    max: float
    images: int


@dataclasses.dataclass(frozen=True)
class AsPublished:
    """An attack counted as Hu & Pang 2023 count: non-members are positive."""

    auc: float
    tpr_at_fpr: Mapping[float, float]
    positive_class: str = "nonmember"


@dataclasses.dataclass(frozen=True)
class SetFinding:
    """What a test of sets says of some non-members, whom it must not accuse."""

    images: int
    p_value: float | None = None
    share: Estimate | None = None


@dataclasses.dataclass(frozen=True)
class AttackResult:
    """One attack's numbers, or why it has none.

    Attributes:
      access, title: the least access that suffices; how people call it.
      knows, chosen: what its rule was fitted on; what the fit settled on.
      kind: what it says something about: one "image" after the other, or a "set".
      failed: why there are no numbers; None for an attack that worked.
      members, nonmembers, non_finite: judged; left out for a value that is not finite.
      known_members: of these, such as the attacker knew and learned of.
      calibration_nonmembers, level: what set the fixed threshold; of the intervals.
      auc, balanced_accuracy, tpr_at_fpr, tpr_at_zero_fp: see `metrics.intervals`.
      mirrored: TPRs of the negated scores, where the AUC's interval lies below 0.5.
      at_fixed_threshold, epsilon_lower_bound, accuracy, as_published: where it has one.
      network_evaluations_per_image, queries_per_image: its cost; None if unknown.
      excess: of cross-fitted scores, their variance over that of independent ones.
      margin, permuted, untrained: its AUC less the blind control's; with shuffled
        labels; before training.
      generated: share of the target's own images above the fixed threshold.
      p_value, share, innocent: of a test of sets, for members, and for non-members;
        `nonmembers` is how many they were held against.
    """

    access: str = ""
    knows: str = "none"
    title: str = ""
    kind: Literal["image", "set"] = "image"
    chosen: str = ""
    failed: str | None = None
    members: int = 0
    nonmembers: int = 0
    known_members: int = 0
    non_finite: int = 0
    calibration_nonmembers: int = 0
    level: float = 0.95
    auc: Estimate = UNKNOWN
    balanced_accuracy: Estimate = UNKNOWN
    tpr_at_fpr: Mapping[float, Estimate] = dataclasses.field(default_factory=dict)
    tpr_at_zero_fp: Estimate = UNKNOWN
    mirrored: Mapping[float, Estimate] = dataclasses.field(default_factory=dict)
    at_fixed_threshold: FixedThreshold | None = None
    epsilon_lower_bound: EpsilonBound | None = None
    accuracy: GridError | None = None
    as_published: AsPublished | None = None
    network_evaluations_per_image: float | None = None
    queries_per_image: float | None = None
    excess: float | None = None
    margin: Estimate | None = None
    permuted: Estimate | None = None
    untrained: Estimate | None = None
    generated: Estimate | None = None
    p_value: float | None = None
    share: Estimate | None = None
    innocent: SetFinding | None = None

    @property
    def rates(self) -> tuple[float, ...]:
        """The false-positive rates it has a TPR at, highest first."""
        return tuple(sorted(self.tpr_at_fpr, reverse=True))


@dataclasses.dataclass(frozen=True)
class Imported:
    """Whence a target came that was not trained here."""

    file: str
    format: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A snapshot that could have been attacked: its samples' distances to members."""

    step: int
    kid: Distance
    frechet: Distance


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Which of a run's targets was attacked, and among which it was chosen by what."""

    rule: str | int = "last"
    by: str = ""
    frechet_name: str = ""
    candidates: tuple[Candidate, ...] = ()


@dataclasses.dataclass(frozen=True)
class Distances:
    """Two sets of images, held against each other."""

    kid: Distance
    frechet: Distance


@dataclasses.dataclass(frozen=True)
class Closer:
    """By how much samples are nearer to members as a set: `metrics.image.closer`.

    Its test accuses `alarms` of `trials` sets of non-members at `alpha`.
    """

    difference: Distance
    p_value: float
    alarms: int
    trials: int
    alpha: float = 0.05


@dataclasses.dataclass(frozen=True)
class Quality:
    """How far the target's samples are from images of either group.

    Attributes:
      encoder, features: who looked, and at how many numbers.
      frechet_name: what the Fréchet distance may be called.
      sampler: its entry of the config.
      network_evaluations_per_sample: None for an adaptive one.
      members, nonmembers: samples to these.
      members_to_nonmembers: what perfect samples would reach.
      level: of the intervals; fingerprint to seed: what decided it, besides.
      closer: which group the samples are nearer to as a set.
    """

    encoder: str
    features: int
    frechet_name: str
    sampler: Mapping[str, Any]
    network_evaluations_per_sample: float | None
    members: Distances
    nonmembers: Distances
    members_to_nonmembers: Distances
    level: float = 0.95
    fingerprint: str = ""
    samples: int = 0
    reference: int | None = None
    seed: int = 0
    closer: Closer | None = None

    def to(self, group: str, measure: str) -> Distance:
        """The samples' "kid" or "frechet" to "members" or "nonmembers"."""
        pair = self.members if group == "members" else self.nonmembers
        return pair.kid if measure == "kid" else pair.frechet


@dataclasses.dataclass(frozen=True)
class TargetFacts:
    """The model under attack.

    Attributes:
      digest: of its parameters.
      sde, network: their entries of the config.
      parameters, steps, members: how many, of each.
      privacy, imported, quality: where it has these.
      snapshot: which of the run's targets it is.
      service: its entry of the config, where nothing but its images is known.
    """

    digest: str = ""
    sde: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    network: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    parameters: int = 0
    steps: int = 0
    members: int = 0
    privacy: Privacy | None = None
    imported: Imported | None = None
    snapshot: Snapshot = Snapshot()
    quality: Quality | None = None
    service: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SplitCounts:
    """How many images the groups have: under evaluation, and known to rules."""

    members: int = 0
    nonmembers: int = 0
    reference: int = 0


@dataclasses.dataclass(frozen=True)
class Blind:
    """What tells the groups apart that never saw the model.

    Attributes:
      auc: of a classifier.
      members, nonmembers: how many it looked at.
      p_value: of equal groups, by the means of the classifier's features
        (`metrics.means.differ`); up to version 0.4 by the AUC.
    """

    auc: Estimate
    members: int
    nonmembers: int
    p_value: float | None = None


@dataclasses.dataclass(frozen=True)
class NearDuplicates:
    """Images that stand on both sides of the split, up to an RMSE of `threshold`.

    Attributes:
      complete: whether all pairs were looked at; if not, there may be more.
    """

    pairs: int
    exact_pairs: int
    members: int
    nonmembers: int
    threshold: float
    complete: bool = True


@dataclasses.dataclass(frozen=True)
class Repeats:
    """Members that nearly repeat each other, up to an RMSE of `threshold`.

    Attributes:
      images: members that have such a copy among the members, of `members`.
      exact: of these, such as have an identical one.
      groups, largest: of images that pairs link; how many images the largest has.
      complete: whether all pairs were looked at; if not, there may be more.
    """

    images: int
    exact: int
    groups: int
    largest: int
    members: int
    threshold: float
    complete: bool = True


@dataclasses.dataclass(frozen=True)
class Shift:
    """How far apart the two groups are, without any model."""

    encoder: str
    kid: Distance


@dataclasses.dataclass(frozen=True)
class Controls:
    """What stands beside the attacks; None for what was not measured."""

    blind: Blind | None = None
    near_duplicates: NearDuplicates | None = None
    shift: Shift | None = None
    repeats: Repeats | None = None


@dataclasses.dataclass(frozen=True)
class Timings:
    """What hangs on the machine.

    Attributes:
      seconds: what the signals of each attack took.
      training_seconds: what training the target took.
      devices: on what signals were computed.
      images: of how many the signals of each attack were read; {} of all (earlier).
    """

    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    training_seconds: float | None = None
    devices: tuple[str, ...] = ()
    images: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class AuditResult:
    """All numbers of one audit.

    Attributes:
      title, config, seed: of the audit; the config's digest.
      target, split: the model under attack; how many images.
      level: coverage of the intervals.
      attacks: by name, in the config's order.
      controls: what stands beside them.
      timings: of this run of it; not part of the result, and not compared.
    """

    title: str = ""
    config: str = ""
    target: TargetFacts = TargetFacts()
    split: SplitCounts = SplitCounts()
    level: float = 0.95
    seed: int = 0
    attacks: Mapping[str, AttackResult] = dataclasses.field(default_factory=dict)
    controls: Controls = Controls()
    timings: Timings = dataclasses.field(default=Timings(), compare=False)

    @property
    def scored(self) -> dict[str, AttackResult]:
        """The attacks that gave numbers of single images."""
        return self._worked("image")

    @property
    def sets(self) -> dict[str, AttackResult]:
        """The tests of whole sets that gave numbers."""
        return self._worked("set")

    def _worked(self, kind: str) -> dict[str, AttackResult]:
        attacks = self.attacks.items()
        return {n: a for n, a in attacks if a.failed is None and a.kind == kind}

    @property
    def failures(self) -> dict[str, str]:
        """Why the others gave none, by the attack's name."""
        return {n: a.failed for n, a in self.attacks.items() if a.failed is not None}

    def save(self, folder: str | Path) -> None:
        """Write metrics.json and timings.json, sealed.

        Raises:
          UserError: a number is not finite, or the folder cannot be written.
        """
        record = to_json(self)
        timings = record.pop("timings", {})
        # Keys are sorted in the file; the order of attacks is kept beside them.
        record |= {"schema": SCHEMA, "order": list(self.attacks)}
        save_sealed(locate(folder) / METRICS, record)
        save_sealed(locate(folder) / TIMINGS, timings)

    @staticmethod
    def load(
        folder: str | Path, *, sealed: bool = True, remedy: str = AGAIN
    ) -> AuditResult:
        """Read what `save` wrote, or metrics.json of version 1.

        Args:
          folder: of the two files; timings.json may be missing.
          sealed: whether metrics.json must carry a seal; those before 0.2 have none.
          remedy: what to do about a damaged file.

        Raises:
          UserError: metrics.json is missing, damaged, changed, or of a later version.
        """
        path = locate(folder) / METRICS
        read = load_sealed if sealed else load_json
        shape = {"schema": int, "attacks?": {str: dict}, "order?": [str]}
        record = read(path, shape, remedy=remedy)
        known = 1 <= record["schema"] <= SCHEMA
        problem = f"is of version {record['schema']}, this one reads 1 to {SCHEMA}"
        require(known, f"{path}", problem, "read it with the version that wrote it")
        if record["schema"] == 1:
            record = from_version_1(record)
        attacks = record.get("attacks", {})
        order = [n for n in record.pop("order", ()) if n in attacks]
        record["attacks"] = {n: attacks[n] for n in dict.fromkeys([*order, *attacks])}
        beside = locate(folder) / TIMINGS
        if beside.exists():
            record["timings"] = load_sealed(beside, remedy=remedy)
        return from_json(AuditResult, record, str(path), remedy=remedy)
