"""`--vary`: a run of each value, the same from the command line, Python and YAML."""

import pytest

from latentbench.comparisons.combinations import Request, combine
from latentbench.errors import UsageError

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
