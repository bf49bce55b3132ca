"""Where a run keeps its files: a folder, or the objects of a bucket below a prefix.

    locate("runs/first")        a pathlib.Path, and nothing else than that
    locate("s3://bucket/run")   an ObjectPath: what of a Path means something there

An object is put whole or not at all, and nothing is renamed, appended to or mapped into
memory. Whether one is there is asked of the object itself and never remembered; a
listing (`glob`, `rglob`, `is_dir`) is only used where one that lags costs work and no
number. Requests are made, and made again, by `bucket`.
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import os
import re
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, TypeVar

from score_mia import check
from score_mia.bucket import SCHEMES, ask, entries, head
from score_mia.check import require

S = TypeVar("S")
T = TypeVar("T")

AT_ONCE = 16
"""Requests that are on their way at the same time, where many names are asked for."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_LONGEST = 700  # bytes of a prefix; what is below it has some 200, of 1024 in all


def locate(path: str | Path) -> Path:
    """A folder or file as a `Path`; one of a bucket as an `ObjectPath`.

    Raises:
      UserError: the scheme is unknown, or a bucket's name was taken for a folder's.
    """
    if isinstance(path, ObjectPath):
        return path
    match = _URL.fullmatch(str(path))
    if match is None:
        lost = isinstance(path, Path) and path.parts[:1] in {
            (f"{s}:",) for s in SCHEMES
        }
        problem = "lost a slash: pathlib takes it for a folder"
        require(not lost, f"{path}", problem, "give a bucket's name as a text")
        return Path(path)
    known = " or ".join(f"{scheme}://bucket/run" for scheme in SCHEMES)
    remedy = f"give a folder, {known}"
    require(match[1] in SCHEMES, f"{path}", f"{match[1]}:// is unknown", remedy)
    return ObjectPath(str(path))


def workdir(path: str | Path) -> Path:
    """The folder or bucket in which a run keeps everything.

    Of a bucket only the name is looked at here; that it can be used is found when its
    lease is taken.

    Raises:
      UserError: see `check.workdir`; the name of a bucket cannot be one.
    """
    folder = locate(path)
    if not isinstance(folder, ObjectPath):
        return check.workdir(path)
    told, remedy = f"--workdir={folder}", "name it as in s3://bucket/run"
    bucket, *below = folder.parts[1:]
    ok = _BUCKET.fullmatch(bucket) is not None
    require(ok, told, f"{bucket!r} is no name of a bucket", remedy)
    require(bool(below), told, "names no prefix in the bucket", remedy)
    require("\0" not in str(folder), told, "holds a NUL", remedy)
    long = len(os.fsencode("/".join(below))) > _LONGEST
    require(not long, told, f"has more than {_LONGEST} bytes", "choose a shorter name")
    return folder


def existing(path: str | Path, what: str) -> Path:
    """`check.existing`; a bucket's prefix is there if what is read of it is."""
    found = locate(path)
    return found if isinstance(found, ObjectPath) else check.existing(path, what)


class ObjectPath(Path):
    """An object of a bucket, or the prefix of several: s3://bucket/run/config.json.

    A `Path`, so that it stands where one is expected, but with methods of its own
    alone: what it does not have (to be renamed, mapped, opened by its name in another
    library) fails at once instead of touching a local folder of that name.
    """

    def __new__(cls, url: str) -> ObjectPath:  # noqa: D102
        return object.__new__(cls)

    def __init__(self, url: str) -> None:
        match = _URL.fullmatch(url)
        assert match is not None
        self._scheme = match[1]
        self._names = tuple(n for n in match[2].split("/") if n not in ("", "."))
        require(bool(self._names), url, "names no bucket", "give s3://bucket/run")
        climbs = ".." in self._names
        require(
            not climbs, url, "has '..' in it, which means nothing there", "leave it"
        )

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError(f"{self} is an object of a bucket and no local file")

    __fspath__ = with_segments = _refuse
    _parts = _raw_paths = property(_refuse)  # of which pathlib makes other paths

    # --- its name ----------------------------------------------------------------

    def __str__(self) -> str:
        return f"{self._scheme}://{self.key}"

    def __repr__(self) -> str:
        return f"ObjectPath({str(self)!r})"

    def __reduce__(self) -> Any:
        return ObjectPath, (str(self),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: Any) -> bool:
        return self._names < other._names

    def __truediv__(self, key: Any) -> ObjectPath:
        return ObjectPath(f"{self}/{key}")

    @property
    def key(self) -> str:
        """Bucket and name, as the clients want it: "bucket/run/config.json"."""
        return "/".join(self._names)

    @property
    def scheme(self) -> str:
        """What its name begins with: "s3"."""
        return self._scheme

    @property
    def parts(self) -> tuple[str, ...]:
        """The scheme, the bucket, and the names below it."""
        return (f"{self._scheme}://", *self._names)

    @property
    def name(self) -> str:
        """The last part."""
        return self._names[-1]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> ObjectPath:
        """One part less; a bucket's parent is the bucket."""
        names = self._names[:-1] or self._names
        return ObjectPath(f"{self._scheme}://{'/'.join(names)}")

    def with_suffix(self, suffix: str) -> ObjectPath:
        """The same with another suffix."""
        return self.parent / PurePosixPath(self.name).with_suffix(suffix).name

    def relative_to(self, other: Any, *_: Any, **__: Any) -> Any:
        """The parts below another, as a pure path."""
        return PurePosixPath(self.key).relative_to(other.key)

    def absolute(self) -> ObjectPath:
        """Itself."""
        return self

    expanduser = absolute

    # --- its object --------------------------------------------------------------

    def exists(self, **_: Any) -> bool:
        """Whether there is an object of this name: the object is asked, every time."""
        return ask(self, "look for", head, None) is not None

    is_file = exists

    def is_symlink(self) -> bool:
        """There are none."""
        return False

    def stat(self, **_: Any) -> Any:
        """Size and time of the object (`st_size`, `st_mtime`).

        Raises:
          FileNotFoundError: there is none.
        """
        found = ask(self, "look for", head, None)
        if found is None:
            raise FileNotFoundError(str(self))
        return found

    def read_bytes(self) -> bytes:
        """The whole object.

        Raises:
          FileNotFoundError: there is none.
          Unreachable: it cannot be asked for.
        """
        return ask(self, "read", lambda client, path: client.cat_file(path.key))

    def read_text(self, encoding: str | None = "utf-8", *_: Any, **__: Any) -> str:
        """The whole object as a text."""
        return self.read_bytes().decode(encoding or "utf-8")

    def write_bytes(self, data: Any) -> int:
        """Put the object, whole or not at all."""
        data = bytes(data)
        ask(self, "write", lambda client, path: client.pipe_file(path.key, data))
        return len(data)

    def write_text(
        self, data: str, encoding: str | None = "utf-8", *_: Any, **__: Any
    ) -> int:
        """Put a text."""
        return self.write_bytes(data.encode(encoding or "utf-8"))

    def create(self, data: bytes) -> bool:
        """Put the object if there is none; False if somebody has made one.

        A store that has the object of an attempt whose answer was lost says that there
        is one: who needs to know reads it.
        """
        try:
            ask(self, "create", lambda c, p: c.pipe_file(p.key, data, mode="create"))
        except FileExistsError:
            return False
        return True

    def open(self, mode: str = "r", *_: Any, **__: Any) -> Any:
        """The whole object in memory, to be read ("rb")."""
        if mode != "rb":
            self._refuse()
        return io.BytesIO(self.read_bytes())

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object; one that is not there is no mistake, as for the stores."""
        with contextlib.suppress(FileNotFoundError):
            ask(self, "delete", lambda client, path: client.rm_file(path.key))

    def mkdir(self, *_: Any, **__: Any) -> None:
        """Nothing: a prefix is there as soon as an object has it."""

    # --- listings: never relied on for a number ----------------------------------

    def is_dir(self) -> bool:
        """Whether a listing shows an object below this prefix."""
        return bool(ask(self, "list", entries, []))

    def iterdir(self) -> Any:
        """What a listing shows right below."""
        return iter([self / name for name in ask(self, "list", entries, [])])

    def glob(self, pattern: str, **_: Any) -> Any:
        """What a listing shows right below, by a pattern of names without a slash."""
        assert "/" not in pattern
        return iter([p for p in self.iterdir() if fnmatch.fnmatchcase(p.name, pattern)])

    def rglob(self, pattern: str, **_: Any) -> Any:
        """All objects that a listing shows at any depth, by a pattern of names."""
        keys = ask(self, "list", lambda client, path: client.find(path.key), [])
        found = [ObjectPath(f"{self._scheme}://{key}") for key in sorted(keys)]
        return iter([p for p in found if fnmatch.fnmatchcase(p.name, pattern)])


# --- many at once, and whole folders ------------------------------------------------


def each(call: Callable[[S], T], things: Iterable[S]) -> list[T]:
    """`call` of every one, in their order, several of them at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(call, things))


def there(paths: Iterable[Path]) -> list[bool]:
    """Of each path, whether it is there."""
    paths = list(paths)
    if any(isinstance(path, ObjectPath) for path in paths):
        return each(lambda path: path.exists(), paths)
    return [path.exists() for path in paths]


def remove_tree(folder: Path, *, ignore_errors: bool = False) -> None:
    """Remove a folder and all that is in it; of a bucket what a listing shows."""
    if isinstance(folder, ObjectPath):
        each(lambda path: path.unlink(), list(folder.rglob("*")))
    else:
        shutil.rmtree(folder, ignore_errors=ignore_errors)


def upload(file: Path, to: ObjectPath) -> None:
    """Put a local file, of any size."""
    ask(to, "write", lambda client, path: client.put_file(str(file), path.key))


def download(path: ObjectPath, to: Path) -> None:
    """Get an object, of any size, as a local file.

    Raises:
      FileNotFoundError: there is none.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    ask(path, "read", lambda client, path: client.get_file(path.key, str(to)))
