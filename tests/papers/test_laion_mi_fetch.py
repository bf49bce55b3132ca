"""Fetching from a server of this machine that has good days and bad ones."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import struct
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from score_mia.check import UserError
from score_mia.data.given import folders
from score_mia.data.local import folder
from score_mia.papers.laion_mi import web
from score_mia.papers.laion_mi.download import LOG, fetch
from tests.data.makers import pictures

EVERY = ("/a.png", "/b.jpg", "/moved", "/gone", "/page", "/cut", "/drop", "/big")


def encoded(i, kind="PNG", size=8):
    file = io.BytesIO()
    Image.fromarray(pictures(1, size, seed=i)[0]).save(file, kind)
    return file.getvalue()


class Host(http.server.BaseHTTPRequestHandler):
    """Answers each path in its own way; notes what it was asked."""

    def do_GET(self):
        self.server.asked.append(self.path)
        path = self.path.partition("?")[0]
        if path in ("/a.png", "/b.jpg"):
            self.tell(200, encoded(1) if path == "/a.png" else encoded(2, "JPEG"))
        elif path == "/moved":
            self.tell(302, Location="/a.png?moved")
        elif path == "/away":
            self.tell(302, Location="file:///etc/hostname")
        elif path == "/page":
            self.tell(200, b"<html>not here any more</html>")
        elif path == "/cut":
            self.tell(200, encoded(3, size=64)[:900])
        elif path == "/drop":
            self.tell(200, encoded(4), short=10)
        elif path == "/big":
            self.tell(200, encoded(5, size=128))
        elif path == "/stream":
            self.stream(encoded(5, size=128))
        elif path == "/bomb.png":
            self.tell(200, bomb())
        elif path == "/frames.gif":
            self.tell(200, frames())
        elif path == "/busy" and self.server.asked.count("/busy") < 3:
            self.tell(503, Retry_After="7")
        elif path == "/busy":
            self.tell(200, encoded(6))
        elif path == "/silent":
            self.server.over.wait()
        else:
            self.tell(404, b"no")

    def tell(self, code, data=b"", short=0, **headers):
        self.send_response(code)
        self.send_header("Content-Length", str(len(data) + short))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def stream(self, data):
        """Without a word about the length."""
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data)

    def log_message(self, *args):
        pass


def frames():
    file = io.BytesIO()
    first, *rest = (Image.fromarray(x) for x in pictures(3))
    first.save(file, "GIF", save_all=True, append_images=rest)
    return file.getvalue()


def bomb():
    """A PNG of a few bytes that claims to be 60,000 pixels a side."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    server.asked, server.over = [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def manners(**changed):
    how = {"threads": 3, "per_second": 1e9, "most_bytes": 20_000, "retries": 0}
    return web.Manners(**{**how, "sleep": lambda seconds: None, **changed})


def listed(path, urls):
    lines = [json.dumps({"url": u, "caption": f"what is at {u}"}) for u in urls]
    path.write_text("\n".join(lines))
    return path


def run(root, host, paths=EVERY, name="members.jsonl", **options):
    urls = [host.url + p for p in paths]
    options.setdefault("manners", manners())
    return fetch(listed(root / name, urls), root / "out", **options)


def results(done, host):
    return {x.url.removeprefix(host.url): (x.result, x.reason) for x in done.lines}


def test_what_comes_of_every_kind_of_address(tmp_path, host):
    done = run(tmp_path, host)
    told = results(done, host)
    assert {p for p, (result, _) in told.items() if result == "ok"} == {
        *("/a.png", "/b.jpg", "/moved")
    }
    assert told["/gone"] == ("dead", "HTTP 404")
    assert told["/drop"][0] == "dead"
    assert told["/drop"][1].startswith("cut off after")
    assert told["/page"][0] == told["/cut"][0] == "no image"
    assert "it is none of PNG" in told["/page"][1]
    assert "truncated" in told["/cut"][1]
    assert told["/big"] == ("no image", "more than 20000 bytes")
    assert [done.count(r) for r in ("ok", "dead", "no image")] == [3, 2, 3]
    assert "8 addresses, 8 asked now: 3 images" in done.about
    assert "2 dead (most: 1 HTTP 404, " in done.about
    assert "1 images are copies of another" in done.about  # /moved leads to /a.png


@pytest.mark.parametrize("path", ["/away", "/stream", "/frames.gif", "/bomb.png"])
def test_no_address_leads_to_a_file_a_flood_or_a_film(tmp_path, host, path):
    (line,) = run(tmp_path, host, [path]).lines
    want = {
        "/away": ("dead", "HTTP 302"),
        "/stream": ("no image", "more than 20000 bytes"),
        "/frames.gif": ("no image", "holds 3 frames"),
        "/bomb.png": ("no image", "has more than 178 million pixels"),
    }[path]
    assert line.result == want[0]
    assert want[1] in line.reason


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "ftp://127.0.0.1/a.png", "no address", "http://["]
)
def test_what_is_no_web_address_is_dead_and_not_opened(tmp_path, host, url):
    done = fetch(
        listed(tmp_path / "members.jsonl", [url]), tmp_path / "out", manners=manners()
    )
    assert done.count("dead") == 1
    assert host.asked == []


def test_a_host_that_never_answers_costs_the_timeout_only(tmp_path, host):
    waits = []
    how = manners(timeout=0.1, retries=2, sleep=waits.append)
    (line,) = run(tmp_path, host, ["/silent"], manners=how).lines
    assert (line.result, line.reason) == ("dead", "no answer in time")
    assert waits == [1.0, 2.0]


def test_a_busy_host_is_asked_again_when_it_says(tmp_path, host):
    waits = []
    how = manners(retries=2, sleep=waits.append)
    (line,) = run(tmp_path, host, ["/busy"], manners=how).lines
    assert (line.result, waits) == ("ok", [7.0, 7.0])
    # What is not there is not asked for again.
    run(tmp_path, host, ["/gone"], manners=how, name="nonmembers.jsonl")
    assert host.asked.count("/gone") == 1


def test_threads_keep_one_rate():
    waits = []
    pace = web.Pace(manners(per_second=0.001, sleep=waits.append))
    for _ in range(3):
        pace.wait()
    assert [round(w / 100) for w in waits] == [10, 20]


def test_files_are_kept_byte_by_byte_and_read_by_a_config(tmp_path, host):
    run(tmp_path, host)
    done = run(tmp_path, host, ["/a.png?2", "/gone?2"], name="nonmembers-0-of-1.jsonl")
    assert done.group == "nonmembers"
    out = tmp_path / "out"
    source = folder(out, 8)
    split = folders(source)
    assert (len(split.members), len(split.nonmembers)) == (3, 1)
    (line,) = (x for x in done.lines if x.result == "ok")
    assert (out / line.file).read_bytes() == encoded(1)
    texts = source.columns(split.nonmembers, ("caption",))["caption"]
    assert list(texts) == [f"what is at {host.url}/a.png?2"]
    np.testing.assert_array_equal(
        source.images(split.nonmembers)[0], pictures(1, 8, seed=1)[0] / np.float32(255)
    )


def test_a_second_run_asks_nothing_twice(tmp_path, host):
    first = run(tmp_path, host)
    count = len(host.asked)
    again = run(tmp_path, host)
    assert len(host.asked) == count
    assert (again.asked, again.lines) == (0, first.lines)
    captions = (tmp_path / "out" / "captions.csv").read_text()
    assert captions.count("what is at") == 3


def test_again_asks_what_gave_no_image(tmp_path, host):
    run(tmp_path, host)
    host.asked.clear()
    done = run(tmp_path, host, again=True)
    assert sorted(host.asked) == sorted(EVERY[3:])
    assert done.asked == 5


def test_most_takes_the_beginning_and_a_later_run_goes_on(tmp_path, host):
    assert len(run(tmp_path, host, most=2).lines) == 2
    assert sorted(host.asked) == ["/a.png", "/b.jpg"]
    assert run(tmp_path, host, most=3).asked == 1


def test_a_killed_run_loses_the_line_that_it_was_writing(tmp_path, host):
    run(tmp_path, host, ["/a.png", "/gone"])
    log = tmp_path / "out" / LOG
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + lines[1][: len(lines[1]) // 2])
    lost = json.loads(lines[1])["url"].removeprefix(host.url)
    host.asked.clear()
    run(tmp_path, host, ["/a.png", "/gone"])
    assert host.asked == [lost]
    assert len(log.read_text().splitlines()) == 2


def test_an_image_that_was_deleted_is_fetched_again(tmp_path, host):
    (line,) = run(tmp_path, host, ["/a.png"]).lines
    (tmp_path / "out" / line.file).unlink()
    assert run(tmp_path, host, ["/a.png"]).asked == 1
    assert (tmp_path / "out" / line.file).is_file()


def test_an_address_of_both_lists_stays_with_the_first(tmp_path, host):
    run(tmp_path, host, ["/a.png"])
    done = run(tmp_path, host, ["/a.png", "/b.jpg"], name="nonmembers.jsonl")
    assert (done.elsewhere, len(done.lines)) == (1, 1)
    assert "1 left out, which another list has too" in done.about


LINE = {
    "url": "http://x",
    "caption": "x",
    "group": "members",
    "result": "ok",
    "reason": "",
    "file": "../../x.png",
    "digest": "",
}
BAD_LOGS = {
    "words": ("hello\n", r"log.jsonl, line 1 is damaged \(.*remove this line"),
    "list": ("[]\n", r"line 1 is damaged: it is \[\], not an object"),
    "field": ('{"url": 3}\n', r"line 1 is damaged: "),
    "outside": (json.dumps(LINE) + "\n", r"line 1: names a file outside"),
}


@pytest.mark.parametrize("case", BAD_LOGS)
def test_a_damaged_log_is_one_line(tmp_path, host, case):
    text, message = BAD_LOGS[case]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOG).write_text(text)
    with pytest.raises(UserError, match=message) as told:
        run(tmp_path, host, ["/a.png"])
    assert "\n" not in str(told.value)
    assert host.asked == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"most": 0}, r"most=0: is below 1"),
        ({"group": "../x"}, r"group '../x': cannot be the name"),
        ({"manners": None, "name": "a b.jsonl"}, r"group 'a b': cannot be the"),
    ],
)
def test_arguments_that_cannot_be(tmp_path, host, options, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path, host, ["/a.png"], **options)


def test_a_folder_of_something_else_is_left_alone(tmp_path, host):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds something else \(thesis.txt\)"):
        run(tmp_path, host, ["/a.png"])
    assert host.asked == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("threads", 0), ("timeout", 0.0), ("retries", -1), ("per_second", 0.0)],
)
def test_manners_are_bounded(field, value):
    with pytest.raises(UserError, match=f"^{field}="):
        web.Manners(**{field: value})


def test_the_command_says_what_is_left_and_its_errors_are_one_line(tmp_path, host):
    urls = [host.url + path for path in ("/a.png", "/gone", "/page")]
    command = [sys.executable, "-m", "score_mia.papers.laion_mi.fetch"]
    command += [f"--out={tmp_path / 'out'}", "--retries=0", "--per_second=1000"]
    path = listed(tmp_path / "members.jsonl", urls)
    run = subprocess.run(
        [*command, f"--list={path}"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    first, dead, other = run.stdout.splitlines()
    assert first == "members: 3 addresses, 3 asked now: 1 images"
    assert dead == "  1 dead (most: 1 HTTP 404)"
    assert other.startswith("  1 no image (most: 1 the answer cannot be read")
    run = subprocess.run(
        [*command, "--list=none.csv"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("error: list none.csv: does not")
    assert "Traceback" not in run.stderr
