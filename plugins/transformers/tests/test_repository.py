"""Models of the hub, from a server on this machine that gives the hub's few answers."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from latentbench_transformers.encoder import HfEncoder
from latentbench_transformers.plugin import HfOptions
from latentbench_transformers.repository import Repository

from latentbench.errors import UsageError
from latentbench.progress import SilentProgress
from latentbench.workspace import Workspace

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "some/model"


class Hub:
    """One repository, its weights in LFS."""

    def __init__(self, files):
        self.files = files
        self.got = []

    @contextmanager
    def running(self):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                hub.answer(self)

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

    def answer(self, request, *, body=False):
        path = request.path.partition("?")[0]
        if path.startswith(f"/api/models/{NAME}/revision/"):
            content, etag = self.listing(), "listing"
        else:
            name = path.rpartition("/")[2]
            if not path.startswith(f"/{NAME}/resolve/") or name not in self.files:
                request.send_error(404)
                return
            content = self.files[name]
            etag = hashlib.sha256(content).hexdigest()
            if body:
                self.got.append(name)
        request.send_response(200)
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("ETag", f'"{etag}"')
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if body:
            request.wfile.write(content)

    def listing(self):
        siblings = []
        for name, content in self.files.items():
            sibling = {"rfilename": name, "size": len(content), "blobId": "0" * 40}
            if name.endswith(("safetensors", "bin")):
                digest = hashlib.sha256(content).hexdigest()
                sibling["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
            siblings.append(sibling)
        return json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode()


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")


@pytest.fixture
def files(saved):
    return {file.name: file.read_bytes() for file in saved("wav2vec2").iterdir()}


def test_a_model_is_here_once_and_then_needs_no_network(files, tmp_path):
    hub = Hub({**files, "tf_model.h5": b"another framework's", "pytorch_model.bin": b"the same"})
    with hub.running() as endpoint:
        there = Repository(NAME, "main", endpoint, tmp_path)
        assert not there.is_here()
        described = there.describe(SilentProgress())
        assert sorted(hub.got) == ["config.json", "preprocessor_config.json"]
        folder = there.fetch(SilentProgress())
    assert folder == described
    assert folder.name == COMMIT
    assert hub.got[2:] == ["model.safetensors"]
    for name in hub.got:
        assert (folder / name).read_bytes() == files[name]
    for revision in ("main", COMMIT):
        offline = Repository(NAME, revision, "http://127.0.0.1:9", tmp_path)
        assert offline.is_here()
        assert offline.fetch(SilentProgress()) == folder


def test_all_shards_that_the_index_names_are_fetched(files, tmp_path):
    index = json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}).encode()
    shards = {"one.safetensors": b"1", "two.safetensors": b"2"}
    given = {"config.json": files["config.json"], "model.safetensors.index.json": index, **shards}
    with Hub(given).running() as endpoint:
        there = Repository(NAME, COMMIT, endpoint, tmp_path)
        there.describe(SilentProgress())
        assert not there.is_here()
        folder = there.fetch(SilentProgress())
        assert there.is_here()
    assert sorted(one.name for one in folder.iterdir()) == sorted(given)


def test_a_damaged_copy_in_the_cache_is_here_again(files, tmp_path):
    hub = Hub(files)
    with hub.running() as endpoint:
        there = Repository(NAME, "main", endpoint, tmp_path)
        weights = there.fetch(SilentProgress()) / "model.safetensors"
        weights.resolve().write_bytes(b"spoilt")
        there.fetch(SilentProgress())
        assert weights.read_bytes() == files["model.safetensors"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"README.md": b"words"}, "it holds no config.json"),
        ({"config.json": b"{}"}, "it holds neither model.safetensors nor pytorch_model.bin"),
    ],
)
def test_a_repository_without_model_is_named_with_what_it_lacks(tmp_path, given, text):
    with Hub(given).running() as endpoint, pytest.raises(UsageError, match=text):
        Repository(NAME, "main", endpoint, tmp_path).fetch(SilentProgress())


def test_without_network_the_way_on_is_said(tmp_path):
    there = Repository(NAME, COMMIT, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(
        UsageError, match=r"no folder here, and revision .* cannot be had"
    ) as caught:
        there.describe(SilentProgress())
    assert f"hf download {NAME} --revision {COMMIT} --local-dir model" in caught.value.hint


def test_weights_that_lack_a_shard_are_not_taken_for_whole(saved, tmp_path):
    (tmp_path / "config.json").write_bytes((saved("wavlm") / "config.json").read_bytes())
    index = {"weight_map": {"a": "one.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    encoder = HfEncoder(HfOptions(model=str(tmp_path)), Workspace())
    assert not encoder.weights_at_hand()
    assert (encoder.hop, encoder.dim) == (320, 16)  # a dry run knows them without weights
    with pytest.raises(UsageError, match="holds no weights"):
        Repository(str(tmp_path)).fetch(SilentProgress())
