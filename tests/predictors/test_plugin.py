import subprocess
import sys
from dataclasses import asdict

import pytest

from latentbench.config import ComponentConfig, build_options, resolve
from latentbench.errors import UsageError
from latentbench.plugins import load_registry
from latentbench.specs import option_fields


def test_listing_loads_neither_torch_nor_numpy_nor_pydantic():
    code = (
        "import sys; from latentbench.predictors.plugin import latentbench_predictors as hook; "
        "list(hook()); print({'torch', 'numpy', 'pydantic'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["mdn", "marginal"])
def test_the_registry_makes_them_from_their_default_options(name):
    registry = load_registry()
    component = registry.get("predictor", name)
    options = build_options(ComponentConfig(name=name), "predictor", registry)
    predictor = component.create(options, context_frames=2, dim=3)
    assert (predictor.context_frames, predictor.dim) == (2, 3)
    assert all(option.help for option in option_fields(component.spec.options))


def test_the_defaults_are_phase_1s():
    config = resolve({}, load_registry())
    assert asdict(config.predictor.options) == {
        "components": 8,
        "width": 1024,
        "log_sigma_min": -7.0,
        "log_sigma_max": 2.0,
    }
    assert asdict(config.baseline.options) == {"floor": 1e-6}


@pytest.mark.parametrize(
    ("section", "option", "value"),
    [
        ("predictor", "components", 0),
        ("predictor", "width", -1),
        ("baseline", "floor", 0.0),
    ],
)
def test_options_out_of_range_are_named(section, option, value):
    name = {"predictor": "mdn", "baseline": "marginal"}[section]
    config = ComponentConfig(name=name, **{option: value})
    with pytest.raises(UsageError, match=f"'{section}.{option}' cannot be {value}: .*greater than"):
        build_options(config, section, load_registry())
