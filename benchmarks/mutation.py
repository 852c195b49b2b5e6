"""Break the code in one place at a time, and count the breaks that no test notices.

    pip install cosmic-ray
    python benchmarks/mutation.py                 # 20 mutants of each part: about an hour
    python benchmarks/mutation.py --part split --mutants 100

Cosmic Ray makes the mutants and runs the tests of the part in a copy of the checkout. A mutant that
survives is a line that can be wrong without a test that fails, or one that changes nothing; it is
printed for a person to judge. The sample is drawn by a seed, so that two commits can be compared.
Not part of the test suite: to be run by hand or on a schedule.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

ROOT = Path(__file__).parents[1]
SLOWEST = 240.0  # seconds that the tests of a part may take on a mutant
# Part -> (what is mutated, what has to notice). The fewest tests that are meant to hold the part.
PARTS = {
    "windows": ("tasks/windows.py", "tests/tasks"),
    "turns": ("tasks/turns.py", "tests/tasks"),
    "split": ("corpora/split.py", "tests/corpora/test_split.py tests/corpora/test_selection.py"),
    "uncertainty": ("results/uncertainty.py", "tests/results"),
    "statistics": ("metrics/statistics.py", "tests/metrics tests/results/test_uncertainty.py"),
    "scoring": ("metrics/scoring.py", "tests/metrics"),
    "likelihood": ("metrics/likelihood.py", "tests/metrics"),
    "energy": ("metrics/energy.py", "tests/metrics"),
    "mixture": (
        "predictors/mixture.py",
        "tests/predictors/test_mixture.py tests/predictors/test_student.py tests/metrics",
    ),
    "markov": ("worlds/markov.py", "tests/worlds/test_markov.py"),
    "gaussian": ("worlds/gaussian.py", "tests/worlds/test_gaussian.py"),
    "standing": ("results/standing.py", "tests/reports/test_words.py tests/results"),
}
# Of no consequence: type hints are not evaluated, and decorators mark dataclasses and properties.
IDLE = ("core/ReplaceBinaryOperator_BitOr", "core/RemoveDecorator")
CONFIG = """
[cosmic-ray]
module-path = "latentbench/{module}"
timeout = {slowest}
excluded-modules = []
test-command = "{python} -m pytest -q -x -p no:cacheprovider {tests}"
[cosmic-ray.distributor]
name = "local"
"""


def main() -> None:
    """Print a line per part and the mutants that survive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--mutants", type=int, default=20, help="of each part")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    killed = total = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", "runs", "*.egg-info"))
        for part in asked.part or PARTS:
            caught, survivors = mutate(copy, part, asked.mutants, asked.seed)
            killed, total = killed + caught, total + caught + len(survivors)
            print(f"{part:12} {caught} of {caught + len(survivors)} noticed", flush=True)
            for one in survivors:
                print(one, flush=True)
    print(f"all          {killed} of {total} noticed ({killed / max(total, 1):.0%})")


def mutate(copy: Path, part: str, mutants: int, seed: int) -> tuple[int, list[str]]:
    """How many of the mutants of a part were noticed, and the diffs of the others."""
    module, tests = PARTS[part]
    config, session = copy / f"{part}.toml", copy / f"{part}.sqlite"
    config.write_text(
        CONFIG.format(module=module, tests=tests, python=sys.executable, slowest=SLOWEST)
    )
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}

    def call(*command: str) -> None:
        subprocess.run([sys.executable, "-m", *command], cwd=copy, env=environment, check=True)

    call("pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split())
    call("cosmic_ray.cli", "init", config.name, session.name)
    with use_db(session, WorkDB.Mode.open) as work:
        items = list(work.work_items)
        wanted = [one for one in items if not one.mutations[0].operator_name.startswith(IDLE)]
        chosen = random.Random(seed).sample(wanted, min(mutants, len(wanted)))  # noqa: S311 - a sample
        kept = {one.job_id for one in chosen}
        for one in items:
            if one.job_id not in kept:
                work.set_result(one.job_id, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))
    call("cosmic_ray.cli", "exec", config.name, session.name)
    with use_db(session, WorkDB.Mode.open) as work:
        done = [found for one, found in work.completed_work_items if one.job_id in kept]
    alive = [one.diff or "" for one in done if one.test_outcome == TestOutcome.SURVIVED]
    return len(done) - len(alive), alive


if __name__ == "__main__":
    main()
