"""What the tests of plugins share.

Of codecs: loading, weights that hide no mistake, codes but for ties; the comparison with a second
implementation is what they are for. Of engines: the command line, all processes that come of it,
and an encoding that takes its time.
"""

# ruff: noqa: INP001, S101 - a folder of distributions is no package; tests assert

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import torch

from latentbench.config import ComponentConfig, RunConfig
from latentbench.experiment import encode_corpus
from latentbench.latents import encoding
from latentbench.plugins import load_registry
from latentbench.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import nn

    from latentbench.encoders.codec import CodecEncoder


# Ray and one of DAC's requirements want versions of protobuf that exclude each other: its tests run
# where it is installed, which .ci/run does in an environment of their own.
collect_ignore = [] if importlib.util.find_spec("ray") else ["ray"]


def _loaded(kind: type[CodecEncoder], weights: str | Path, **options: Any) -> CodecEncoder:
    spec = load_registry().get("encoder", kind.name).spec
    encoder = kind(spec.options(weights=str(weights), **options), Workspace())
    encoder.load(torch.device("cpu"))
    return encoder


@pytest.fixture(scope="session")
def loaded() -> Callable[..., CodecEncoder]:
    """Make and load an encoder of a class, weights and other options."""
    return _loaded


@pytest.fixture(scope="module")
def load() -> Callable[..., CodecEncoder]:
    """The same, each once."""
    return cache(_loaded)


@pytest.fixture(scope="session")
def scatter() -> Callable[[nn.Module, float], None]:
    """Leave no parameter of a network at a value that hides its use.

    Untrained gains of the weight norm let latents fade to almost a constant: the second argument
    makes up for it.
    """

    @torch.no_grad()
    def scatter(network: nn.Module, gain: float) -> None:
        for name, parameter in network.named_parameters():
            factor = gain if name.endswith("weight_g") else 1.0
            parameter.mul_(factor * (1 + 0.2 * torch.randn_like(parameter)))
            parameter.add_(0.01 * torch.randn_like(parameter))

    return scatter


@pytest.fixture(scope="session")
def assert_same_codes() -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Agreement to 1e-4, but for a frame in a hundred.

    Random codebooks leave the odd frame between two codes by less than rounding, and which of
    them is nearer then depends on the order of a sum, as on the number of threads.
    """

    def assert_same_codes(ours: torch.Tensor, expected: torch.Tensor) -> None:
        assert ours.shape == expected.shape
        differing = ((ours - expected).abs() > 1e-4).any(dim=-1)  # noqa: PLR2004 - as above
        assert differing.float().mean() < 0.01  # noqa: PLR2004

    return assert_same_codes


@pytest.fixture
def handled() -> Iterator[Callable[[int, Any], None]]:
    """Handle a signal otherwise until the test ends, as a shell has what it begins do."""
    before = {}

    def handle(number: int, handler: Any) -> None:
        before[number] = signal.signal(number, handler)

    yield handle
    for number, handler in before.items():
        signal.signal(number, handler)


class Commands:
    """The command line, in sessions of its own, where processes are found by their session."""

    # A run that takes seconds, and ends in the same figures whatever is done to it.
    RUN = (
        *("run", "--encoder", "latents", "--corpus", "world:ar1", "--horizons", "1"),
        *("--set", "corpus.speakers=4", "--set", "corpus.dim=4", "--set", "predictor.width=8"),
        *("--set", "utterances.min_seconds=0", "--set", "rollout.utterances=0"),
        *("--set", "controls=[]", "--device", "cpu", "--steps", "2000"),
    )

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun: list[subprocess.Popen[str]] = []

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Begin a command."""
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "latentbench", *map(str, (*arguments, "--cache", "cache"))],
            cwd=self.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.begun.append(process)
        return process

    def run(self, *arguments: object) -> str:
        """What a command says, which ends well."""
        command = self.start(*arguments)
        said, _ = command.communicate(timeout=200)
        assert command.returncode == 0, said
        return said

    @staticmethod
    def family(command: subprocess.Popen[str]) -> list[psutil.Process]:
        """Living processes of the session of a command."""
        return [
            one
            for one in psutil.process_iter(["status"])
            if one.info["status"] != "zombie" and _session(one.pid) == command.pid
        ]

    def nobody_is_left(self, command: subprocess.Popen[str]) -> bool:
        """Whether all processes of a command end soon."""
        return _soon(lambda: not self.family(command))


# Log-mel that takes its time, two utterances a batch and a batch a shard.
SLOW = """
import time
from latentbench.encoders.logmel import LogMelEncoder
from latentbench.encoders.plugin import LogMelOptions
from latentbench.hookspecs import hookimpl
from latentbench.latents import encoding
from latentbench.specs import EncoderSpec

encoding.SHARD_SECONDS = 0.0

class Slow(LogMelEncoder):
    max_batch_seconds = 6.0

    def encode(self, audio, lengths):
        time.sleep(SECONDS_A_BATCH)
        return super().encode(audio, lengths)

@hookimpl
def latentbench_encoders():
    factory = f"{__name__}:Slow"
    yield EncoderSpec(name="slow", summary="slow", factory=factory, options=LogMelOptions)
"""
SPEAKERS, SECONDS = 8, 3.0


class SlowEncoding:
    """The command that encodes white noise in a folder, shard by shard, and what comes of it.

    Args:
        folder: where the commands run.
        utterances: of each of the eight speakers; an even number.
        pause: seconds that each shard takes longer.
    """

    def __init__(self, folder: Path, utterances: int, pause: float) -> None:
        self.folder = folder
        self.noise = {
            "speakers": SPEAKERS,
            "utterances": utterances,
            "seconds": SECONDS,
            "sample_rate": 16_000,
        }
        self.shards_in_all = SPEAKERS * utterances // 2
        self.minutes = SPEAKERS * utterances * SECONDS / 60
        (folder / "slow.py").write_text(SLOW.replace("SECONDS_A_BATCH", str(pause)))

    def arguments(self, *settings: str) -> tuple[str, ...]:
        """Of the command, with settings."""
        sets = (*settings, *(f"corpus.{name}={value}" for name, value in self.noise.items()))
        return (
            *("--plugin", "slow.py", "encode", "--encoder", "slow", "--device", "cpu"),
            *("--corpus", "white-noise", *(word for one in sets for word in ("--set", one))),
        )

    def shards(self) -> int:
        """How many are complete."""
        return len([*self.folder.glob("cache/latents/*/shards/*/*.parquet")])

    def assert_undisturbed(self) -> None:
        """All is stored, and equal to the bit to what one process makes that nobody disturbs."""
        assert self.shards() == self.shards_in_all
        fresh, found = self._encoded("cache")
        assert fresh == 0
        _, expected = self._encoded("undisturbed")
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], rows) for name, rows in expected.items())

    def _encoded(self, cache: str) -> tuple[float, dict[str, Any]]:
        config = RunConfig(
            encoder=ComponentConfig(name="slow"),
            corpus=ComponentConfig(name="white-noise", **self.noise),
            device="cpu",
        )
        registry = load_registry([self.folder / "slow.py"])
        made = encode_corpus(config, Workspace(self.folder / cache), registry)
        return made.fresh, dict(made.arrays())


@pytest.fixture
def slow_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int, float], SlowEncoding]:
    """Make an encoding that takes its time, of utterances of each speaker and a pause."""
    # What the plugin sets is for the test alone.
    monkeypatch.setattr(encoding, "SHARD_SECONDS", encoding.SHARD_SECONDS)
    return lambda utterances, pause: SlowEncoding(tmp_path, utterances, pause)


def _session(process: int) -> int | None:
    try:
        return os.getsid(process)
    except ProcessLookupError:
        return None


def _soon(fact: Callable[[], bool]) -> bool:
    until = time.monotonic() + 60
    while not (is_true := fact()) and time.monotonic() < until:
        time.sleep(0.05)
    return is_true


@pytest.fixture(scope="session")
def soon() -> Callable[[Callable[[], bool]], bool]:
    """Whether something is true before long."""
    return _soon


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Commands that leave no process behind when the test fails."""
    commands = Commands(tmp_path)
    yield commands
    for command in commands.begun:
        for one in commands.family(command):
            one.kill()
        command.communicate()
