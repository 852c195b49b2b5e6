"""How long the first word takes: `--help` and `plugins list` against Python alone.

Prints the best of several runs of each, in seconds and as a ratio to an interpreter that does
nothing and to one that imports torch, which is what a tool that loads everything would cost.
Beside them the least processor seconds, which other work on the machine lengthens less.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

RUNS = 7
COMMAND = [sys.executable, "-m", "latentbench"]
CASES = {
    "python": [sys.executable, "-c", "pass"],
    "import torch": [sys.executable, "-c", "import torch"],
    "latentbench --help": [*COMMAND, "--help"],
    "latentbench plugins list": [*COMMAND, "plugins", "list"],
    "latentbench plugins list --json": [*COMMAND, "plugins", "list", "--json"],
}


def seconds(command: list[str]) -> tuple[float, float]:
    """Elapsed seconds, and those the processor worked on it."""
    started, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    took, after = time.perf_counter() - started, os.times()
    worked = after.children_user + after.children_system
    return took, worked - before.children_user - before.children_system


def main() -> None:
    best = dict.fromkeys(CASES, (float("inf"), float("inf")))
    for _ in range(RUNS):  # interleaved, so that a busy moment hits every case alike
        for name, command in CASES.items():
            took, worked = seconds(command)
            best[name] = min(best[name][0], took), min(best[name][1], worked)
    print(
        f"{'best of ' + str(RUNS):<34}{'seconds':>9}{'processor':>11}{'x python':>10}{'x torch':>9}"
    )
    for name, (took, worked) in best.items():
        ratios = took / best["python"][0], took / best["import torch"][0]
        print(f"{name:<34}{took:>9.3f}{worked:>11.2f}{ratios[0]:>10.1f}{ratios[1]:>9.2f}")


if __name__ == "__main__":
    main()
