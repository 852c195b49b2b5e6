"""Files that are read again: whole or not there, and what was written or said to be damaged."""

import errno
import os
import subprocess
import sys
from contextlib import suppress

import pytest

from latentbench.errors import LatentbenchError
from latentbench.files import (
    PARTIAL,
    SUMS,
    DamagedFileError,
    atomic,
    damage,
    damaged_files,
    discard,
    reading,
    sealed,
    sweep,
    write_sealed,
    write_text,
)
from latentbench.locks import Timeout, locked
from latentbench.progress import SilentProgress


def read(file):
    with reading(file, "Do this."):
        return file.read_text()


def test_what_was_written_is_read(tmp_path):
    write_sealed(tmp_path / "a", "one")
    write_sealed(tmp_path / "a", "two")
    assert read(tmp_path / "a") == "two"
    assert sorted(file.name for file in tmp_path.iterdir()) == [SUMS, "a"]


@pytest.mark.parametrize("content", [b"twp", b"tw", b"", b"two\n"])
def test_what_was_changed_is_refused_with_what_to_do(tmp_path, content):
    write_sealed(tmp_path / "a", "two")
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"/a' is damaged: its checksum.*\nDo this\."):
        read(tmp_path / "a")
    assert list(damaged_files(tmp_path)) == [tmp_path / "a"]


def test_what_was_removed_is_missed(tmp_path):
    write_sealed(tmp_path / "a", "two")
    (tmp_path / "a").unlink()
    assert damaged_files(tmp_path) == {tmp_path / "a": "it is gone"}
    discard(tmp_path / "a")
    assert damaged_files(tmp_path) == {}


def test_a_file_of_an_older_version_is_read(tmp_path):
    (tmp_path / "a").write_text("old")
    write_sealed(tmp_path / "b", "new")
    assert read(tmp_path / "a") == "old"


def test_what_no_parser_takes_is_damaged_and_what_the_system_refuses_is_not(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(DamagedFileError, match="invalid literal"), reading(tmp_path / "a", ""):
        int(read(tmp_path / "a"))
    for error in (MemoryError(), OSError(errno.EMFILE, "Too many open files")):
        with pytest.raises(LatentbenchError) as refused, reading(tmp_path / "a", ""):
            raise error
        assert not isinstance(refused.value, DamagedFileError)
        assert "cannot be read" in refused.value.message


KILLED = """
import os, pathlib, sys
from latentbench import files
calls = 0
def stop(event, arguments):
    global calls
    if event in ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.chmod"):
        if str(arguments[0]).startswith(sys.argv[1]):
            calls += 1
            if calls == int(sys.argv[2]):
                os.kill(os.getpid(), 9)
sys.addaudithook(stop)
files.write_sealed(pathlib.Path(sys.argv[1]) / "a", "new")
"""


def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path):
    ends = set()
    for moment in range(1, 100):
        folder = tmp_path / str(moment)
        folder.mkdir()
        write_sealed(folder / "a", "old")
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(folder), str(moment)], check=False
        ).returncode
        ends.add(read(folder / "a"))
        write_sealed(folder / "a", "newest")
        sweep(folder)
        assert read(folder / "a") == "newest"
        assert sorted(file.name for file in folder.iterdir()) == [SUMS, "a"]
        if done == 0:
            break
    assert moment > 10
    assert ends == {"old", "new"}


def test_a_raising_writer_leaves_nothing(tmp_path):
    write_text(tmp_path / "a", "old")
    with suppress(ZeroDivisionError), sealed(tmp_path / "a") as partial:
        partial.write_text("half")
        (partial.parent / ".tmpXYZ").write_text("of a library")
        raise ZeroDivisionError
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_leftovers_of_killed_writers_are_removed_by_the_next(tmp_path):
    (tmp_path / f"a{PARTIAL}").write_text("as version 0.1 left it")
    write_text(tmp_path / "a", "new")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_processes_that_write_one_file_at_once_leave_what_the_last_one_wrote(tmp_path):
    """As the same comparison given twice does with an export, and a grid with its table."""
    with atomic(tmp_path / "a", shared=True) as first:
        first.write_text("first")
        write_text(tmp_path / "a", "second", shared=True)
        assert (tmp_path / "a").read_text() == "second"
    assert (tmp_path / "a").read_text() == "first"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_files_have_the_rights_of_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        with atomic(tmp_path / "a") as partial:
            os.close(os.open(partial, os.O_CREAT | os.O_WRONLY, 0o600))  # as safetensors does
        with locked(tmp_path / "lock"):
            pass
    finally:
        os.umask(before)
    for name in ("a", "lock"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o666 & ~umask, name


def test_the_list_of_checksums_is_one_that_xxhsum_takes(tmp_path):
    write_sealed(tmp_path / "a", "")
    assert (
        tmp_path / SUMS
    ).read_text() == "99aa06d3014798d86001c324468d497f  a\n"  # XXH3-128 of ""


def test_every_damage_of_the_list_itself_is_harmless(tmp_path):
    write_sealed(tmp_path / "a", "one")
    write_sealed(tmp_path / "a", "two")
    content = (tmp_path / SUMS).read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            (tmp_path / SUMS).write_bytes(flipped)
            assert damage(tmp_path / "a") in ("", "its checksum is not that of what was written")
    write_sealed(tmp_path / "a", "three")
    assert read(tmp_path / "a") == "three"


def no_lock_service(*_):
    raise OSError(errno.ENOLCK, "No locks available")


def test_without_a_lock_service_a_file_is_the_lock(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", no_lock_service)
    with (
        locked(tmp_path / "lock", SilentProgress(), ""),
        pytest.raises(Timeout),
        locked(tmp_path / "lock"),
    ):
        pass
    with locked(tmp_path / "lock"):
        pass
