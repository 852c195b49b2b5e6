"""Options describe themselves; hook modules load nothing heavy."""

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest

from latentbench.plugins import BUILTIN, load_registry
from latentbench.specs import KINDS, DensityBy, OptionField, PredictorSpec, option_fields


@dataclass(frozen=True)
class Options:
    weights: Annotated[str, "where the weights are"]
    view: Annotated[Literal["a", "b"], "which view"] = "a"
    sizes: Annotated[tuple[int, ...], "how many"] = field(default_factory=lambda: (1, 2))
    limit: int | None = None


def test_options_tell_type_default_and_help():
    assert option_fields(Options) == [
        OptionField(
            name="weights", type="str", default=None, required=True, help="where the weights are"
        ),
        OptionField(
            name="view", type="Literal['a', 'b']", default="a", required=False, help="which view"
        ),
        OptionField(
            name="sizes", type="tuple[int, ...]", default=(1, 2), required=False, help="how many"
        ),
        OptionField(name="limit", type="int | None", default=None, required=False, help=""),
    ]


@pytest.mark.parametrize("module", BUILTIN)
def test_a_hook_module_loads_nothing_heavy(module):
    code = (
        f"import sys, {module}\n"
        "print([n for n in ('torch', 'numpy', 'pydantic', 'pyarrow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_option_of_every_component_has_help():
    undocumented = [
        f"{one.spec.kind} {one.spec.name}.{option.name}"
        for one in load_registry().components
        for option in option_fields(one.spec.options)
        if not option.help
    ]
    assert undocumented == []


def test_every_kind_has_a_hook_of_its_name():
    from latentbench import hookspecs

    hooks = {name for name in vars(hookspecs) if name.startswith("latentbench_")}
    assert {spec.hook for spec in KINDS.values()} == hooks


HEADS = DensityBy("view", {"a": "exact", "b": "samples"})


def predictor_spec(density):
    return PredictorSpec(name="p", summary="s", factory="a:b", options=Options, density=density)


def test_what_a_predictor_gives_may_depend_on_an_option():
    spec = predictor_spec(HEADS)
    assert [spec.density_of(Options(weights="", view=view)) for view in "ab"] == [
        "exact",
        "samples",
    ]
    assert str(spec.density) == "exact (view a); samples (view b)"
    assert predictor_spec("bound").density_of(Options(weights="")) == "bound"


@pytest.mark.parametrize("density", ["excat", DensityBy("view", {"a": "exact", "b": "excat"})])
def test_a_density_that_is_none_of_the_three_is_refused(density):
    with pytest.raises(ValueError, match="predictor 'p' gives a density 'excat', not one of exact"):
        predictor_spec(density)
