"""How alike two pools are, before and after the rounds, and which images are listed."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from score_mia.auditing.sanitising.settings import Sanitising
from score_mia.data.filtering import PARTS, Filtered, Verdict, filtered
from score_mia.data.pools import Names
from score_mia.data.source import Source
from score_mia.data.views import read_features, reduced, with_squares, words
from score_mia.metrics.crossfit import cross_fitted
from score_mia.metrics.image import frechet_distance
from score_mia.typed import to_json

_HALVES = 3  # second word of the seed of the halves


@runtime_checkable
class Encoded(Protocol):
    """Features by the encoder."""

    def of(self, ids: np.ndarray) -> np.ndarray:
        """Those of some images, [n, d]."""
        ...


class Shown(NamedTuple):
    """What the rounds came to.

    Attributes:
      record: for sanitised.json.
      listed: ids of the members and of the non-members that are listed.
      fates: id -> its part, and what became of it.
    """

    record: dict[str, Any]
    listed: tuple[np.ndarray, np.ndarray]
    fates: dict[int, tuple[str, str]]


def alike(
    plan: Sanitising,
    source: Source,
    encoded: Encoded,
    members: np.ndarray,
    nonmembers: np.ndarray,
) -> Shown:
    """Filter the pools, and test them before and after on images set aside for it.

    Args:
      plan: the settings.
      source: the data.
      encoded: features of all these images.
      members, nonmembers: ids of either pool, without near-duplicates.
    """
    settings, ids = plan.rounds, np.concatenate([members, nonmembers])
    member = np.arange(len(ids)) < len(members)
    seen = views(plan, source, encoded, ids)
    joint = np.concatenate([*seen.values()], axis=1)
    judge = functools.partial(_judge, plan, joint, member)
    how = settings.how(plan.seed)
    result = filtered(joint, member, settings.made, judge, how)
    tests: dict[str, Any] = {"before": {}, "after": {}}
    columns = {**seen, **({"all": joint} if len(seen) > 1 else {})}
    for name, values in columns.items():
        before = result.part == PARTS.index("test")
        for when, rows in (("before", before), ("after", result.tested)):
            verdict = _judge(plan, values, member, rows)
            tests[when][name] = to_json(verdict)
    rows = result.listed
    listed = ids[rows & member], ids[rows & ~member]
    record = {
        "rounds": _rounds(result, member),
        "test": tests,
        "frechet": {
            "before": frechet(encoded, members, nonmembers, plan.seed),
            "after": frechet(encoded, *listed, plan.seed),
        },
        "lists": {"members": len(listed[0]), "nonmembers": len(listed[1])},
    }
    return Shown(record, listed, _fates(ids, result))


def views(
    plan: Sanitising, source: Source, encoded: Encoded, ids: np.ndarray
) -> dict[str, np.ndarray]:
    """What the classifiers may see, [n, k] of each kind, found without the labels."""
    settings, result = plan.rounds, {}
    for kind in settings.features:
        size = settings.components
        if kind == "image":
            result[kind] = reduced(encoded.of(ids), size, plan.seed, "images")
        elif settings.prompts is None:
            result[kind] = words(source, ids, size, plan.seed)
        else:
            told = read_features(settings.prompts, Names.of(source), ids)
            result[kind] = reduced(told, size, plan.seed, "captions")
    return result


def _judge(
    plan: Sanitising, features: np.ndarray, member: np.ndarray, rows: np.ndarray
) -> Verdict:
    """The two-sample test on some rows."""
    result = cross_fitted(
        with_squares(features[rows]),
        member[rows],
        permutations=plan.rounds.permutations,
        level=plan.rounds.level,
        seed=plan.seed,
    )
    counts = (int(np.sum(member[rows])), int(np.sum(~member[rows])))
    return Verdict(result.auc, result.p_value, counts)


def frechet(
    encoded: Encoded, members: np.ndarray, nonmembers: np.ndarray, seed: int
) -> dict[str, Any]:
    """Fréchet distances of halves, all of one n, which the distance depends on."""
    size = min(len(members), len(nonmembers)) // 2
    if size < 2:
        return {}
    random = np.random.RandomState((seed, _HALVES))
    a, b = (random.permutation(ids)[: 2 * size] for ids in (members, nonmembers))
    (a, c), (b, d) = ((x[:size], x[size:]) for x in (a, b))
    pairs = {
        "members_to_members": (a, c),
        "nonmembers_to_nonmembers": (b, d),
        "members_to_nonmembers": (a, b),
    }
    return {
        name: to_json(frechet_distance(encoded.of(x), encoded.of(y)))
        for name, (x, y) in pairs.items()
    }


def _rounds(result: Filtered, member: np.ndarray) -> dict[str, Any]:
    parts = {
        name: [int(np.sum(rows & member)), int(np.sum(rows & ~member))]
        for name, rows in ((n, result.part == i) for i, n in enumerate(PARTS))
    }
    return {
        "parts": parts,
        "first": to_json(result.first),
        "made": to_json(result.rounds),
        "reason": result.reason,
    }


def _fates(ids: np.ndarray, result: Filtered) -> dict[int, tuple[str, str]]:
    fates = {}
    listed, alive = result.listed.tolist(), result.alive.tolist()
    for row, i in enumerate(ids.tolist()):
        fate = "listed" if listed[row] else "filtered"
        if alive[row] and not listed[row]:
            fate = "fit"
        fates[i] = (PARTS[result.part[row]], fate)
    return fates
