"""A workspace per test, audio files made on the spot, and the shared real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from latentbench.progress import SilentProgress
from latentbench.workspace import Workspace

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def workspace(tmp_path):
    return Workspace(cache=tmp_path / "cache", progress=SilentProgress())


@pytest.fixture
def data():
    if not DATA.is_dir():
        pytest.skip("the real recordings are not beside the checkout (../shared/data)")
    return DATA


@pytest.fixture
def tone():
    """Write a tone of so many seconds to a path, whose suffix says the format."""

    def write(path, seconds=0.1, *, rate=8000, channels=1, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        phase = np.arange(round(seconds * rate))[:, None] * np.arange(1, channels + 1)
        samples = 0.5 * np.sin(0.1 * phase)
        soundfile.write(path, samples, rate, **options)
        return path

    return write
