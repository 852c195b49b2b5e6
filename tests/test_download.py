"""Downloads against a real HTTP server in this process: whole, resumed, refused, damaged."""

from __future__ import annotations

import hashlib
import http.server
import os
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from latentbench import download
from latentbench.download import fetch
from latentbench.errors import LatentbenchError, UsageError
from latentbench.progress import SilentProgress

BODY = bytes(range(256)) * 3000
SHA256 = hashlib.sha256(BODY).hexdigest()
HINT = "Copy it by hand."


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    body: bytes = BODY
    etag: str = '"one"'
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)  # bytes of body per answer; then whole
    status: int = 200
    seen: list[dict[str, str]] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        behaviour = self.server.behaviour
        behaviour.seen.append(dict(self.headers))
        body, start, status = behaviour.body, 0, behaviour.status
        if status != 200:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        asked = self.headers.get("Range")
        unchanged = self.headers.get("If-Range", behaviour.etag) == behaviour.etag
        if asked and behaviour.ranges and unchanged:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < len(body) else 416
        self.send_response(status)
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if behaviour.etag:
            self.send_header("ETag", behaviour.etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        if behaviour.cut_after:
            rest = rest[: behaviour.cut_after.pop(0)]
            self.close_connection = True
        self.wfile.write(rest)

    def log_message(self, *_):
        pass


@dataclass
class Task:
    title: str
    total: float | None
    unit: str
    done: float

    def advance(self, amount=1.0):
        self.done += amount

    def note(self, text):
        raise AssertionError(text)


class Recorder(SilentProgress):
    def __init__(self):
        super().__init__()
        self.tasks = []

    @contextmanager
    def task(self, title, total, unit, done=0.0):
        self.tasks.append(Task(title, total, unit, done))
        yield self.tasks[-1]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.behaviour = Behaviour()
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def get(server, tmp_path):
    """Fetch the body to `tmp_path/sub/file.bin`."""

    def call(**changed):
        given = {
            "checksum": f"sha256:{SHA256}",
            "progress": SilentProgress(),
            "title": "a file",
            "hint": HINT,
        }
        url = f"http://127.0.0.1:{server.server_address[1]}/file.bin"
        return fetch(url, tmp_path / "sub" / "file.bin", **(given | changed))

    return call


def leftovers(tmp_path):
    return sorted(path.name for path in (tmp_path / "sub").iterdir() if path.suffix != ".lock")


def test_fresh(get, tmp_path):
    progress = Recorder()
    assert get(progress=progress).read_bytes() == BODY
    assert leftovers(tmp_path) == ["file.bin"]
    assert progress.tasks == [Task("a file", len(BODY), "bytes", len(BODY))]


def test_what_is_there_is_not_asked_for_again(get, server):
    get()
    get()
    assert len(server.behaviour.seen) == 1


def test_md5_where_the_publisher_gives_no_other(get):
    md5 = hashlib.md5(BODY).hexdigest()  # noqa: S324 - OpenSLR's
    with pytest.raises(UsageError, match=f"md5 checksum {md5}, expected 0000"):
        get(checksum="md5:0000")
    assert get(checksum=f"md5:{md5}").read_bytes() == BODY


def test_a_cut_connection_is_taken_up_where_it_broke(get, server, tmp_path):
    server.behaviour.cut_after = [100_000, 200_000]
    progress = Recorder()
    assert get(progress=progress).read_bytes() == BODY
    assert leftovers(tmp_path) == ["file.bin"]
    assert [task.done for task in progress.tasks] == [100_000, 300_000, len(BODY)]
    assert {task.total for task in progress.tasks} == {len(BODY)}
    assert [seen.get("Range") for seen in server.behaviour.seen] == [
        None,
        "bytes=100000-",
        "bytes=300000-",
    ]


def test_an_interrupted_download_goes_on_in_the_next_call(get, server, tmp_path):
    server.behaviour.cut_after = [100_000, 0]
    with pytest.raises(UsageError, match=r"100,000 bytes are kept for the next try") as error:
        get()
    assert error.value.hint == HINT
    assert leftovers(tmp_path) == ["file.bin.part", "file.bin.part.validator"]
    progress = Recorder()
    assert get(progress=progress).read_bytes() == BODY
    assert server.behaviour.seen[-1]["If-Range"] == '"one"'
    assert progress.tasks == [Task("a file", len(BODY), "bytes", len(BODY))]


def test_ctrl_c_keeps_what_came(get, tmp_path):
    class Interrupting(Recorder):
        @contextmanager
        def task(self, title, total, unit, done=0.0):
            with super().task(title, total, unit, done) as meter:
                yield meter
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(progress=Interrupting())
    assert "file.bin.part" in leftovers(tmp_path)
    progress = Recorder()
    assert get(progress=progress).read_bytes() == BODY
    assert progress.tasks == []  # everything had come


def test_a_server_without_ranges_begins_anew(get, server):
    server.behaviour.ranges = False
    server.behaviour.cut_after = [100_000]
    progress = Recorder()
    assert get(progress=progress).read_bytes() == BODY
    assert [task.done for task in progress.tasks] == [100_000, len(BODY)]


def test_a_server_that_always_breaks_at_the_same_place_is_given_up(get, server):
    server.behaviour.ranges = False
    server.behaviour.cut_after = [100_000] * 9
    with pytest.raises(UsageError, match="cannot be downloaded"):
        get()
    assert len(server.behaviour.seen) == 2


def test_a_file_that_changed_meanwhile_is_not_glued_to_the_old_one(get, server):
    server.behaviour.cut_after = [100_000, 0]
    with pytest.raises(UsageError):
        get()
    server.behaviour.body = BODY[::-1]
    server.behaviour.etag = '"two"'
    new = hashlib.sha256(BODY[::-1]).hexdigest()
    assert get(checksum=f"sha256:{new}").read_bytes() == BODY[::-1]


def test_a_part_longer_than_the_file_is_dropped(get, tmp_path):
    part = tmp_path / "sub" / "file.bin.part"
    part.parent.mkdir()
    part.write_bytes(BODY + b"more")
    assert get().read_bytes() == BODY


def test_a_wrong_checksum_names_both_and_removes_what_came(get, server, tmp_path):
    server.behaviour.body = b"a page that says: please log in"
    found = hashlib.sha256(server.behaviour.body).hexdigest()
    with pytest.raises(UsageError, match=f"checksum {found}, expected {SHA256}; it was removed"):
        get()
    assert leftovers(tmp_path) == []


def test_a_missing_file(get, server):
    server.behaviour.status = 404
    with pytest.raises(UsageError, match="the server answers 404 Not Found") as error:
        get()
    assert error.value.hint == HINT


def test_a_refused_connection_is_found_out_fast(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        begun = time.monotonic()
        with pytest.raises(UsageError, match=r"cannot be downloaded: .*refused") as error:
            fetch(url, tmp_path / "x", checksum="", progress=SilentProgress(), title="", hint=HINT)
    assert time.monotonic() - begun < 5
    assert error.value.hint == HINT


def test_a_name_server_that_never_answers_is_not_waited_for(get, monkeypatch):
    hung = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: hung.wait(30))
    monkeypatch.setattr(download.urllib.request, "getproxies", dict)
    monkeypatch.setattr(download, "LOOKUP_SECONDS", 0.05)
    with pytest.raises(UsageError, match=r"no name server answered within 0\.05 s"):
        get()
    hung.set()


@pytest.mark.parametrize("url", ["file:///etc/hostname", "nonsense", "http://[::1"])
def test_what_is_no_web_address(url, tmp_path):
    with pytest.raises(UsageError, match="cannot be downloaded"):
        fetch(url, tmp_path / "x", checksum="", progress=SilentProgress(), title="")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_is_said(get, tmp_path):
    part = tmp_path / "sub" / "file.bin.part"
    part.parent.mkdir()
    part.symlink_to("/dev/full")
    with pytest.raises(LatentbenchError, match="disk is full") as error:
        get()
    assert "goes on where it stopped" in error.value.hint
    assert part.is_symlink()


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LatentbenchError, match="cannot be written"):
        fetch(
            "http://127.0.0.1/x",
            tmp_path / "file" / "x",
            checksum="",
            progress=SilentProgress(),
            title="",
        )


def test_two_at_once_download_once(get, server):
    progress = SilentProgress()
    threads = [threading.Thread(target=get, kwargs={"progress": progress}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert get().read_bytes() == BODY
    assert len(server.behaviour.seen) == 1
    assert set(progress.said) <= {"Another process has begun: a file. Waiting for it."}


def test_the_first_digits_of_a_checksum_are_checked(get, tmp_path):
    with pytest.raises(UsageError, match="expected 00000000; it was removed"):
        get(checksum="sha256:00000000")
    assert list((tmp_path / "sub").glob("file.bin*")) == [tmp_path / "sub" / "file.bin.lock"]
    assert get(checksum=f"sha256:{SHA256[:8]}").read_bytes() == BODY


def test_without_a_published_checksum_the_one_found_is_said(get):
    progress = SilentProgress()
    assert get(checksum="", progress=progress).read_bytes() == BODY
    assert f"no published checksum; what came has sha256 {SHA256}" in progress.said[0]
