"""How long a whole command takes, against the same command of another installation.

Two runs of one command, as a user types it, with a fresh cache and a fresh run folder each:

    python benchmarks/whole_run.py --against /other/bin/python -- run --steps 300 ...

Elapsed time, and the time the processors worked on it, which other work on the machine lengthens
less. The two alternate, so that a busy hour hits both alike, and the ratio is that of the least.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def seconds(python: str, command: list[str], folder: Path) -> tuple[float, float]:
    """Elapsed and processor seconds of one run in a folder of its own.

    The command of the installation is called: `python -m` would take the code of the working
    directory for both.
    """
    places = ["--out", str(folder / "run"), "--cache", str(folder / "cache")]
    started, before = time.perf_counter(), os.times()
    subprocess.run(
        [str(Path(python).with_name("latentbench")), *command, *places],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    took, after = time.perf_counter() - started, os.times()
    worked = after.children_user + after.children_system
    return took, worked - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", required=True, help="the Python of another installation")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("command", nargs="+", help="after --: the verb and its options")
    given = parser.parse_args()
    pythons = {"here": sys.executable, "against": given.against}
    least = dict.fromkeys(pythons, (float("inf"), float("inf")))
    for _ in range(given.repeats):
        for name, python in pythons.items():
            with tempfile.TemporaryDirectory() as folder:
                took, worked = seconds(python, given.command, Path(folder))
            print(f"{name:<10}{took:>9.1f} s elapsed{worked:>9.1f} s of processor", flush=True)
            least[name] = min(least[name][0], took), min(least[name][1], worked)
    ours, theirs = least["here"], least["against"]
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    print(f"ratio     {ratios[0]:>9.2f} elapsed  {ratios[1]:>9.2f} of processor")


if __name__ == "__main__":
    main()
