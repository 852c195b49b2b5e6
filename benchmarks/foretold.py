"""What `--dry-run` foretells of a run, and what the run then takes, phase by phase.

The dry run times the models of the run on random frames for a few seconds; this holds the sum that
it makes of them against the run itself, with a fresh cache and a fresh folder:

    python benchmarks/foretold.py -- --preset demo
    python benchmarks/foretold.py -- --encoder logmel --corpus white-noise --steps 200

A training that stops by itself takes fewer steps than are foretold: what is foretold is then scaled
to the steps that were taken.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def command(given: list[str], folder: Path) -> list[str]:
    """The run in a folder of its own."""
    return [sys.executable, "-m", "latentbench", "run", *given, "--cache", str(folder / "cache")]


def foretold(given: list[str], folder: Path) -> dict[str, Any]:
    """What the dry run says."""
    told = subprocess.run(
        [*command(given, folder), "--dry-run", "--json"], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def measured(given: list[str], folder: Path) -> tuple[dict[str, float], int]:
    """Seconds of each phase of the run, and the steps of its trainings."""
    started = time.perf_counter()
    subprocess.run(
        [*command(given, folder), "--out", str(folder / "run")], check=True, capture_output=True
    )
    whole = time.perf_counter() - started
    cells = [json.loads(file.read_text()) for file in (folder / "run").glob("cells/*/cell.json")]
    phases = {
        "train": sum(one["seconds"]["fit"] + one["seconds"]["controls"] for one in cells),
        "score": sum(one["seconds"]["score"] for one in cells),
        "rollout": sum(one["seconds"]["rollout"] for one in cells),
    }
    steps = sum(part["steps"] for one in cells for part in one["convergence"].values())
    return phases | {"whole": whole}, steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("options", nargs="+", help="after --: the options of the run")
    given = parser.parse_args().options
    with tempfile.TemporaryDirectory() as name:
        plan = foretold(given, Path(name))
        took, steps = measured(given, Path(name))
    promised = plan["networks"] * plan["steps"]
    told = {phase: plan[f"{phase}_seconds"] for phase in ("train", "score", "rollout")}
    if promised and steps:
        told["train"] *= steps / promised
        print(f"{steps:,} of {promised:,} steps were taken")
    told["whole"] = sum(told.values()) + (plan["encode_seconds"] or 0.0)
    print(f"{'':10}{'foretold s':>12}{'took s':>10}{'ratio':>8}")
    for phase, seconds in told.items():
        print(f"{phase:10}{seconds:12.1f}{took[phase]:10.1f}{seconds / took[phase]:8.2f}")


if __name__ == "__main__":
    main()
