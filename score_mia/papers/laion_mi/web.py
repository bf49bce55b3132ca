"""Asking one address of a list for its image, with patience and with limits.

Whatever host a list names is asked, and what it answers is trusted in nothing: only
http and https are spoken, redirections included; an answer has a largest size and a
longest time; and it is an image only if the decoder of `score_mia.data` takes it, whose
formats and number of pixels are restricted.
"""

from __future__ import annotations

import dataclasses
import http.client
import io
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Literal, TypeAlias

from score_mia.check import UserError, at_least, one_line, positive, reason, short
from score_mia.data.pixels import FORMATS, Decoder

Result: TypeAlias = Literal["ok", "dead", "no image"]
"""An image; no answer of use; an answer that is no image."""

AGENT = "score_mia (research; an image list of a published data set)"

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds before an address is asked again
_WHOLE = 6.0  # an answer may take so many times the timeout
_BLOCK = 2**16
_AGAIN = (408, 429, 500, 502, 503, 504)  # what a host may answer otherwise next time
_DECODING = threading.BoundedSemaphore(4)  # 200 MB each at the most
_ENDINGS = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif"}


@dataclasses.dataclass(frozen=True)
class Manners:
    """How hosts are asked.

    Attributes:
      threads: addresses that are asked at once.
      timeout: seconds without a byte after which a request has failed; a whole answer
        may take six times as long.
      retries: times that a request is made again, after 1, 2, 4, ... seconds or what
        the host asks for (a minute at most), where another answer may be hoped for.
      per_second: most requests a second, of all threads together.
      most_bytes: of an answer.
      sleep: waits for so many seconds.
    """

    threads: int = 16
    timeout: float = 10.0
    retries: int = 2
    per_second: float = 20.0
    most_bytes: int = 20 * 2**20
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        at_least("threads", self.threads, 1)
        positive("timeout", self.timeout)
        at_least("retries", self.retries, 0)
        positive("per_second", self.per_second)
        at_least("most_bytes", self.most_bytes, 1)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of an address.

    Attributes:
      result: see `Result`.
      reason: why it is no image; empty for one.
      data: the image's file, byte by byte as it came.
      ending: of a name for it, by what it holds: ".jpg", ".png", ...
    """

    result: Result
    reason: str = ""
    data: bytes = b""
    ending: str = ""


class Pace:
    """A rate that several threads keep together."""

    def __init__(self, manners: Manners) -> None:
        self._gap, self._sleep = 1.0 / manners.per_second, manners.sleep
        self._lock, self._next = threading.Lock(), 0.0

    def wait(self) -> None:
        """Return when it is this thread's turn."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._gap
        if turn > now:
            self._sleep(turn - now)


def ask(url: str, manners: Manners, pace: Pace) -> Answer:
    """The image at an address, or why there is none. Raises nothing of the net's."""
    for number in range(manners.retries + 1):
        pace.wait()
        try:
            data = _body(url, manners)
        except _NoImage as error:
            return Answer("no image", reason(error))
        except _FAILURES as error:
            said, wait = _failure(error)
            if wait is None or number == manners.retries:
                return Answer("dead", said)
            manners.sleep(wait or _FIRST_WAIT * 2**number)
        else:
            return _decoded(data)
    raise AssertionError("the last try returns")


class _NoImage(Exception):
    """An answer that cannot be an image."""


_FAILURES = (OSError, ValueError, http.client.HTTPException)


def _body(url: str, manners: Manners) -> bytes:
    """The bytes of an answer, all of them."""
    deadline = time.monotonic() + _WHOLE * manners.timeout
    plain = urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    headers = {"User-Agent": AGENT, "Accept": "image/*"}
    request = urllib.request.Request(plain, headers=headers)
    with _opener().open(request, timeout=manners.timeout) as response:
        length = response.headers.get("Content-Length", "")
        size = int(length) if length.strip().isdecimal() else None
        if (size or 0) > manners.most_bytes:
            raise _NoImage(f"more than {manners.most_bytes} bytes")
        blocks, total = [], 0
        # read1 returns what is there: `read` may wait for ever for a slow host.
        while block := response.read1(_BLOCK):
            blocks.append(block)
            total += len(block)
            if total > manners.most_bytes:
                raise _NoImage(f"more than {manners.most_bytes} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError("the answer takes too long")
    if size is not None and total < size:
        raise ConnectionError(f"cut off after {total} of {size} bytes")
    return b"".join(blocks)


def _opener() -> urllib.request.OpenerDirector:
    """One that speaks http and https; the usual one opens files, too."""
    opener = urllib.request.OpenerDirector()
    for kind in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(kind())
    return opener


def _failure(error: Exception) -> tuple[str, float | None]:
    """What happened, and seconds to wait before another try (0: the usual, None: none).

    A host that does not exist, one whose certificate is false, and an address that is
    none will not be others in a second.
    """
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        again = error.code in _AGAIN
        asked = (error.headers or {}).get("Retry-After", "").strip()
        wait = min(float(asked), _LONGEST_WAIT) if asked.isdecimal() else 0.0
        return f"HTTP {error.code}", wait if again else None
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, TimeoutError):
        return "no answer in time", 0.0
    if isinstance(inner, socket.gaierror):
        return "unknown host", None
    said = short(reason(inner) if isinstance(inner, Exception) else str(inner), 100)
    hopeless = isinstance(inner, ssl.SSLCertVerificationError | ValueError | str)
    hopeless = hopeless or isinstance(inner, http.client.InvalidURL)
    return said, None if hopeless else 0.0


def _decoded(data: bytes) -> Answer:
    """An answer's bytes, required to be a picture that can be decoded."""
    from PIL import Image

    try:
        with _DECODING:
            Decoder(None, 3).record(data, "the answer")
    except UserError as error:
        said = str(error).removesuffix("; prepare the set again")
        return Answer("no image", short(one_line(said), 100))
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        kind = str(picture.format)
    return Answer("ok", "", data, _ENDINGS.get(kind, f".{kind.lower()}"))
