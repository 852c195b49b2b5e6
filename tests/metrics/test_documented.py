from pathlib import Path

import pytest

from latentbench.plugins import load_registry
from latentbench.specs import NoOptions
from latentbench.tasks.slices import SLICES
from latentbench.tasks.windows import FRAME_SETS, TARGETS

DOCS = Path(__file__).parents[2] / "docs"


def own_metrics():
    return [
        component
        for component in load_registry().of_kind("metric")
        if component.provider.distribution == "latentbench"
    ]


@pytest.mark.parametrize("component", own_metrics(), ids=lambda component: component.spec.name)
def test_every_metric_is_documented_with_unit_direction_and_columns(component):
    text = (DOCS / "metrics.md").read_text("utf-8")
    metric = component.create(NoOptions())
    assert f"| `{metric.name}` | {metric.unit}".rstrip() in text
    row = next(line for line in text.splitlines() if line.startswith(f"| `{metric.name}` |"))
    assert f"| {metric.better} |" in row
    listed = next(line for line in text.splitlines() if line.startswith("Columns:"))
    assert all(f"`{column}`" in listed for column in metric.columns)


@pytest.mark.parametrize("name", [*SLICES, "speaker:ID", *FRAME_SETS, *TARGETS])
def test_every_slice_frame_set_and_target_is_documented(name):
    assert f"`{name}`" in (DOCS / "tasks.md").read_text("utf-8")


def test_the_plugins_on_the_page_are_plugins_as_they_stand(tmp_path):
    text = (DOCS / "metrics.md").read_text("utf-8").partition("## A metric of your own")[2]
    short, with_options, long = (
        block.partition("```")[0] for block in text.split("```python\n")[1:]
    )
    files = {"short": short, "options": short + with_options, "long": long}
    found = {}
    for name, program in files.items():
        (tmp_path / f"{name}.py").write_text(program, "utf-8")
        registry = load_registry([tmp_path / f"{name}.py"])
        for component in registry.of_kind("metric"):
            if component.provider.distribution != "latentbench":
                spec = component.spec
                found[name, spec.name] = component.create(spec.options()), spec.summary
    assert list(found) == [
        ("short", "miss"),
        ("options", "aligned"),
        ("options", "miss"),
        ("long", "median_miss"),
    ]
    miss, summary = found["short", "miss"]
    assert (miss.unit, miss.needs) == ("latent units", ("mean",))
    assert summary == "Distance of the predicted mean from the target."
    assert found["options", "aligned"][0].options.above == 0.5
