"""Encoding whose command is killed at any moment goes on to the latents of an undisturbed one."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from latentbench.config import ComponentConfig, RunConfig
from latentbench.experiment import encode_corpus
from latentbench.latents import encoding, store
from latentbench.latents.writers import ALIVE
from latentbench.plugins import load_registry
from latentbench.workspace import Workspace

# How often the command is killed; LATENTBENCH_KILLS=20 takes minutes.
KILLS = int(os.environ.get("LATENTBENCH_KILLS", "3"))
# Log-mel that takes its time, two utterances a batch and a batch a shard. Where CUT names a file
# that is not there yet, all processes die when a third shard is written and its index is not.
SLOW = """
import os, signal, time
from latentbench.encoders.logmel import LogMelEncoder
from latentbench.encoders.plugin import LogMelOptions
from latentbench.hookspecs import hookimpl
from latentbench.latents import encoding, store
from latentbench.specs import EncoderSpec

encoding.SHARD_SECONDS = 0.0
whole = store.save_tensors

def cut(file, tensors):
    whole(file, tensors)
    if file.stem == "000002" and "CUT" in os.environ:
        try:
            os.close(os.open(os.environ["CUT"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(0, signal.SIGKILL)

store.save_tensors = cut

class Slow(LogMelEncoder):
    max_batch_seconds = 6.0

    def encode(self, audio, lengths):
        time.sleep(float(os.environ.get("SLOW", "0")))
        return super().encode(audio, lengths)

@hookimpl
def latentbench_encoders():
    factory = f"{__name__}:Slow"
    yield EncoderSpec(name="slow", summary="slow", factory=factory, options=LogMelOptions)
"""
# Each kill costs some shards of 4 x UTTERANCES.
UTTERANCES = 4 + 2 * KILLS
NOISE = {"speakers": 8, "utterances": UTTERANCES, "seconds": 3.0, "sample_rate": 16_000}


def encoded(folder):
    """The latents of a cache, made by this process where they are not there: id -> [F, D]."""
    config = RunConfig(
        encoder=ComponentConfig(name="slow"),
        corpus=ComponentConfig(name="white-noise", **NOISE),
        device="cpu",
    )
    with pytest.MonkeyPatch.context() as kept:  # what the plugin sets is for this alone
        kept.setattr(encoding, "SHARD_SECONDS", encoding.SHARD_SECONDS)
        kept.setattr(store, "save_tensors", store.save_tensors)
        registry = load_registry([folder / "slow.py"])
        made = encode_corpus(config, Workspace(folder / "cache"), registry)
        return made.fresh, dict(made.arrays())


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The latents by one process that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "slow.py").write_text(SLOW)
    return encoded(folder)[1]


@pytest.fixture
def encode(tmp_path):
    """Begins the command, by two processes, in a session of its own."""
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "latentbench", "--plugin", "slow.py", "encode"]
    command += ["--encoder", "slow", "--corpus", "white-noise", "--device", "cpu"]
    command += ["--cache", "cache", "--set", "engine.name=processes", "--set", "engine.workers=2"]
    for name, value in NOISE.items():
        command += ["--set", f"corpus.{name}={value}"]
    begun = []

    def begin(**environment):
        begun.append(
            subprocess.Popen(
                command,
                cwd=tmp_path,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
                text=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        )
        return begun[-1]

    yield begin
    for one in begun:
        for process in family(one):
            process.kill()
        one.communicate()


def family(command):
    """Living processes of the session of a command."""
    return [
        one
        for one in psutil.process_iter(["status"])
        if one.info["status"] != psutil.STATUS_ZOMBIE and session_of(one) == command.pid
    ]


def session_of(process):
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


def wait_until(fact):
    until = time.monotonic() + 100
    while not fact():
        assert time.monotonic() < until
        time.sleep(0.01)


def indices(folder):
    return [*folder.glob("cache/latents/*/shards/*/*.parquet")]


def assert_equal(folder, expected):
    """All is stored once, nothing is left to encode, and the latents are equal to the bit."""
    rows = sum(pq.read_metadata(one).num_rows for one in indices(folder))
    assert rows == len(expected) == 8 * UTTERANCES
    fresh, found = encoded(folder)
    assert fresh == 0
    assert found.keys() == expected.keys()
    for name, latents in expected.items():
        np.testing.assert_array_equal(found[name], latents)
    stores = folder / "cache" / "latents"
    # Of a killed command the folder of its stretches stays for a day, as jobs may be in it.
    assert not [*stores.glob(f"*/shards/*/{ALIVE}"), *stores.rglob("*.partial")]
    assert len([*stores.rglob("*.safetensors")]) == len(indices(folder))


@pytest.mark.timeout(200 + 60 * KILLS)
def test_kill_9_again_and_again_of_the_command(tmp_path, encode, expected):
    command = encode(SLOW="0.2")
    for number in range(KILLS):
        wanted = len(indices(tmp_path)) + 1 + number % 3
        wait_until(lambda: len(indices(tmp_path)) >= wanted)  # noqa: B023 - asked at once
        assert len(family(command)) > 1
        command.kill()
        command.wait()
        wait_until(lambda: not family(command))  # noqa: B023
        assert len(indices(tmp_path)) < 4 * UTTERANCES
        command = encode(SLOW="0.2")
    _, said = command.communicate(timeout=200)
    assert command.returncode == 0, said
    wait_until(lambda: not family(command))  # that which looks after semaphores ends last
    assert_equal(tmp_path, expected)


def test_a_shard_that_all_processes_died_over_is_not_used(tmp_path, encode, expected):
    command = encode(CUT="died")
    command.wait(timeout=200)
    assert command.returncode == -signal.SIGKILL
    assert [
        one
        for one in tmp_path.glob("cache/latents/*/shards/*/*.safetensors")
        if not one.with_suffix(".parquet").exists()
    ]
    command = encode(CUT="died")
    _, said = command.communicate(timeout=200)
    assert command.returncode == 0, said
    assert_equal(tmp_path, expected)
