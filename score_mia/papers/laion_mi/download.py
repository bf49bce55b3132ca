"""A list's images fetched into a folder, with a log, so that nothing is asked twice.

`score_mia.papers.laion_mi.fetch` is the command, and says what the folder holds.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from score_mia.check import (
    at_least,
    file_name,
    refusing,
    require,
)
from score_mia.files import digest, parse_json, write_atomic
from score_mia.papers.captioned import empty_or_ours, write_captions
from score_mia.papers.laion_mi.lists import Link, read
from score_mia.papers.laion_mi.web import Manners, Pace, Result, ask

LOG = "log.jsonl"


@dataclasses.dataclass(frozen=True)
class Line:
    """What is kept of one address.

    Attributes:
      url, caption: of the list.
      group: the list's folder.
      result: see `web.Result`.
      reason: why there is no image.
      file: the image's name in the folder; empty without one.
      digest: of the image's file.
    """

    url: str
    caption: str
    group: str
    result: Result
    reason: str = ""
    file: str = ""
    digest: str = ""


_SHAPE = {field.name: str for field in dataclasses.fields(Line)}


@dataclasses.dataclass(frozen=True)
class Fetched:
    """What a folder holds of a list.

    Attributes:
      group: the list's folder.
      lines: of its addresses, in the list's order, asked now or earlier.
      asked: how many were asked now.
      elsewhere: addresses that were left out because another list has them too.
    """

    group: str
    lines: tuple[Line, ...]
    asked: int
    elsewhere: int

    def count(self, result: Result) -> int:
        """Addresses with this result."""
        return sum(line.result == result for line in self.lines)

    @property
    def about(self) -> str:
        """How many images there are, and why not more, in a few lines."""
        files = [line.digest for line in self.lines if line.result == "ok"]
        copies = len(files) - len(set(files))
        head = f"{self.group}: {len(self.lines):,} addresses, {self.asked:,} asked now"
        said = [f"{head}: {len(files):,} images"]
        for result in ("dead", "no image"):
            of = [line.reason for line in self.lines if line.result == result]
            why = collections.Counter(of).most_common(5)
            most = ", ".join(f"{count:,} {reason}" for reason, count in why)
            said.append(f"  {len(of):,} {result}" + (f" (most: {most})" if of else ""))
        if self.elsewhere:
            said.append(f"  {self.elsewhere:,} left out, which another list has too")
        if copies:
            said.append(
                f"  {copies:,} images are copies of another: look whether a host "
                "answers so for what it has removed"
            )
        return "\n".join(said)


def fetch(
    path: str | Path,
    out: str | Path,
    *,
    group: str | None = None,
    most: int | None = None,
    again: bool = False,
    manners: Manners | None = None,
) -> Fetched:
    """Ask the addresses of a list, and write what they give.

    Args:
      path: of the list; see `lists.read`.
      out: the folder; new, empty, or of an earlier run.
      group: folder of this list's images in it; None for the name of its file.
      most: how many addresses of the list, from its beginning; None for all.
      again: whether addresses that gave no image earlier are asked again.
      manners: how hosts are asked.

    Raises:
      UserError: a list or a log that is damaged, a folder that holds something else,
        or a disk that is full; what was fetched is kept.
    """
    manners = manners or Manners()
    links = read(path)
    if most is not None:
        at_least("most", most, 1)
        links = links[:most]
    if group is None:
        group = Path(path).name.partition(".")[0].partition("-")[0]
    file_name("group", group)
    out = empty_or_ours(out, LOG)
    log = _read_log(out)
    ours = [x for x in links if x.url not in log or log[x.url].group == group]
    todo = [x for x in ours if _open(log.get(x.url), out, again)]
    for line in _ask(todo, out, group, manners):
        log[line.url] = line
    images = {x.file: x.caption for x in log.values() if _there(x, out)}
    write_captions(out, images)
    lines = tuple(log[x.url] for x in ours)
    return Fetched(group, lines, len(todo), len(links) - len(ours))


def _there(line: Line, out: Path) -> bool:
    return line.result == "ok" and (out / line.file).is_file()


def _open(line: Line | None, out: Path, again: bool) -> bool:
    """Whether an address is to be asked: a new one, or one whose image is gone."""
    if line is None or (line.result == "ok" and not _there(line, out)):
        return True
    return again and line.result != "ok"


def _read_log(out: Path) -> dict[str, Line]:
    """The last line of each address; what a killed run left of one is cut off."""
    path = out / LOG
    if not path.exists():
        return {}
    with refusing(f"log {path} cannot be read", "repair or remove it", OSError):
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with path.open("r+b") as file:
                file.truncate(whole)
    known: dict[str, Line] = {}
    remedy = "remove this line: its address is asked again"
    for number, text in enumerate(data[:whole].split(b"\n")[:-1], 1):
        what = f"{path}, line {number}"
        fields: Mapping[str, Any] = parse_json(
            what, text.decode(errors="replace"), _SHAPE, remedy=remedy
        )
        own = {name: fields[name] for name in _SHAPE}
        place = Path(own["file"])
        inside = not place.is_absolute() and ".." not in place.parts
        require(inside, what, f"names a file outside {out}", remedy)
        known[own["url"]] = Line(**own)
    return known


def _ask(
    links: Sequence[Link], out: Path, group: str, manners: Manners
) -> Iterable[Line]:
    """Ask in threads; each line is in the log before it is given."""
    pace = Pace(manners)
    problem = f"log {out / LOG} cannot be written"
    remedy = "free some space, then run the same command again: what was done is kept"
    with refusing(problem, remedy, OSError):
        out.mkdir(parents=True, exist_ok=True)
        log = (out / LOG).open("a", encoding="utf-8")
    pool = ThreadPoolExecutor(manners.threads)
    try:
        futures = [pool.submit(_one, x, out, group, manners, pace) for x in links]
        for future in as_completed(futures):
            line = future.result()
            with refusing(problem, remedy, OSError):
                log.write(json.dumps(dataclasses.asdict(line)) + "\n")
                log.flush()
            yield line
    finally:
        pool.shutdown(cancel_futures=True)
        log.close()


def _one(link: Link, out: Path, group: str, manners: Manners, pace: Pace) -> Line:
    """Ask one address, and write its image."""
    answer = ask(link.url, manners, pace)
    line = Line(link.url, link.caption, group, answer.result, answer.reason)
    if answer.result != "ok":
        return line
    name = f"{group}/{digest(link.url)}{answer.ending}"
    write_atomic(out / name, lambda file: file.write(answer.data))
    return dataclasses.replace(line, file=name, digest=digest(answer.data))
