from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from latentbench.corpora.ledger import Entry, Header, Ledger

LONG_AGO = 1_000_000_000
HEADER = Header(16000, 42, 1)


@pytest.fixture
def settled(monkeypatch):
    """Files just made count as untouched for long."""
    monkeypatch.setattr("latentbench.corpora.ledger.SETTLED_NS", -(10**18))


@pytest.fixture
def database(tmp_path):
    return tmp_path / "cache" / "ledger.sqlite3"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "audio"
    path.write_bytes(b"sound")
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def known(database, path):
    return next(Ledger(database).recall([path]))


@pytest.mark.usefixtures("settled")
def test_what_was_learned_is_known_in_the_next_process(database, file):
    ledger = Ledger(database)
    ledger.remember(Entry.of(file)._replace(header=HEADER))
    digest = ledger.digest(file)
    ledger.flush()
    assert known(database, file) == Entry.of(file)._replace(digest=digest, header=HEADER)


@pytest.mark.usefixtures("settled")
def test_a_known_digest_is_not_computed_again(database, file):
    ledger = Ledger(database)
    ledger.remember(Entry.of(file)._replace(digest="from memory"))
    assert ledger.digest(file) == "from memory"
    ledger.flush()
    assert Ledger(database).digest(file) == "from memory"


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("keeps_mtime", [False, True])
def test_a_touched_file_is_looked_at_again(database, file, keeps_mtime):
    ledger = Ledger(database)
    ledger.remember(Entry.of(file)._replace(digest="stale", header=HEADER))
    before = Entry.of(file)
    while Entry.of(file).ctime_ns == before.ctime_ns:  # until the clock of the file system ticks
        file.write_bytes(b"noise")
        if keeps_mtime:
            os.utime(file, (LONG_AGO, LONG_AGO))
    assert ledger.digest(file) == hashlib.sha256(b"noise").hexdigest()
    ledger.flush()
    assert known(database, file).header is None


def test_a_file_touched_just_now_is_not_remembered(database, file):
    file.write_bytes(b"still being written")
    ledger = Ledger(database)
    ledger.digest(file)
    ledger.flush()
    assert known(database, file).digest is None


@pytest.mark.usefixtures("settled")
def test_more_files_than_one_query_takes(database, tmp_path):
    paths = [tmp_path / f"{number}" for number in range(1201)]
    for path in paths:
        path.write_bytes(path.name.encode())
    ledger = Ledger(database)
    digests = [ledger.digest(path) for path in paths]
    ledger.flush()
    absent = tmp_path / "absent"
    recalled = list(Ledger(database).recall([*paths, absent]))
    assert [entry.digest for entry in recalled[:-1]] == digests
    assert digests[7] == hashlib.sha256(b"7").hexdigest()
    assert recalled[-1] is None


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", ["text", "page", "empty"])
def test_a_damaged_ledger_is_made_anew(database, file, damage):
    first = Ledger(database)
    first.digest(file)
    first.flush()
    if damage == "text":
        database.write_text("This is no database. " * 500)
    elif damage == "empty":
        database.write_bytes(b"")
    else:
        content = bytearray(database.read_bytes())
        content[100:] = b"\xff" * (len(content) - 100)
        database.write_bytes(content)
    ledger = Ledger(database)
    expected = hashlib.sha256(b"sound").hexdigest()
    assert ledger.digest(file) == expected
    ledger.flush()
    assert known(database, file).digest == expected
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "change", ["sample_rate = 8000", "frames = 43", "channels = 2", "digest = 'other'"]
)
def test_a_changed_row_is_forgotten_not_believed(database, file, change):
    ledger = Ledger(database)
    ledger.remember(Entry.of(file)._replace(digest="from memory", header=HEADER))
    ledger.flush()
    assert known(database, file).header == HEADER
    with sqlite3.connect(database) as connection:
        connection.execute(f"UPDATE files_v2 SET {change}")  # noqa: S608 - our own text
    connection.close()
    assert known(database, file) == Entry.of(file)


@pytest.mark.usefixtures("settled")
def test_a_file_whose_name_is_no_text_is_remembered(database, tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    path.write_bytes(b"sound")
    ledger = Ledger(database)
    digest = ledger.digest(path)
    ledger.flush()
    assert known(database, path).digest == digest


def test_where_no_ledger_can_be_all_still_works(tmp_path, file):
    (tmp_path / "in-the-way").write_text("")
    ledger = Ledger(tmp_path / "in-the-way" / "ledger.sqlite3")
    assert ledger.digest(file) == hashlib.sha256(b"sound").hexdigest()
    ledger.flush()


@pytest.mark.usefixtures("settled")
def test_threads_and_processes_share_it(database, tmp_path):
    paths = [tmp_path / f"{number}" for number in range(300)]
    for path in paths:
        path.write_bytes(path.name.encode())
    program = (
        "import sys; from pathlib import Path; from latentbench.corpora import ledger as module\n"
        "module.SETTLED_NS = -(10**18)\n"
        "ledger = module.Ledger(Path(sys.argv[1]))\n"
        "for name in range(300): ledger.digest(Path(sys.argv[2]) / str(name)); ledger.flush()"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(database), str(tmp_path)]) as other:
        ledger = Ledger(database)
        with ThreadPoolExecutor(4) as pool:
            digests = list(pool.map(ledger.digest, paths))
        ledger.flush()
    assert other.returncode == 0
    assert digests == [hashlib.sha256(path.name.encode()).hexdigest() for path in paths]
    assert [entry.digest for entry in Ledger(database).recall(paths)] == digests


@pytest.mark.usefixtures("settled")
def test_no_flip_of_a_byte_gives_another_answer_or_stays(database, file):
    ledger = Ledger(database)
    ledger.remember(Entry.of(file)._replace(header=HEADER))
    digest = ledger.digest(file)
    ledger.flush()
    content = database.read_bytes()
    known_then = (None, digest), (None, HEADER)
    used = [place for place, byte in enumerate(content) if byte]  # the rest of a page is empty
    for place in used:
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        database.write_bytes(flipped)
        entry = known(database, file)
        assert entry.digest in known_then[0], place
        assert entry.header in known_then[1], place
        again = Ledger(database)
        assert again.digest(file) == digest, place
        again.flush()
        for leftover in database.parent.glob("ledger.sqlite3-*"):
            leftover.unlink()
