"""A store of objects on this machine, asked by the clients that ask a real one."""

from __future__ import annotations

import contextlib
import itertools
import threading

import pytest

from score_mia import bucket, lease

NUMBERS = itertools.count()
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def copied(run, to):
    """What a bucket's own tools make of a workdir when they copy it to a folder."""
    for path in run.rglob("*"):
        place = to / path.relative_to(run)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    return to


class Gate:
    """Stands before the store: keeps a list of requests, and may answer in its place.

    Attributes:
      asked: (method, path with its query) of each request.
      refuse: called with both; a (status, code) to answer in its place, or None.
    """

    def __init__(self, app):
        self.app, self.asked, self.lock = app, [], threading.Lock()
        self.refuse = lambda method, path: None

    def __call__(self, environ, start_response):
        method = environ["REQUEST_METHOD"]
        query = environ.get("QUERY_STRING")
        path = environ["PATH_INFO"] + (f"?{query}" if query else "")
        with self.lock:
            self.asked.append((method, path))
            answer = self.refuse(method, path)
        if answer is None:
            return self.app(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, code = answer
        body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        head = [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))]
        start_response(f"{status} {code}", head)
        return [b"" if method == "HEAD" else body]

    def count(self, method, text=""):
        return sum(m == method and text in path for m, path in self.asked)


@contextlib.contextmanager
def serving():
    """The store's gate and its address."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        create_backend_app,
    )
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *args, **kwargs):
            pass

    gate = Gate(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, gate, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield gate, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def server():
    with serving() as started:
        yield started


@pytest.fixture
def environment(server, monkeypatch):
    """What a process needs to find the store."""
    told = {**ENVIRONMENT, "AWS_ENDPOINT_URL": server[1]}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(bucket, "WAITS", (0.01, 0.01, 0.01))
    bucket._client.cache_clear()
    lease._SEEN.clear()
    yield told
    bucket._client.cache_clear()


@pytest.fixture
def gate(server, environment):
    """The gate, open, with nothing on its list."""
    server[0].asked.clear()
    server[0].refuse = lambda method, path: None
    yield server[0]
    server[0].refuse = lambda method, path: None


@pytest.fixture
def room(gate):
    """The name of a prefix in a new bucket."""
    name = f"bucket-{next(NUMBERS)}"
    bucket._client("s3").call_s3("create_bucket", Bucket=name)
    gate.asked.clear()
    return f"s3://{name}/run"
