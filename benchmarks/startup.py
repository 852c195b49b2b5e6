"""How long the first word takes: `--help` and `plugins list` against Python alone.

Prints the best of several runs of each, in seconds and as a ratio to an interpreter that does
nothing and to one that imports torch, which is what a tool that loads everything would cost.
"""

from __future__ import annotations

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


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    best = dict.fromkeys(CASES, float("inf"))
    for _ in range(RUNS):  # interleaved, so that a busy moment hits every case alike
        for name, command in CASES.items():
            best[name] = min(best[name], seconds(command))
    print(f"{'best of ' + str(RUNS):<34}{'seconds':>9}{'x python':>10}{'x torch':>9}")
    for name, took in best.items():
        ratios = took / best["python"], took / best["import torch"]
        print(f"{name:<34}{took:>9.3f}{ratios[0]:>10.1f}{ratios[1]:>9.2f}")


if __name__ == "__main__":
    main()
