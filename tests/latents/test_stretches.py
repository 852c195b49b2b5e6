"""Encoding by an engine gives the latents of one process, whoever dies or writes meanwhile."""

import io
import os
import pickle
import platform
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from latentbench.config import ComponentConfig, RunConfig
from latentbench.display import LineProgress
from latentbench.engines.plugin import ProcessesOptions
from latentbench.engines.processes import ProcessesEngine
from latentbench.errors import LatentbenchError
from latentbench.experiment import encode_corpus
from latentbench.latents import encoding
from latentbench.latents.store import LatentStore, ShardEntry
from latentbench.latents.stretches import (
    LEFT,
    LONGEST,
    SHORTEST,
    STRETCHES,
    EncodeWork,
    _folder_of_run,
    plan_stretches,
)
from latentbench.latents.writers import ALIVE, at_work, of_writers, own_folder
from latentbench.plugins import load_registry
from latentbench.progress import SILENT, SilentProgress
from latentbench.workspace import Workspace

# Log-mel whose third call ends its process, in the first process that comes so far; every batch is
# a shard of its own.
DIES = """
import os, signal
from latentbench.encoders.logmel import LogMelEncoder
from latentbench.encoders.plugin import LogMelOptions
from latentbench.hookspecs import hookimpl
from latentbench.latents import encoding
from latentbench.specs import EncoderSpec

encoding.SHARD_SECONDS = 0.0

class Dies(LogMelEncoder):
    max_batch_seconds = 6.0
    calls = 0

    def encode(self, audio, lengths):
        self.calls += 1
        if self.calls == 3:
            try:
                os.close(os.open(os.environ["DIES"], os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(audio, lengths)

@hookimpl
def latentbench_encoders():
    factory = f"{__name__}:Dies"
    yield EncoderSpec(name="dies", summary="dies once", factory=factory, options=LogMelOptions)
"""
# 8 x 6 utterances of 3 s: two of them a batch, 12 stretches of a minute or less.
NOISE = {"speakers": 8, "utterances": 6, "seconds": 3.0, "sample_rate": 16_000}


def config(encoder="dies", engine="local", **noise):
    return RunConfig(
        encoder=ComponentConfig(name=encoder),
        corpus=ComponentConfig(name="white-noise", **NOISE | noise),
        engine=ComponentConfig(name=engine)
        if engine == "local"
        else ComponentConfig(name=engine, workers=2, threads=1),
        device="cpu",
    )


@pytest.fixture
def registry(tmp_path, monkeypatch):
    (tmp_path / "dies.py").write_text(DIES)
    monkeypatch.setenv("DIES", str(tmp_path / "died"))
    # What the plugin sets is for one test alone.
    monkeypatch.setattr(encoding, "SHARD_SECONDS", encoding.SHARD_SECONDS)
    return load_registry([tmp_path / "dies.py"])


def test_a_worker_that_dies_costs_a_shard_and_the_latents_are_those_of_one_process(
    registry, tmp_path
):
    torch.set_num_threads(1)
    said = SilentProgress()
    by_two = encode_corpus(config(engine="processes"), Workspace(tmp_path / "two", said), registry)
    assert (tmp_path / "died").exists()
    assert any("A process ended, by SIGKILL" in text for text in said.said)
    by_one = encode_corpus(config(), Workspace(tmp_path / "one"), registry)
    assert by_one.store.path.name == by_two.store.path.name
    assert by_one.rows == by_two.rows
    assert (by_one.fresh, by_two.fresh) == (48, 48)
    one, two = by_one.arrays(), by_two.arrays()
    assert one.keys() == two.keys()
    for name, rows in one.items():
        np.testing.assert_array_equal(rows, two[name])
    energies = [made.open()[0].energy for made in (by_one, by_two)]
    np.testing.assert_array_equal(*map(np.sort, energies))
    # What was written before the kill was not encoded again, and nothing else is left.
    entries = sum(pq_rows(by_two.store))
    assert entries == 48
    assert not [*by_two.store.path.rglob(ALIVE), *by_two.store.path.rglob("*.partial")]
    assert not (by_two.store.path / "stretches").exists()


FAR = """
import pickle
from latentbench.engines import Engine, Outcome
from latentbench.hookspecs import hookimpl
from latentbench.specs import EngineSpec

@hookimpl
def latentbench_engines():
    yield EngineSpec(name="far", summary="without a word", factory=f"{__name__}:Far")

class Far(Engine):
    def __init__(self, options):
        pass

    def run(self, units, work):
        there = pickle.loads(pickle.dumps(work))
        for unit in units:
            there(unit)
            yield Outcome(unit)
"""


@pytest.mark.parametrize("engine", ["local", "far", "processes"])
def test_the_seconds_are_told_also_of_an_engine_that_tells_none(tmp_path, engine):
    (tmp_path / "far.py").write_text(FAR)
    lines, registry = io.StringIO(), load_registry([tmp_path / "far.py"])
    given = config("logmel").model_copy(update={"engine": ComponentConfig(name=engine)})
    encode_corpus(given, Workspace(tmp_path / "cache", LineProgress(lines)), registry)
    told = [one for one in lines.getvalue().splitlines() if one.startswith("encoding: ")]
    assert told[0] == "encoding: 0.0/2.4 min of audio"  # 48 x 3 s
    assert told[-1].startswith("encoding: done, 2.4 min of audio in ")


def pq_rows(store):
    import pyarrow.parquet as pq

    return [pq.read_metadata(file).num_rows for file in store.shards.rglob("*.parquet")]


def test_an_encoder_that_is_another_one_elsewhere_is_refused(registry, tmp_path):
    given = config(encoder="logmel")
    corpus = registry.get("corpus", "white-noise")
    utterances = corpus.create(corpus.spec.options(**NOISE), Workspace()).utterances()
    store = LatentStore.for_key(tmp_path, {"encoder": "logmel", "corpus": "white-noise"})
    with store.writing(SILENT):
        pass
    digests = {one.id: one.source.digest() for one in utterances}
    (stretch, *_) = plan_stretches(
        [utterances], digests, store=store, stored=set(), config=given, folder=tmp_path
    )
    (outcome,) = ProcessesEngine(ProcessesOptions()).run([stretch], EncodeWork(registry, tmp_path))
    assert "'logmel' has another fingerprint here" in outcome.error
    with pytest.raises(LatentbenchError, match=r"another fingerprint.*\n.*same versions"):
        EncodeWork(registry, tmp_path)(stretch)


def test_stretches_keep_their_names_whatever_is_stored(registry, tmp_path):
    corpus = registry.get("corpus", "white-noise")
    utterances = corpus.create(corpus.spec.options(**NOISE), Workspace()).utterances()
    digests = {one.id: one.id for one in utterances}
    batches = [utterances[at : at + 2] for at in range(0, 48, 2)]
    store = LatentStore(tmp_path, {})

    def planned(stored):
        given = {"store": store, "config": config(), "folder": tmp_path}
        return plan_stretches(batches, digests, stored=stored, **given)

    whole = planned(set())
    assert [one.id for s in whole for batch in s.batches for one in batch] == [
        one.id for one in utterances
    ]
    assert 1 < len(whole) <= STRETCHES
    seconds = [sum(u.seconds for b in one.batches for u in b) for one in whole]
    assert all(SHORTEST <= one <= LONGEST for one in seconds[:-1])
    gone = {(one.id, one.id) for batch in whole[0].batches for one in batch}
    assert [one.name for one in planned(gone)] == [one.name for one in whole[1:]]
    first = {(utterances[0].id, utterances[0].id)}
    assert planned(first)[0].name == whole[0].name
    assert planned(first)[0].batches[0] == (utterances[1],)


@pytest.mark.parametrize("name", ["white-noise", "world:ar1"])
def test_utterances_of_corpora_travel(registry, name):
    component = registry.get("corpus", name)
    one = component.create(component.spec.options(), Workspace()).utterances()[3]
    there = pickle.loads(pickle.dumps(one))  # noqa: S301 - our own
    assert there.id == one.id
    np.testing.assert_array_equal(there.source.read(), one.source.read())


def test_of_two_shards_with_an_utterance_the_first_written_is_read(tmp_path):
    store = LatentStore(tmp_path, {"encoder": "e", "corpus": "c"})
    with store.writing(SILENT):
        pass
    entry = ShardEntry("u", "digest", "", 0, [1])
    folders = [store.shards / f"{name}-1-0" for name in ("later", "earlier")]
    for number, folder in enumerate(reversed(folders)):  # "earlier" writes first
        folder.mkdir()
        store.add(torch.full((1, 1), float(number)), torch.zeros(1), [entry], folder)
    found = store.entries()["u", "digest"].shard
    assert found == "earlier-1-0/000000"
    ((latents, _),) = store.open_shards([found])
    assert latents.item() == 0.0
    assert store.entries("later")["u", "digest"].shard == "later-1-0/000000"


def test_the_later_writer_of_a_stretch_waits_for_the_first_and_no_other_does(tmp_path):
    said, order = SilentProgress(), []
    inside = threading.Event()
    may_end = threading.Event()

    def first():
        with own_folder(tmp_path, "a", SILENT):
            inside.set()
            may_end.wait(30)
            order.append("first")

    def later():
        with own_folder(tmp_path, "a", said):
            order.append("later")

    threads = [threading.Thread(target=first), threading.Thread(target=later)]
    threads[0].start()
    assert inside.wait(30)
    with own_folder(tmp_path, "b", SILENT):
        order.append("other")
    threads[1].start()
    while not said.said:
        pass
    assert len(of_writers(tmp_path, "a")) == 2
    may_end.set()
    for thread in threads:
        thread.join(30)
    assert order == ["other", "first", "later"]
    assert said.said == [f"Waiting for another process that writes to {tmp_path.parent}"]
    assert of_writers(tmp_path) == []


def test_a_writer_whose_process_is_gone_is_not_waited_for_and_its_half_is_removed(tmp_path):
    store = LatentStore(tmp_path / "store", {"encoder": "e", "corpus": "c"})
    with store.writing(SILENT):
        pass
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead, far = store.shards / "a-1-0", store.shards / "a-2-0"
    for folder, machine in ((dead, platform.node()), (far, "another machine")):
        folder.mkdir()
        (folder / ALIVE).write_text(f"{child.pid} {machine}")
        (folder / "000000.safetensors").write_bytes(b"without an index")
    assert (at_work(dead), at_work(far)) == (False, True)
    os.utime(far / ALIVE, (0, 0))  # silent for years
    assert not at_work(far)
    os.utime(far / ALIVE)
    with store.writing(SILENT):
        store.drop_damaged(SILENT)
    assert [one.name for one in store.shards.iterdir()] == ["a-2-0"]
    assert {one.name for one in far.iterdir()} == {ALIVE, "000000.safetensors"}


def test_a_writer_that_begins_just_now_keeps_its_folder(tmp_path, monkeypatch):
    store = LatentStore(tmp_path / "store", {"encoder": "e", "corpus": "c"})
    new = store.shards / "a-1-0"
    new.mkdir(parents=True)

    def asked_too_early(folder):
        found = at_work(folder)
        (new / ALIVE).write_text("1 another machine")  # the writer goes on meanwhile
        return found

    monkeypatch.setattr("latentbench.latents.store.at_work", asked_too_early)
    store.clear_up()
    store.clear_up("a")
    assert new.exists()


def test_a_run_of_days_keeps_its_folder_and_what_a_killed_one_left_goes(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    killed = tmp_path / "runs" / "dead-1-0"
    (killed / "stretch").mkdir(parents=True)
    (killed / ALIVE).write_text(f"{child.pid} {platform.node()}")
    with _folder_of_run(tmp_path / "runs") as folder:
        for one in (folder, killed):
            os.utime(one, (time.time() - 2 * LEFT,) * 2)
        with _folder_of_run(tmp_path / "runs"):
            assert folder.exists()
            assert not killed.exists()
    assert not (tmp_path / "runs").exists()


def test_the_folder_of_another_run_may_go_while_it_is_looked_at(tmp_path, monkeypatch):
    with _folder_of_run(tmp_path / "runs") as other:

        def gone(folder):
            shutil.rmtree(other, ignore_errors=True)
            return at_work(folder)

        monkeypatch.setattr("latentbench.latents.stretches.at_work", gone)
        with _folder_of_run(tmp_path / "runs") as folder:
            assert folder.exists()
