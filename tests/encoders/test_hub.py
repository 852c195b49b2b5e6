import dataclasses
import hashlib
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from latentbench.digest import file_digest
from latentbench.encoders.weights import HubError, HubFile
from latentbench.progress import SilentProgress

CONTENT = bytes(range(256)) * 8192  # 2 MiB
FILE = HubFile(
    repo="some/model",
    revision="0123456789abcdef0123456789abcdef01234567",
    name="model.safetensors",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


class Hub:
    """The few answers of the hub that one file needs, on this machine."""

    def __init__(self):
        self.content = CONTENT
        self.break_after = []  # bytes after which the next transfers are cut
        self.status = 200
        self.requests = []

    @contextmanager
    def running(self):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                hub.answer(self, body=False)

            def do_GET(self):
                hub.answer(self, body=True)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, request, *, body):
        span = request.headers.get("Range", "")
        self.requests.append((request.command, request.path, span))
        first = int(span.removeprefix("bytes=").partition("-")[0]) if span else 0
        part = self.content[first:]
        if request.path != f"/{FILE.repo}/resolve/{FILE.revision}/{FILE.name}":
            request.send_error(404)
            return
        request.send_response(self.status if self.status != 200 else 206 if span else 200)
        request.send_header("X-Repo-Commit", FILE.revision)
        request.send_header("ETag", f'"{FILE.sha256}"')
        request.send_header("Content-Length", str(len(part)))
        if span:
            request.send_header(
                "Content-Range", f"bytes {first}-{len(self.content) - 1}/{len(self.content)}"
            )
        request.end_headers()
        if body:
            cut = self.break_after.pop(0) if self.break_after else len(part)
            request.wfile.write(part[:cut])
            if cut < len(part):
                request.close_connection = True

    def downloads(self):
        return [span for command, _, span in self.requests if command == "GET"]


class Meter:
    def __init__(self):
        self.amount = 0.0

    def advance(self, amount=1.0):
        self.amount += amount

    def note(self, text):
        raise AssertionError(text)


class Watched(SilentProgress):
    def __init__(self):
        super().__init__()
        self.tasks = []

    @contextmanager
    def task(self, title, total, unit, done=0.0):
        meter = Meter()
        self.tasks.append((title, total, unit, done, meter))
        yield meter


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")


def test_a_file_is_downloaded_once_and_then_needs_no_network(hub, tmp_path, capfd):
    progress = Watched()
    with hub.running() as endpoint:
        path = FILE.download(progress, endpoint=endpoint, cache=tmp_path)
    assert path.read_bytes() == CONTENT
    ((title, total, unit, done, meter),) = progress.tasks
    assert title == "Fetching some/model model.safetensors"
    assert (total, unit, done) == (len(CONTENT), "B", 0.0)
    assert meter.amount == len(CONTENT)
    assert capfd.readouterr() == ("", "")  # the client's own bars stay out of our display

    asked = len(hub.requests)
    assert FILE.download(progress, endpoint="http://127.0.0.1:9", cache=tmp_path) == path
    assert len(hub.requests) == asked
    assert len(progress.tasks) == 1


def test_a_broken_transfer_is_resumed(hub, tmp_path):
    hub.content = CONTENT * 6  # the client keeps what came in whole pieces of 10 MB
    whole = dataclasses.replace(FILE, sha256=hashlib.sha256(hub.content).hexdigest())
    hub.break_after = [11_000_000]
    progress = Watched()
    with hub.running() as endpoint:
        path = whole.download(progress, endpoint=endpoint, cache=tmp_path)
    assert file_digest(path) == whole.sha256
    first, second = hub.downloads()
    assert first == ""
    begin = int(second.removeprefix("bytes=").rstrip("-"))
    assert 5_000_000 < begin <= 11_000_000
    assert progress.tasks[0][-1].amount == len(hub.content)


def test_other_content_of_the_same_size_is_refused(hub, tmp_path):
    hub.content = CONTENT[:-1] + b"?"
    with hub.running() as endpoint, pytest.raises(HubError, match="arrived with sha256") as error:
        FILE.download(SilentProgress(), endpoint=endpoint, cache=tmp_path)
    assert FILE.sha256 in str(error.value)


def test_a_damaged_copy_in_the_cache_is_fetched_again(hub, tmp_path):
    progress = SilentProgress()
    with hub.running() as endpoint:
        path = FILE.download(progress, endpoint=endpoint, cache=tmp_path)
        blob = path.resolve()
        blob.write_bytes(CONTENT[:1000] + b"?" + CONTENT[1001:])
        again = FILE.download(progress, endpoint=endpoint, cache=tmp_path)
    assert file_digest(again) == FILE.sha256
    assert progress.said == [f"The cached copy '{path}' is damaged; fetching it again."]


def test_where_no_checksum_is_known_the_hubs_own_is_held_against_the_content(hub, tmp_path):
    file, progress = dataclasses.replace(FILE, sha256=""), SilentProgress()
    with hub.running() as endpoint:
        path = file.download(progress, endpoint=endpoint, cache=tmp_path)
        path.resolve().write_bytes(CONTENT[:-1])
        again = file.download(progress, endpoint=endpoint, cache=tmp_path)
        assert again.read_bytes() == CONTENT
        assert len(progress.said) == 1
        path.resolve().write_bytes(CONTENT[:-1])
        hub.content = CONTENT[:-1] + b"?"
        with pytest.raises(HubError, match=f"arrived with .*, expected {FILE.sha256}"):
            file.download(progress, endpoint=endpoint, cache=tmp_path)


def test_a_damaged_copy_is_not_used_without_a_network(hub, tmp_path):
    with hub.running() as endpoint:
        path = FILE.download(SilentProgress(), endpoint=endpoint, cache=tmp_path)
    path.resolve().write_bytes(CONTENT[:-5])
    with pytest.raises(HubError, match="ConnectError") as error:
        FILE.download(SilentProgress(), endpoint="http://127.0.0.1:9", cache=tmp_path)
    assert error.value.damaged


def test_a_refused_connection_is_found_out_within_seconds(tmp_path):
    started = time.monotonic()
    with pytest.raises(HubError, match="refused") as error:
        FILE.download(SilentProgress(), endpoint="http://127.0.0.1:9", cache=tmp_path)
    assert not error.value.damaged
    assert time.monotonic() - started < 5


def test_a_silent_network_is_given_up_in_time(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(HubError, match=r"no answer from .* within 0.5 s|Timeout"):
            FILE.download(SilentProgress(), endpoint=endpoint, cache=tmp_path, patience=0.5)
        assert time.monotonic() - started < 5


def test_patience_leaves_room_within_ten_seconds():
    from latentbench.encoders.weights import PROBE_SECONDS

    assert PROBE_SECONDS <= 5  # imports and a name look-up take the rest


@pytest.mark.parametrize(("status", "found"), [(404, "404"), (403, "403"), (500, "500")])
def test_a_refusal_is_passed_on(hub, tmp_path, status, found):
    hub.status = status
    with hub.running() as endpoint, pytest.raises(HubError, match=found):
        FILE.download(SilentProgress(), endpoint=endpoint, cache=tmp_path)
