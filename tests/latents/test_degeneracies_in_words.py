"""Each degenerate property is said once, with what it does; sound latents are not mentioned."""

import json
import re

import pytest

from latentbench.latents.degeneracy import degeneracies
from latentbench.reports.run import remarks
from latentbench.results.schema import LatentFacts, Result

SOUND = {
    "frames": 1000,
    "dim": 64,
    "constant_dims": 0,
    "repeats": 0.0,
    "silent": 0.01,
    "lattice": 0.0,
    "lattice_step": 0.0,
    "effective_rank": 40.0,
    "tiny_directions": 0,
}


def facts(**changes):
    return LatentFacts(**(SOUND | changes))


def test_sound_latents_and_those_nobody_looked_at_are_not_mentioned():
    assert not list(degeneracies(facts()))
    assert not list(degeneracies(facts(effective_rank=None, tiny_directions=None)))
    assert not list(degeneracies(None))


@pytest.mark.parametrize(
    ("changes", "name", "text"),
    [
        ({"lattice": 1.0, "lattice_step": 0.26349}, "lattice", "100.0% .* of step 0.2635"),
        ({"constant_dims": 3}, "constant dimensions", "3 of 64 dimensions are constant"),
        ({"repeats": 0.021}, "repeated frames", "2.1% of the frames equal the frame before"),
        (
            {"tiny_directions": 12},
            "directions without variance",
            r"12 of 64 .* rank 40.0.*--transform pca:52",
        ),
        ({"silent": 0.3}, "digital silence", "audio of 30.0% of the frames is exactly zero"),
    ],
)
def test_each_is_said(changes, name, text):
    (found,) = degeneracies(facts(**changes))
    assert found.name == name
    assert re.search(text, found.sentence)


def test_constant_dimensions_are_not_said_twice():
    found = list(degeneracies(facts(constant_dims=3, tiny_directions=3)))
    assert [one.name for one in found] == ["constant dimensions"]


def test_a_line_below_the_table_says_it(make_result):
    result = make_result(latents={"train": facts(), "eval": facts(lattice=1.0, lattice_step=0.5)})
    (line,) = (line for line in remarks(result) if line.startswith("Latents"))
    assert line.startswith("Latents, eval: ")
    assert "lattice of step 0.5" in line


def test_results_that_looked_at_train_only_are_read(make_result):
    written = json.loads(make_result(latents={"train": facts(silent=0.5)}).to_json())
    written["latents"] = written["latents"]["train"]
    assert Result.model_validate(written).latents == {"train": facts(silent=0.5)}
    written["latents"] = None
    assert Result.model_validate(written).latents == {}
