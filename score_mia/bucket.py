"""Requests to a store of objects: by which client, what its errors mean, when again.

What passes (a store that asks to be slower, a lost network) is tried again, for a
bounded time; what does not is told in one line, as `Unreachable`. The clients are s3fs
and gcsfs, of the extras "s3" and "gcs": they find credentials and endpoints as they
always do.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, Protocol, runtime_checkable

from score_mia import check
from score_mia.check import Unreachable, UserError, one_line

SCHEMES = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gcs")}
"""What a bucket's name begins with -> package of its client, extra that has it."""

WAITS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 16.0)
"""Seconds before a request that failed for now is made again; then it has failed."""


@runtime_checkable
class Named(Protocol):
    """An object, or a prefix of several; as a text its URL.

    Attributes:
      scheme: "s3" of s3://bucket/run/config.json.
      key: "bucket/run/config.json", as the clients want it.
    """

    @property
    def scheme(self) -> str: ...  # noqa: D102

    @property
    def key(self) -> str: ...  # noqa: D102


class _Trouble(NamedTuple):
    """Why a request failed.

    Attributes:
      problem, remedy: in words.
      passes: whether it may succeed if it is made again.
    """

    problem: str
    remedy: str
    passes: bool = False


_NO_BUCKET = _Trouble("there is no such bucket", "create it or check its name")
_NO_CREDENTIALS = _Trouble(
    "no credentials were found",
    "give them as the client reads them (AWS_ACCESS_KEY_ID or AWS_PROFILE; "
    "GOOGLE_APPLICATION_CREDENTIALS)",
)
_DENIED = _Trouble(
    "permission denied",
    "let these credentials get, put, delete and list there, or give others",
)
_SLOWER = _Trouble(
    "the store asks for fewer requests", "wait, or run fewer hosts at a time", True
)
_LOST = _Trouble("the store does not answer", "check network and endpoint", True)
_CONDITION = _Trouble(
    "the store does not know this request, which may be a conditional write",
    "choose another, or a folder",
)

_CODES = {
    **dict.fromkeys(("NoSuchBucket", "InvalidBucketName"), _NO_BUCKET),
    **dict.fromkeys(("SlowDown", "Throttling", "RequestLimitExceeded"), _SLOWER),
    **dict.fromkeys(("ServiceUnavailable", "429", "503"), _SLOWER),
    **dict.fromkeys(("InternalError", "RequestTimeout", "500", "502", "504"), _LOST),
    **dict.fromkeys(("OperationAborted", "ConditionalRequestConflict"), _LOST),
    **dict.fromkeys(("AccessDenied", "InvalidAccessKeyId", "401", "403"), _DENIED),
    **dict.fromkeys(("SignatureDoesNotMatch", "ExpiredToken"), _DENIED),
    **dict.fromkeys(("InvalidToken", "Forbidden", "Unauthorized"), _DENIED),
    **dict.fromkeys(("NotImplemented", "501"), _CONDITION),
}
_KINDS = {
    **dict.fromkeys(("NoCredentialsError", "PartialCredentialsError"), _NO_CREDENTIALS),
    **dict.fromkeys(("CredentialRetrievalError", "ProfileNotFound"), _NO_CREDENTIALS),
    **dict.fromkeys(("TokenRetrievalError", "SSOTokenLoadError"), _NO_CREDENTIALS),
    **dict.fromkeys(("DefaultCredentialsError", "RefreshError"), _NO_CREDENTIALS),
    **dict.fromkeys(("PermissionError",), _DENIED),
    **dict.fromkeys(("HTTPClientError", "ClientError", "TransportError"), _LOST),
    **dict.fromkeys(("ConnectionError", "TimeoutError", "FSTimeoutError"), _LOST),
    **dict.fromkeys(("RequestException", "ChecksumError"), _LOST),
    **dict.fromkeys(("IncompleteRead", "ResponseParserError"), _LOST),
}
"""By the names of classes: the clients need not be there to be spoken of."""


def _code(error: BaseException | None) -> str:
    """What the store answered, of an error or its cause; "" if it did not."""
    if error is None:
        return ""
    response = getattr(error, "response", None)
    told = response.get("Error", {}) if isinstance(response, dict) else {}
    code = told.get("Code") or getattr(error, "code", None) or ""
    return str(code) or _code(error.__cause__)


def _trouble(error: BaseException) -> _Trouble | None:
    """What an error of a client means; None for a mistake of ours."""
    code, text = _code(error), str(error)
    if code in _CODES:
        return _CODES[code]
    if isinstance(error, OSError) and text.startswith("Forbidden"):  # so gcsfs says it
        return _DENIED
    for kind in type(error).__mro__ if not code else ():
        if kind.__name__ in _KINDS:
            return _KINDS[kind.__name__]
    clients = ("botocore", "aiobotocore", "aiohttp", "google", "gcsfs", "s3fs")
    if isinstance(error, OSError) or type(error).__module__.startswith(clients):
        return _Trouble(one_line(text) or type(error).__name__, "check the bucket")
    return None


_RAISE: Any = object()


def ask(
    path: Named,
    do: str,
    call: Callable[[Any, Named], Any],
    missing: Any = _RAISE,
) -> Any:
    """Make a request; again, after a while, if what it failed of passes.

    Args:
      path: what is asked for.
      do: what is done to it, for the message.
      call: of the client and the path.
      missing: what to return if there is no such object; if not given, that is raised.

    Raises:
      FileNotFoundError, FileExistsError: so the store says.
      Unreachable: it cannot be asked.
    """
    client = _client(path.scheme)
    for wait in (*WAITS, None):
        try:
            return call(client, path)
        except (UserError, FileExistsError):
            raise
        except Exception as error:
            if _code(error) in ("PreconditionFailed", "412"):
                raise FileExistsError(str(path)) from error
            trouble = _trouble(error)
            if isinstance(error, FileNotFoundError) and trouble is not _NO_BUCKET:
                if missing is _RAISE:
                    raise
                return missing
            if trouble is None:
                raise
            if not trouble.passes or wait is None:
                _tell(path, do, trouble, error)
        # Many hosts that were told to be slower do not come back at the same moment.
        time.sleep(wait * random.uniform(0.5, 1.0))
    raise AssertionError


def _tell(path: Named, do: str, trouble: _Trouble, error: Exception) -> NoReturn:
    raise Unreachable(
        f"cannot {do} {path} ({trouble.problem}); {trouble.remedy}, then run the same "
        "command again: what was done is kept"
    ) from error


@functools.cache
def _client(scheme: str) -> Any:
    """The client of a kind of store, made once; it remembers no listing."""
    package, extra = SCHEMES[scheme]
    how: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    try:
        import fsspec

        if scheme == "s3":
            # Tried again here alone: three loops one in the other would try for hours.
            once = {"retries": {"total_max_attempts": 1}, "connect_timeout": 10}
            client = fsspec.filesystem(
                "s3", config_kwargs=once, max_concurrency=1, **how
            )
            client.retries = 1
            return client
        return fsspec.filesystem(scheme, **how)
    except ImportError as error:
        remedy = check.extra(extra)
        raise UserError(f"{scheme}:// needs the package {package}; {remedy}") from error


class Stat(NamedTuple):
    """Of an object: bytes, and when it was put."""

    st_size: int
    st_mtime: float


def head(client: Any, path: Named) -> Stat:
    """One request that asks the object itself."""
    if path.scheme == "s3":
        bucket, _, name = path.key.partition("/")
        found = client.call_s3("head_object", Bucket=bucket, Key=name)
        return Stat(found["ContentLength"], found["LastModified"].timestamp())
    from fsspec.asyn import sync

    found: Any = sync(client.loop, client._get_object, path.key)
    return Stat(int(found["size"]), found["mtime"].timestamp())


def require_bucket(folder: Named) -> None:
    """Refuse a bucket that is not there, or that may not be looked at.

    Asked once at a start: a store answers for an object of a bucket that is not there
    as for one that is missing.

    Raises:
      Unreachable: it cannot be used, and why.
    """
    bucket = folder.key.partition("/")[0]

    def look(client: Any, path: Named) -> None:
        if path.scheme == "s3":
            client.call_s3("head_bucket", Bucket=bucket)
        else:
            client.ls(bucket, refresh=True)

    try:
        ask(folder, "use", look)
    except FileNotFoundError as error:
        _tell(folder, "use", _NO_BUCKET, error)


def entries(client: Any, path: Named) -> list[str]:
    """Names right below a prefix, of objects and of prefixes."""
    found = client.ls(path.key, detail=False, refresh=True)
    names = {key.rstrip("/").removeprefix(f"{path.key}/") for key in found}
    return sorted(name for name in names if name and name != path.key)
