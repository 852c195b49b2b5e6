"""Processes that are given the same comparison share out its runs."""

import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

import latentbench as lb
from latentbench import experiment
from latentbench.locks import locked
from latentbench.progress import SilentProgress
from latentbench.results.folder import LOCK

WORLD = {"name": "world:ar1", "dim": 2, "speakers": 6, "utterances": 2, "frames": 60}
SMALL = {
    "encoders": ["latents"],
    "corpora": [WORLD],
    "preset": "phase1",
    "match": "frames",
    "horizons": [1],
    "split": {"eval_fraction": 0.34},
    "utterances": {"min_seconds": 0},
    "rollout": {"utterances": 0},
    "predictors": ["marginal-full", "linear", "persistence"],
}


def test_a_run_that_another_process_is_at_has_its_turn_later(tmp_path, monkeypatch):
    progress, folder = SilentProgress(), tmp_path / "out" / "latents-marginal-full-world-ar1"
    folder.mkdir(parents=True)
    slept, really = [], time.sleep
    with ExitStack() as held:
        held.enter_context(locked(folder / LOCK))

        def sleep(seconds):
            if seconds != experiment.SECONDS_BETWEEN_LOOKS:  # another thread's
                return really(seconds)
            slept.append(seconds)
            return held.close()

        monkeypatch.setattr(experiment.time, "sleep", sleep)
        found = lb.compare(
            out=tmp_path / "out", cache=tmp_path / "cache", progress=progress, **SMALL
        )
    later = f"Another process is working in the run folder '{folder}'. "
    steps = [one for one in progress.said if one.startswith("Run ") or "comes later" in one]
    assert steps == [
        f"{later}The turn of marginal-full comes later.",
        "Run 2 of 3: linear",
        "Run 3 of 3: persistence",
        "Run 1 of 3: marginal-full",
    ]
    assert slept == [experiment.SECONDS_BETWEEN_LOOKS]
    assert [one.label for one in found.record.runs] == SMALL["predictors"]
    assert not found.record.failures


@pytest.mark.timeout(600)
def test_two_processes_make_each_run_once_and_end_in_the_same_table(tmp_path):
    world = [f"--set=corpus.{key}={value}" for key, value in WORLD.items() if key != "name"]
    command = [sys.executable, "-m", "latentbench", "compare", "--encoder=latents"]
    command += ["--corpus=world:ar1", *world, "--preset=phase1", "--horizons=1", "--match=frames"]
    command += ["--set=split.eval_fraction=0.34", "--set=utterances.min_seconds=0"]
    command += ["--set=rollout.utterances=0", "--predictor=mdn", "--steps=300"]
    command += ["--format=csv", "--vary=predictor.width=8,12,16,20", f"--out={tmp_path / 'out'}"]
    command += [f"--cache={tmp_path / 'cache'}"]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    (first, notes), (second, others) = (one.communicate(timeout=500) for one in both)
    assert [one.returncode for one in both] == [0, 0], notes + others
    assert first == second
    assert "comes later" in notes + others
    made = [text.count("is finished; nothing is computed again") for text in (notes, others)]
    assert sum(made) == 4  # what one made the other read
