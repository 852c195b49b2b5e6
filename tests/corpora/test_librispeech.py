from __future__ import annotations

import errno
import functools
import hashlib
import http.server
import io
import socket
import tarfile
import threading
import time
from pathlib import Path

import pytest

from latentbench.corpora import AudioError
from latentbench.corpora.librispeech import ARCHIVES, OF_RESOURCE_31, LibriSpeech, read_speakers
from latentbench.corpora.plugin import LibriSpeechOptions
from latentbench.errors import LatentbenchError, UsageError

SPEAKERS = """;ID  |SEX| SUBSET           |MINUTES| NAME
9    | F | dev-clean        | 25.03 | Ada
10   | M | dev-clean        | 25.11 | |CBW|Simon
"""
NAMES = ["10/2/10-2-0000", "9/11/9-11-0003", "9/2/9-2-0010", "9/2/9-2-0009"]
ORDER = ["9-2-0009", "9-2-0010", "9-11-0003", "10-2-0000"]


@pytest.fixture
def root(tmp_path, tone):
    """A tiny LibriSpeech with one subset."""
    folder = tmp_path / "LibriSpeech"
    for name in NAMES:
        tone(folder / "dev-clean" / f"{name}.flac", rate=16000)
    (folder / "dev-clean" / "9" / "2" / "9-2.trans.txt").write_text("9-2-0009 HELLO\n")
    (folder / "SPEAKERS.TXT").write_text(SPEAKERS)
    return folder


@pytest.fixture
def corpus(workspace):
    return lambda **options: LibriSpeech(LibriSpeechOptions(**options), workspace)


def test_order_and_attributes(root, corpus):
    found = corpus(root=str(root), subset="dev-clean").utterances()
    assert [one.id for one in found] == ORDER
    assert [one.speaker for one in found] == ["9", "9", "9", "10"]
    assert found[2].attributes == {"sex": "F", "subset": "dev-clean", "chapter": "11"}
    assert found[3].attributes["sex"] == "M"
    assert {(one.sample_rate, one.seconds) for one in found} == {(16000, 0.1)}
    assert found[0].source.read().shape == (1, 1600)


def test_the_parent_of_the_root_will_do(root, corpus):
    found = corpus(root=str(root.parent), subset="dev-clean").utterances()
    assert [one.id for one in found] == ORDER


def test_several_subsets_are_merged_in_order_of_speaker(root, corpus, tone):
    tone(root / "test-clean" / "9" / "3" / "9-3-0000.flac")
    both = corpus(root=str(root), subset="test-clean+dev-clean+test-clean")
    assert [one.id for one in both.utterances()] == [*ORDER[:2], "9-3-0000", *ORDER[2:]]
    assert both.identity == corpus(root=str(root), subset="dev-clean+test-clean").identity
    assert both.name == "librispeech test-clean+dev-clean"


def test_subsets_that_overlap(root, corpus, tone):
    tone(root / "dev-clean-2" / "9" / "2" / "9-2-0010.flac")
    with pytest.raises(UsageError, match="9-2-0010 is in 'dev-clean' and in 'dev-clean-2'"):
        corpus(root=str(root), subset="dev-clean+dev-clean-2").utterances()


def test_a_damaged_file_is_listed_and_raises_when_read(root, corpus):
    (root / "dev-clean" / "9" / "2" / "9-2-0010.flac").write_bytes(b"no flac")
    found = corpus(root=str(root), subset="dev-clean").utterances()
    assert [one.id for one in found] == ORDER
    assert (found[1].sample_rate, found[1].seconds) == (0, 0.0)
    with pytest.raises(AudioError):
        found[1].source.read()


def test_speakers_whose_names_hold_the_separator(root):
    assert read_speakers(root / "SPEAKERS.TXT") == {9: "F", 10: "M"}


@pytest.mark.parametrize(
    ("place", "message", "hint"),
    [
        ("absent", "There is no folder", "holds SPEAKERS.TXT"),
        (
            "LibriSpeech/dev-clean",
            "is not LibriSpeech: it holds no SPEAKERS.TXT",
            "Pass its parent",
        ),
        ("other", "is not LibriSpeech", "holds SPEAKERS.TXT"),
    ],
)
def test_a_root_that_is_not_librispeech(root, corpus, place, message, hint):
    (root.parent / "other").mkdir()
    with pytest.raises(UsageError, match=message) as error:
        corpus(root=str(root.parent / place), subset="dev-clean").utterances()
    assert hint in error.value.hint


def test_a_subset_that_is_not_there(root, corpus):
    with pytest.raises(UsageError, match="There is no subset 'train-clean-100'") as error:
        corpus(root=str(root)).utterances()
    assert error.value.hint == "There: dev-clean."


def test_a_subset_without_utterances(root, corpus):
    (root / "dev-other").mkdir()
    with pytest.raises(UsageError, match="holds no utterances"):
        corpus(root=str(root), subset="dev-other").utterances()


def test_an_unknown_subset_is_not_downloaded(corpus):
    with pytest.raises(UsageError, match="no subset 'train-clean-10'") as error:
        corpus(subset="train-clean-10").utterances()
    assert error.value.hint == "Did you mean 'train-clean-100'?"
    with pytest.raises(UsageError, match=r"corpus\.subset is empty"):
        corpus(subset="+").utterances()


def test_no_network_is_found_out_fast_and_says_how_to_go_on(corpus, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{unused.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(UsageError, match=r"train-clean-100\.tar\.gz cannot be") as error:
            corpus(mirror=mirror).utterances()
    assert time.monotonic() - begun < 10
    assert "--set corpus.root=" in error.value.hint
    assert "--preset demo" in error.value.hint


def test_checksums_are_those_torchaudio_ships():
    torchaudio = pytest.importorskip("torchaudio.datasets.librispeech")
    for url, sha256 in torchaudio._CHECKSUMS.items():
        resource, name = url.removesuffix(".tar.gz").split("/")[-2:]
        assert ARCHIVES[name] == f"sha256:{sha256}"
        assert (name in OF_RESOURCE_31) == (int(resource) == 31)
    assert set(torchaudio._DATA_SUBSETS) <= set(ARCHIVES)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Serve an archive as OpenSLR would; returns the mirror and where the archive lies."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = tmp_path / "served"
    (served / "12").mkdir(parents=True)
    handler = functools.partial(Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()

        def serve(fill):
            packed = served / "12" / "dev-clean.tar.gz"
            with tarfile.open(packed, "w:gz") as tar:
                fill(tar)
            sha256 = hashlib.sha256(packed.read_bytes()).hexdigest()
            monkeypatch.setitem(ARCHIVES, "dev-clean", f"sha256:{sha256}")
            return f"http://127.0.0.1:{server.server_address[1]}/"

        yield serve
        server.shutdown()
        thread.join()


def test_a_download_equals_the_local_copy(root, corpus, publish, workspace):
    mirror = publish(lambda tar: tar.add(root, "LibriSpeech"))
    downloaded = corpus(subset="dev-clean", mirror=mirror)
    local = corpus(root=str(root), subset="dev-clean")
    assert downloaded.identity == local.identity
    pairs = zip(downloaded.utterances(), local.utterances(), strict=True)
    for one, two in pairs:
        assert (one.id, one.attributes) == (two.id, two.attributes)
        assert one.source.digest() == two.source.digest()
        assert one.source.path.is_relative_to(workspace.cache / "downloads")
    left = {path.name for path in (workspace.cache / "downloads" / "librispeech").iterdir()}
    assert {name for name in left if not name.endswith(".lock")} == {"LibriSpeech"}
    again = corpus(subset="dev-clean", mirror="http://127.0.0.1:9")  # asks nobody
    assert [one.id for one in again.utterances()] == ORDER


def test_two_at_once_download_once(root, corpus, publish, workspace):
    mirror = publish(lambda tar: tar.add(root, "LibriSpeech"))
    found = []

    def list_it():
        found.append([one.id for one in corpus(subset="dev-clean", mirror=mirror).utterances()])

    threads = [threading.Thread(target=list_it) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [ORDER] * 3
    said = "Another process has begun: LibriSpeech dev-clean. Waiting for it."
    assert set(workspace.progress.said) <= {said}


def test_a_cache_that_cannot_be_written_is_read(root, corpus, workspace, monkeypatch):
    there = workspace.cache / "downloads" / "librispeech"
    there.mkdir(parents=True)
    root.rename(there / "LibriSpeech")

    def refuse(path, **_):
        # A file system mounted to read says so of files that are not there, too.
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    assert [one.id for one in corpus(subset="dev-clean").utterances()] == ORDER


def test_a_folder_that_cannot_be_listed(root, corpus, monkeypatch):
    def forbidden(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", forbidden)
    with pytest.raises(UsageError, match="LibriSpeech' cannot be listed: Permission denied"):
        corpus(root=str(root), subset="dev-clean").utterances()


def test_an_interrupted_unpacking_goes_on(root, corpus, publish, workspace, monkeypatch):
    mirror = publish(lambda tar: tar.add(root, "LibriSpeech"))
    place = workspace.cache / "downloads" / "librispeech"
    real = tarfile.TarFile.extractfile
    written = []

    def interrupted(tar, member):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(member.name)
        return real(tar, member)

    monkeypatch.setattr(tarfile.TarFile, "extractfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        corpus(subset="dev-clean", mirror=mirror).utterances()
    assert not (place / "LibriSpeech" / "dev-clean").exists()
    first = list(written)
    written.clear()
    monkeypatch.setattr(
        tarfile.TarFile,
        "extractfile",
        lambda tar, member: written.append(member.name) or real(tar, member),
    )
    found = corpus(subset="dev-clean", mirror="http://127.0.0.1:9").utterances()
    assert [one.id for one in found] == ORDER
    assert not set(first) & set(written)


def hostile(name, kind=tarfile.REGTYPE):
    def fill(tar):
        member = tarfile.TarInfo(name)
        member.type = kind
        member.linkname = "/etc/hostname"
        member.size = 4 if kind == tarfile.REGTYPE else 0
        tar.addfile(member, io.BytesIO(b"evil"))

    return fill


@pytest.mark.parametrize(
    "fill",
    [
        hostile("../evil"),
        hostile("/tmp/evil"),  # noqa: S108 - refused, never written
        hostile("LibriSpeech/dev-clean/1/2/../../../../evil.flac"),
        hostile("LibriSpeech/dev-clean/1/2/1-2-0000.flac", tarfile.SYMTYPE),
        hostile("LibriSpeech/dev-clean/1/2/1-2-0000.flac", tarfile.LNKTYPE),
        hostile("LibriSpeech/dev-clean/1/2/1-2-0000.flac", tarfile.FIFOTYPE),
        hostile("LibriSpeech/test-clean/1/2/1-2-0000.flac"),
    ],
)
def test_an_archive_cannot_write_elsewhere(corpus, publish, workspace, tmp_path, fill):
    mirror = publish(fill)
    with pytest.raises(LatentbenchError, match=r"is damaged: it holds '.*', which is no file of"):
        corpus(subset="dev-clean", mirror=mirror).utterances()
    assert not list(tmp_path.rglob("evil*"))
    assert not list(workspace.cache.rglob("*.flac"))


def test_a_truncated_archive_is_said(root, corpus, publish, tmp_path, monkeypatch):
    mirror = publish(lambda tar: tar.add(root, "LibriSpeech"))
    packed = tmp_path / "served" / "12" / "dev-clean.tar.gz"
    packed.write_bytes(packed.read_bytes()[:-2000])
    sha256 = hashlib.sha256(packed.read_bytes()).hexdigest()
    monkeypatch.setitem(ARCHIVES, "dev-clean", f"sha256:{sha256}")
    with pytest.raises(LatentbenchError, match="is damaged"):
        corpus(subset="dev-clean", mirror=mirror).utterances()


def test_the_real_recordings(data, corpus):
    found = corpus(root=str(data / "LibriSpeech"), subset="train-clean-5").utterances()
    keys = [tuple(map(int, one.id.split("-"))) for one in found]
    assert keys == sorted(keys)
    assert len({one.speaker for one in found}) == 16
    sexes = {one.speaker: one.attributes["sex"] for one in found}
    assert sorted(sexes.values()) == ["F"] * 8 + ["M"] * 8
    assert 60 < sum(one.seconds for one in found) / 60 < 70
    assert found[0].source.read().shape == (1, round(found[0].seconds * 16000))
