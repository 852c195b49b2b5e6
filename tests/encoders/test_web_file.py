"""Published files at an address of their own, from a real server in this process."""

import hashlib
import http.server
import threading
from functools import partial

import pytest

from latentbench.encoders.weights import WebFile
from latentbench.errors import UsageError
from latentbench.progress import SilentProgress

CONTENT = b"weights of a model"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Recorder(SilentProgress):
    def __init__(self):
        super().__init__()
        self.titles = []

    def task(self, title, total, unit, done=0.0):
        self.titles.append(title)
        return super().task(title, total, unit, done)


@pytest.fixture
def address(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "model.pth").write_bytes(CONTENT)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/model.pth"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8]])
def test_it_is_downloaded_once_to_its_place_and_checked(address, tmp_path, sha256):
    progress = Recorder()
    file = WebFile(url=address, place=tmp_path / "cache" / "kept.pth", sha256=sha256)
    assert not file.is_here()
    assert [file.fetch(progress), file.fetch(progress)] == [file.place, file.place]
    assert file.is_here()
    assert file.place.read_bytes() == CONTENT
    assert progress.titles == ["Fetching model.pth"]
    assert progress.said == []


def test_what_comes_without_a_checksum_is_told(address, tmp_path):
    progress = SilentProgress()
    WebFile(url=address, place=tmp_path / "kept.pth").fetch(progress)
    assert len(progress.said) == 1
    assert SHA256 in progress.said[0]


def test_other_content_is_refused_and_removed(address, tmp_path):
    file = WebFile(url=address, place=tmp_path / "kept.pth", sha256="00000000")
    with pytest.raises(UsageError, match="expected 00000000; it was removed"):
        file.fetch(SilentProgress())
    assert not file.is_here()


@pytest.mark.parametrize("published", [SHA256[:8], ""])
def test_a_damaged_copy_is_said_and_fetched_again(address, tmp_path, published):
    file = WebFile(url=address, place=tmp_path / "kept.pth", sha256=published)
    file.fetch(SilentProgress())
    file.place.write_bytes(b"half a file")
    progress = SilentProgress()
    assert file.fetch(progress).read_bytes() == CONTENT
    assert f"'{file.place}' is damaged: fetching it again" in progress.said[0]
    assert (tmp_path / "kept.pth.damaged").read_bytes() == b"half a file"


def test_a_damaged_copy_is_not_lost_without_network(tmp_path):
    place = tmp_path / "kept.pth"
    place.write_bytes(b"half a file")
    file = WebFile(url="http://127.0.0.1:9/model.pth", place=place, sha256="d7cc33bc")
    with pytest.raises(UsageError, match="cannot be downloaded"):
        file.fetch(SilentProgress())
    assert (tmp_path / "kept.pth.damaged").read_bytes() == b"half a file"


def test_without_network_the_error_says_how_to_go_on(tmp_path):
    place = tmp_path / "kept.pth"
    file = WebFile(url="http://127.0.0.1:9/v2/model.pth", place=place)
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:9/v2/model\.pth cannot be down") as caught:
        file.fetch(SilentProgress(), otherwise="; or sing")
    assert caught.value.hint == (
        f"Fetch it on a machine with network, then copy it to '{place}' "
        "or pass --set encoder.weights=/path/to/model.pth; or sing."
    )
