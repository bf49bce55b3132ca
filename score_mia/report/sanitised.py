"""What a sanitisation came to, in words: from sanitised.json alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from score_mia.report.page import css, template
from score_mia.report.picture import tiles

Record = Mapping[str, Any]

_VIEWS = {"image": "images", "caption": "captions", "all": "images and captions"}


def lines(record: Record) -> list[str]:
    """The few lines that a terminal shows."""
    pools, near, lists = record["pools"], record["duplicates"], record["lists"]
    made = record["rounds"]["made"]
    result = [
        f"pools: {pools['members']['used']:,} members, "
        f"{pools['nonmembers']['used']:,} candidates for non-members",
        f"near-duplicates: {near['duplicates']:,} candidates nearer than "
        f"{near['threshold']:g} to an image that may be in training, "
        f"{near['without_neighbour']:,} without a usable neighbour",
        f"rounds: {len(made)}; {record['rounds']['reason']}",
    ]
    for name, before in record["test"]["before"].items():
        after = record["test"]["after"][name]
        result.append(
            f"a classifier on {_VIEWS[name]} tells them apart with AUC "
            f"{_estimate(before)} before, {_estimate(after)} after"
        )
    result.append(answer(record))
    return [
        *result,
        f"{lists['members']:,} members and {lists['nonmembers']:,} non-members are "
        "listed",
    ]


def answer(record: Record) -> str:
    """Whether the lists can be told apart, by the test that chose nothing."""
    apart = [_VIEWS[n] for n, v in record["test"]["after"].items() if _apart(v)]
    if apart:
        return f"the lists STILL DIFFER by distribution, seen by {', '.join(apart)}"
    return "no difference between the lists is found on the images set aside for it"


def _apart(verdict: Record) -> bool:
    return not verdict["auc"]["low"] <= 0.5 <= verdict["auc"]["high"]


def _estimate(verdict: Record) -> str:
    auc, (n1, n0) = verdict["auc"], verdict["n"]
    interval = f"[{auc['low']:.3f}, {auc['high']:.3f}]"
    return f"{auc['value']:.3f} {interval} (n = {n1:,} and {n0:,})"


def markdown(record: Record) -> str:
    """sanitised.md."""
    body = [
        f"# {record['title']}",
        "",
        answer(record).capitalize() + ".",
        "",
        *_pools(record),
        *_near(record),
        *_tests(record),
        *_frechet(record),
    ]
    return "\n".join(body) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(map(str, cells))} |"
    yield ""


def _pools(record: Record) -> Iterator[str]:
    yield from ("## Counts", "")
    pools, near, lists = record["pools"], record["duplicates"], record["lists"]
    made, parts = record["rounds"]["made"], record["rounds"]["parts"]
    names = {"named": "named", "in_data": "in the data", "used": "on their terms"}
    rows: list[list[object]] = [
        [words, pools["members"][key], pools["nonmembers"][key]]
        for key, words in names.items()
    ]
    rows.append(["without near-duplicates", pools["members"]["used"], near["kept"]])
    rows += [[f"in part {n}", *counts] for n, counts in parts.items()]
    for number, one in enumerate(made, 1):
        said = f"after round {number}, {one['classifier']}"
        rows.append([said, one["members"], one["nonmembers"]])
    listed = [lists["members"], lists["nonmembers"]]
    rows.append(["listed (without fit, if a round was made)", *listed])
    yield from _table(("", "members", "non-members"), rows)


def _near(record: Record) -> Iterator[str]:
    near, encoder = record["duplicates"], record["encoder"]["name"]
    yield from ("## Near-duplicates", "")
    among = "an index file" if near["neighbours"] is None else near["by"]
    yield f"By {among}, unit-norm features of `{encoder}`, threshold "
    yield f"{near['threshold']:g}: {near['duplicates']} of {near['candidates']} "
    yield f"candidates are nearer, {near['without_neighbour']} have no usable "
    yield "neighbour. A threshold holds for the encoder that it was set for, by "
    yield "judged pairs."
    if recall := near.get("recall"):
        yield f"The index found {100 * recall['share']:.1f} % of {recall['planted']:,} "
        yield "copies that were planted at the threshold."
    yield ""
    judged = {one["bin"]: one for one in near["judged"]}
    rows = []
    for bin in near["bins"]:
        one = judged.get(bin["bin"], {"judged": 0, "duplicates": 0})
        rows.append(
            [
                bin["bin"],
                bin["candidates"],
                one["judged"],
                one["duplicates"],
                _share(one),
            ]
        )
    head = ("distance", "candidates", "judged pairs", "true duplicates", "share")
    yield from _table(head, rows)


def _share(one: Record) -> str:
    share = one.get("share")
    if share is None:
        return "not judged"
    return f"{share['value']:.1%} [{share['low']:.1%}, {share['high']:.1%}]"


def _tests(record: Record) -> Iterator[str]:
    yield from ("## Can they be told apart?", "")
    yield "AUC of a cross-fitted linear classifier that sees principal components and "
    yield "their squares. Part `test` chose nothing; `select` chose when to stop."
    yield ""
    rows = []
    for name, before in record["test"]["before"].items():
        after = record["test"]["after"][name]
        for when, one in (("before", before), ("after", after)):
            cells = [f"test, {_VIEWS[name]}, {when}", _estimate(one)]
            rows.append([*cells, f"{one['p_value']:.3g}", ""])
    first = record["rounds"]["first"]
    rows.append(["select, before", _estimate(first), f"{first['p_value']:.3g}", ""])
    for number, one in enumerate(record["rounds"]["made"], 1):
        select = one["select"]
        cells = [f"select, after round {number}", _estimate(select)]
        rows.append([*cells, f"{select['p_value']:.3g}", f"{one['auc']:.3f}"])
    head = ("on", "AUC", "p", "AUC of the round's classifier")
    yield from _table(head, rows)
    yield f"No further round: {record['rounds']['reason']}. How small a difference "
    yield "would have been seen is for the width of the intervals to say."
    yield ""


def _frechet(record: Record) -> Iterator[str]:
    name = record["encoder"]["frechet_name"]
    yield from (f"## {name} of halves", "")
    rows = []
    for when in ("before", "after"):
        for pair, one in record["frechet"][when].items():
            words = pair.replace("_", " ").replace("nonmembers", "non-members")
            rows.append([f"{words}, {when}", f"{one['value']:.4g}", one["n"][0]])
    yield from _table(("", "distance", "n of either"), rows)


def pairs(
    title: str,
    candidates: np.ndarray,
    neighbours: np.ndarray,
    distances: np.ndarray,
    bins: Sequence[str],
) -> str:
    """pairs.html: each candidate above its nearest neighbour.

    Args:
      title: of the run.
      candidates, neighbours: [p, h, w, c] in [0, 1].
      distances, bins: of each pair.
    """
    above, below = tiles(candidates), tiles(neighbours)
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for row, name in enumerate(bins):
        pair = (above[row][0], below[row][0], f"{distances[row]:.3f}")
        groups.setdefault(name, []).append(pair)
    page = template("pairs.html.j2")
    return page.render({"title": title, "css": css("report.css"), "groups": groups})
