"""Runs on latents whose trouble is planted, so that what is blamed can be checked."""

import pytest

from latentbench.config import read_layers, resolve
from latentbench.experiment import run_experiment
from latentbench.opened import OpenedRun
from latentbench.plugins import load_registry
from latentbench.workspace import Workspace

PLANTED = """
import hashlib
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from latentbench.corpora import Corpus, Utterance
from latentbench.corpora.corpus import AudioSource, LatentFormat
from latentbench.hookspecs import hookimpl
from latentbench.specs import CorpusSpec

RATE = 12.5


@dataclass(frozen=True)
class PlantedOptions:
    trouble: Annotated[str, "none, rare, heavy, silence or lattice"] = "none"


@hookimpl
def latentbench_corpora():
    yield CorpusSpec(name="planted", summary="AR(1) with trouble", options=PlantedOptions,
                     factory=f"{__name__}:Planted")


class Frames(AudioSource):
    def __init__(self, frames):
        self.frames = frames

    def read(self):
        return np.ascontiguousarray(self.frames.T, dtype=np.float32)

    def digest(self):
        return hashlib.sha256(self.read().tobytes()).hexdigest()

    def describe(self):
        return "planted"


def ar1(rng):
    noise = rng.normal(size=(140, 4)) * 0.77
    frames = np.zeros((140, 4))
    for t in range(1, 140):
        frames[t] = 0.64 * frames[t - 1] + noise[t]
    return frames[20:]


def planted(trouble, frames, rng, place):
    if trouble == "rare":  # the louder dimension 0, the quieter the others; but not in s00-1
        level = rng.uniform(-1.5, 1.5)
        frames[:, 0] = 0.1 * frames[:, 0] + 2 * (level if place != "s00-1" else 12)
        frames[:, 1:] *= np.exp(-level) if place != "s00-1" else 1
    if trouble == "heavy" and place.endswith("-1"):
        frames[60] += 60 * rng.choice([-1.0, 1.0], 4)
    if trouble == "silence":
        frames[30:80] = 0.25
    if trouble == "lattice":
        frames = 0.5 * np.round(2 * frames)
    return frames


class Planted(Corpus):
    name = "planted"
    latents = LatentFormat(4, RATE)

    def __init__(self, options, workspace):
        self.trouble = options.trouble

    @property
    def identity(self):
        return {"trouble": self.trouble}

    def utterances(self):
        found = []
        for speaker in range(12):
            for number in range(3):
                place = f"s{speaker:02d}-{number}"
                rng = np.random.default_rng([speaker, number])
                frames = planted(self.trouble, ar1(rng), rng, place)
                found.append(Utterance(place, place[:3], Frames(frames), RATE, len(frames) / RATE))
        return found
"""


@pytest.fixture(scope="session")
def planted_plugin(tmp_path_factory):
    file = tmp_path_factory.mktemp("plugin") / "planted.py"
    file.write_text(PLANTED)
    return file


@pytest.fixture(scope="session")
def planted_run(planted_plugin, tmp_path_factory):
    """The folder and the cache of a small run with that trouble; each is run once."""
    made = {}

    def run(trouble, *assignments):
        key = (trouble, *assignments)
        if key not in made:
            folder = tmp_path_factory.mktemp(trouble)
            registry = load_registry([planted_plugin])
            small = (
                f"corpus={{name: planted, trouble: {trouble}}}",
                "encoder=latents",
                "utterances.min_seconds=0",
                "split.eval_fraction=0.25",
                "task.horizons=[2]",
                "task.slices=[all]",
                "predictor.width=48",
                "predictor.components=4",
                "training.steps=400",
                "training.batch_size=64",
                "controls=[]",
                "rollout.utterances=0",
                "device=cpu",
            )
            config = resolve(read_layers(None, None, (*small, *assignments)), registry)
            run_experiment(config, folder / "run", Workspace(folder / "cache"), registry)
            made[key] = folder
        return made[key]

    return run


@pytest.fixture(scope="session")
def open_planted(planted_run, planted_plugin):
    """The same run, opened again."""

    def reopen(trouble, *assignments):
        folder = planted_run(trouble, *assignments)
        registry = load_registry([planted_plugin])
        return OpenedRun(folder / "run", Workspace(folder / "cache"), registry)

    return reopen
