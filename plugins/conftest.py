"""What the tests of plugins share.

Of codecs: loading, weights that hide no mistake, codes but for ties; the comparison with a second
implementation is what they are for. Of engines: the command line and all processes that come of it.
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

import psutil
import pytest
import torch

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
