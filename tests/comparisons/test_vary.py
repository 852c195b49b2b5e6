"""`--vary`: a run of each value, the same from the command line, Python and YAML."""

import pytest

from latentbench.checks import in_frames
from latentbench.comparisons.combinations import Request, combine
from latentbench.errors import UsageError
from latentbench.fits import window_task

ONE = {"encoder": ["logmel"], "corpus": ["speech-demo"]}


def test_every_combination_of_the_values_is_a_run(registry):
    vary = {"task.context_ms": [80, 640], "predictor.width": [64, 256, 1024]}
    found = combine(Request(ONE, vary=vary), registry)
    given = [
        (one.config.task.context_ms, one.config.predictor.model_dump()["width"]) for one in found
    ]
    assert given == [(ms, width) for ms in (80, 640) for width in (64, 256, 1024)]
    assert found[0].label == "context_ms=80 width=64"
    assert len({one.folder for one in found}) == 6


def test_a_file_varies_what_the_command_line_does(registry, tmp_path):
    file = tmp_path / "vary.yaml"
    file.write_text("vary: {task.context_ms: [80, 640]}\n")
    of_file = combine(Request(ONE, config_file=file), registry)
    given = combine(Request(ONE, vary={"task.context_ms": [80, 640]}), registry)
    assert [one.config for one in of_file] == [one.config for one in given]


@pytest.mark.parametrize(
    ("vary", "told"),
    [
        ({"task.context_ms": [80]}, "at least two runs"),
        ({"task.context_ms": [80, 80]}, "given twice"),
        ({"steps": [1, 2]}, "no key of a section"),
        ({"encoder.name": ["logmel", "mimi"]}, "no key of a section"),
        ({"predictor.wide": [1, 2]}, "has no option 'wide'"),
        ({"task.context_ms": 80}, "names no values"),
    ],
)
def test_what_cannot_vary_is_told(registry, vary, told):
    with pytest.raises(UsageError, match=told):
        combine(Request(ONE, vary=vary), registry)


@pytest.mark.parametrize(
    ("vary", "match", "first"),
    [
        # The longest context and the longest staleness, 640 + 640 ms at 50 frames a second.
        ({"task.context_ms": [80, 640]}, "ms", 64),
        # 64 - 1 + 8, and that of the frame set of phase1 for lags up to 4.
        ({"task.context_frames": [8, 64]}, "frames", 71),
    ],
)
def test_contexts_of_any_length_are_held_against_each_other_on_the_same_frames(
    registry, vary, match, first
):
    preset = "lb1" if match == "ms" else "phase1"
    found = combine(Request(ONE, match=match, preset=preset, vary=vary), registry)
    tasks = [in_frames(one.config, 50.0) for one in found]
    starts = {window_task(one, k).first_frame for one in tasks for k in one.task.horizons}
    assert starts == {first}


def test_a_first_frame_that_is_given_is_kept(registry):
    request = Request(ONE, vary={"task.context_ms": [80, 640]}, assignments=["task.first_ms=100"])
    assert {one.config.task.first_ms for one in combine(request, registry)} == {100.0}


def test_what_varies_without_a_length_sets_no_first_frame(registry):
    for one in combine(Request(ONE, vary={"predictor.width": [64, 256]}), registry):
        assert "first_ms" not in one.config.model_dump()["task"]
