"""The stages of a sanitisation, and what each leaves in the workdir.

features/            of every image that is compared, in parts; what is there stays
pairs.csv, .html     pairs to be judged
members.txt, nonmembers.txt    the lists: file names, or ids
images.csv           what became of every image of either pool
sanitised.json       all counts, tests and distances, sealed
sanitised.md         the same to be read
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from score_mia.auditing.features import Features
from score_mia.auditing.sanitising import pairs as judging
from score_mia.auditing.sanitising.rounds import Shown, alike
from score_mia.auditing.sanitising.settings import Sanitising
from score_mia.check import require
from score_mia.check import workdir as check_workdir
from score_mia.data.duplicates import Bins, Index, Nearest, unit
from score_mia.data.pools import Chosen, Names, conditions
from score_mia.data.search import faiss, is_few, search
from score_mia.data.source import Source
from score_mia.encoders import frechet_name
from score_mia.files import save_sealed, sealed_text, write_atomic
from score_mia.lease import lease
from score_mia.report import sanitised as page
from score_mia.rows import Words
from score_mia.sampling import as_picture
from score_mia.typed import to_json

LISTS = ("members.txt", "nonmembers.txt")


class Opened(NamedTuple):
    """The data and the pools.

    Attributes:
      source: the data.
      names: what lists call its images.
      members, nonmembers: the pools.
      neighbours: ids of the images that may be in training; none beside an index.
    """

    source: Source
    names: Names
    members: Chosen
    nonmembers: Chosen
    neighbours: np.ndarray


def run(plan: Sanitising, workdir: str | Path) -> str:
    """Make the lists; what is printed says how alike they are.

    Raises:
      UserError: a pool, a list or a file that cannot be used, or nothing is left.
    """
    folder = check_workdir(workdir)
    opened = _open(plan)
    with lease(folder):
        encoded = _encoded(plan, opened.source, _every(opened), folder)
        near, facts = _duplicates(plan, opened, encoded, folder)
        kept = opened.nonmembers.ids[_distant(plan, near)]
        require(
            len(kept) > 0,
            f"duplicates.threshold={plan.duplicates.threshold}",
            f"leaves none of {len(opened.nonmembers.ids)} candidates",
            f"set it for encoder {plan.encoder.name!r} by judged pairs "
            "(docs/sanitise.md)",
        )
        shown = alike(plan, opened.source, encoded, opened.members.ids, kept)
        record = json.loads(sealed_text(_record(plan, opened, facts, shown)))
        _write(plan, opened, near, shown, folder)
        save_sealed(folder / "sanitised.json", record)
        text = page.markdown(record)
        write_atomic(folder / "sanitised.md", lambda f: f.write(text.encode()))
    return "\n".join([*page.lines(record), f"lists: {folder / LISTS[0]}, {LISTS[1]}"])


def describe(plan: Sanitising) -> str:
    """`--dry_run`: the config, and how many images there are; touches no file."""
    opened = _open(plan)
    compared = len(_every(opened))
    return "\n".join(
        [
            json.dumps(plan.config, indent=2),
            "",
            f"data        {len(opened.source.ids):,} images of {opened.source.shape}",
            f"members     {len(opened.members.ids):,} of {len(opened.members.every):,}",
            f"nonmembers  {len(opened.nonmembers.ids):,} of "
            f"{len(opened.nonmembers.every):,}",
            f"features    of {compared:,} images by {plan.encoder.name}",
            f"rounds      {len(plan.rounds.classifiers)} at most, of "
            f"{plan.rounds.folds} classifiers each",
        ]
    )


def _open(plan: Sanitising) -> Opened:
    source = plan.source()
    members = plan.members.choose(source, "members")
    nonmembers = plan.nonmembers.choose(source, "nonmembers")
    others, settings = members.every, plan.duplicates
    if settings.neighbours is not None:
        others = settings.neighbours.choose(source, "neighbours").ids
    for role, ids in (("members", members.every), ("duplicates.neighbours", others)):
        both = np.intersect1d(nonmembers.ids, ids)
        problem = f"{len(both)} images are nonmembers and {role}"
        first = f" (first id: {both[:1].tolist()})"
        require(len(both) == 0, "pools", problem + first, "remove them from one")
    if settings.index is not None:
        others = members.every[:0]  # what the index says is all that is asked
    elif not is_few(len(nonmembers.ids), len(others)):
        faiss()  # now, not after the features
    return Opened(source, Names.of(source), members, nonmembers, others)


def _every(opened: Opened) -> np.ndarray:
    """Ids of all images whose features are needed."""
    pools = (opened.members.ids, opened.nonmembers.ids, opened.neighbours)
    return np.unique(np.concatenate(pools))


class _Encoded(NamedTuple):
    """Features of some images: ids [n], ascending, and rows [n, d]."""

    ids: np.ndarray
    rows: np.ndarray

    def of(self, ids: np.ndarray) -> np.ndarray:
        return self.rows[np.searchsorted(self.ids, ids)]


def _encoded(
    plan: Sanitising, source: Source, ids: np.ndarray, folder: Path
) -> _Encoded:
    words = Words(f"{plan.encoder.name} of the pools", "features")
    task = Features(
        plan.encoder,
        lambda block: as_picture(source.images(block)),
        {"source": source.digest},
        words,
    )
    return _Encoded(ids, task.kept(ids, folder / "features", "pools"))


class _Near(NamedTuple):
    """The nearest neighbour of each candidate, and what it is called.

    Attributes:
      found: its row and distance.
      ids: [n] of the neighbour; -1 where it is not in the data or there is none.
      names: [n] of the neighbour; "" where there is none.
      by, recall: how it was searched for; of `data.search`.
    """

    found: Nearest
    ids: np.ndarray
    names: list[str]
    by: str = "index file"
    recall: tuple[float, int] | None = None


def _distant(plan: Sanitising, near: _Near) -> np.ndarray:
    """Which candidates stay; a NaN, for want of a neighbour, never does."""
    return near.found.distance >= plan.duplicates.threshold


def _duplicates(
    plan: Sanitising, opened: Opened, encoded: _Encoded, folder: Path
) -> tuple[_Near, dict[str, Any]]:
    """Neighbours of the candidates; and counts, with what people said of pairs."""
    index = plan.duplicates.index
    if index is None:
        near = _searched(plan, opened, encoded)
    else:
        near = _indexed(plan, opened, encoded, folder)
    distance, bins = near.found.distance, Bins(plan.report.bins)
    usable = ~np.isnan(distance)
    rows = _pairs(plan, opened, near)
    judging.keep_pairs(folder, rows)
    path = Path(plan.report.judged or folder / judging.FILE)
    shares = []
    if plan.report.judged is not None or path.exists():
        shares = judging.shares(path, bins, plan.rounds.level)
    counts = np.bincount(bins.of(distance) + 1, minlength=len(bins.edges))[1:]
    facts = {
        "threshold": plan.duplicates.threshold,
        "by": near.by,
        "neighbours": None if index is not None else len(opened.neighbours),
        "candidates": len(distance),
        "without_neighbour": int(np.sum(~usable)),
        "duplicates": int(np.sum(distance < plan.duplicates.threshold)),
        "kept": int(np.sum(_distant(plan, near))),
        "nearest": _quantiles(distance[usable]),
        "bins": [
            {"bin": name, "candidates": count}
            for name, count in zip(bins.names, counts.tolist(), strict=True)
        ],
        "pairs": len(rows),
        "judged": to_json(shares),
    }
    if near.recall is not None:
        facts["recall"] = {"share": near.recall[0], "planted": near.recall[1]}
    return near, facts


def _quantiles(distance: np.ndarray) -> dict[str, float]:
    if not len(distance):
        return {}
    at = (0.0, 0.01, 0.1, 0.5, 1.0)
    values = np.quantile(distance, at)
    return {f"{q:g}": float(v) for q, v in zip(at, values, strict=True)}


def _searched(plan: Sanitising, opened: Opened, encoded: _Encoded) -> _Near:
    found = search(
        unit(encoded.of(opened.nonmembers.ids), "nonmembers"),
        unit(encoded.of(opened.neighbours), "neighbours"),
        at=plan.duplicates.threshold,
        seed=plan.seed,
    )
    ids = opened.neighbours[found.nearest.index]
    names = opened.names.shown(ids)
    return _Near(found.nearest, ids, names, found.by, found.recall)


def _indexed(
    plan: Sanitising, opened: Opened, encoded: _Encoded, folder: Path
) -> _Near:
    settings, own = plan.duplicates, opened.nonmembers.ids
    index = Index.read(str(settings.index), conditions(settings.where))
    pairs = index.resolve(opened.names, own)
    rows = pairs.unmeasured
    if len(rows):
        a, b = pairs.candidates[rows], pairs.neighbours[rows]
        others = np.unique(b)
        # Most of them are in no pool; those that are cost little to encode again.
        beside = _encoded(plan, opened.source, others, folder)
        apart = unit(encoded.of(a), "nonmembers") - unit(beside.of(b), "neighbours")
        pairs.distances[rows] = np.linalg.norm(apart, axis=1)
    found = pairs.nearest(own)
    ids = np.where(found.index < 0, -1, pairs.neighbours[found.index])
    names = ["" if i < 0 else pairs.names[i] for i in found.index.tolist()]
    return _Near(found, ids, names)


def _drawn(plan: Sanitising, near: _Near) -> dict[int, str]:
    """Row of each candidate that is shown to be judged -> the name of its bin."""
    bins, distance = Bins(plan.report.bins), near.found.distance
    rows, place = bins.sample(distance, plan.report.pairs, plan.seed), bins.of(distance)
    return {row: bins.names[place[row]] for row in rows.tolist()}


def _pairs(plan: Sanitising, opened: Opened, near: _Near) -> list[dict[str, str]]:
    """The drawn pairs as a table."""
    names = opened.names.shown(opened.nonmembers.ids)
    return [
        {
            "bin": name,
            "candidate": names[row],
            "neighbour": near.names[row],
            "distance": f"{near.found.distance[row]:.6f}",
        }
        for row, name in _drawn(plan, near).items()
    ]


def _record(
    plan: Sanitising, opened: Opened, duplicates: dict[str, Any], shown: Shown
) -> dict[str, Any]:
    """What sanitised.json says."""
    pools = {
        role: {"named": len(c.every) + c.missing, "in_data": len(c.every),
               "used": len(c.ids)}
        for role, c in (("members", opened.members), ("nonmembers", opened.nonmembers))
    }  # fmt: skip
    encoder = plan.encoder
    return {
        "title": plan.title,
        "config": plan.config,
        "seed": plan.seed,
        "source": opened.source.digest,
        "encoder": {
            "name": encoder.name,
            "fingerprint": encoder.fingerprint,
            "frechet_name": frechet_name(encoder),
        },
        "pools": pools,
        "duplicates": duplicates,
        **shown.record,
    }


def _write(
    plan: Sanitising, opened: Opened, near: _Near, shown: Shown, folder: Path
) -> None:
    """The lists, what became of each image, and the pictures of pairs."""
    for name, ids in zip(LISTS, shown.listed, strict=True):
        text = "\n".join(opened.names.shown(ids)) + "\n"
        write_atomic(folder / name, lambda f, text=text: f.write(text.encode()))
    table = _fates(opened, near, shown)
    write_atomic(folder / "images.csv", lambda f: f.write(table.encode()))
    path = folder / "pairs.html"
    if not plan.report.pictures:
        path.unlink(missing_ok=True)  # of an earlier run that was asked for it
        return
    drawn = _drawn(plan, near)
    seen = [row for row in drawn if near.ids[row] >= 0]
    own = opened.nonmembers.ids[seen]
    html = page.pairs(
        plan.title,
        opened.source.images(own),
        opened.source.images(near.ids[seen]),
        near.found.distance[seen],
        [drawn[row] for row in seen],
    )
    write_atomic(path, lambda f: f.write(html.encode()))


def _fates(opened: Opened, near: _Near, shown: Shown) -> str:
    """images.csv: pool, part, what became of it, distance of its nearest neighbour."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "pool", "part", "fate", "distance"])
    own = opened.nonmembers.ids
    far = dict(zip(own.tolist(), near.found.distance.tolist(), strict=True))
    for role, pool in (("member", opened.members), ("nonmember", opened.nonmembers)):
        for i, name in zip(
            pool.ids.tolist(), opened.names.shown(pool.ids), strict=True
        ):
            distance = far.get(i, np.nan)
            lost = "no neighbour" if np.isnan(distance) else "duplicate"
            part, fate = shown.fates.get(i, ("", lost))
            cell = "" if np.isnan(distance) else f"{distance:.6f}"
            writer.writerow([name, role, part, fate, cell])
    return text.getvalue()
