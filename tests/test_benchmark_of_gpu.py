"""The benchmark for GPUs does the same work twice; a CPU walks the same code."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
SMALL = "--rounds 1 --dim 4 --width 8 --batch 16 --frames 60 --steps 2 --seconds 1"


def test_both_scripts_compute_the_same():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--device", "cpu", *SMALL.split()],
        capture_output=True,
        text=True,
        check=True,
    )
    device, _, *rows = done.stdout.splitlines()
    assert device.startswith("cpu (")
    assert [row.split()[0] for row in rows] == ["training", "scoring", "logmel"]
    for row in rows:
        plain, ours, ratio, apart = map(float, row.split()[1:])
        assert min(plain, ours, ratio) >= 0
        assert apart == pytest.approx(0, abs=1e-4), row  # float32 sums in another order
