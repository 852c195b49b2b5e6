"""What installs latentbench elsewhere asks for what pyproject.toml asks for."""

import re
from importlib.metadata import metadata, requires, version
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
# What conda-forge calls a distribution of another name.
CONDA = {
    "huggingface-hub": "huggingface_hub",
    "soundfile": "pysoundfile",
    "torch": "pytorch",
    "xxhash": "python-xxhash",
}


TRACKERS = {"mlflow", "tensorboard", "wandb"}
COMPILED = {"listening"}  # where it is installed, which not every machine can


def required():
    return [Requirement(one) for one in requires("latentbench")]


def test_the_recipe_of_conda_asks_for_what_pip_asks_for():
    recipe = yaml.safe_load((ROOT / "packaging/conda/recipe.yaml").read_text("utf-8"))
    python, *others = recipe["requirements"]["run"]
    asked = {
        f"{CONDA.get(one.name, one.name)} {one.specifier}" for one in required() if not one.marker
    }
    assert set(others) == asked
    assert python == "python >=${{ python_min }}"
    assert recipe["context"]["version"] == version("latentbench")
    assert recipe["about"]["summary"] == metadata("latentbench")["Summary"]


def test_the_extra_all_holds_every_extra_but_those_of_other_services_and_those_compiled():
    (whole,) = (one for one in required() if one.marker and 'extra == "all"' in str(one.marker))
    extras = set(metadata("latentbench").get_all("Provides-Extra"))
    assert whole.extras == extras - {"all", "dev", "docs", "test"} - TRACKERS - COMPILED


# Ray and a requirement of DAC want versions of protobuf that exclude each other.
APART = {"plugins/ray"}


def test_the_image_installs_every_distribution_below_plugins_that_goes_with_the_others():
    text = (ROOT / "packaging/Dockerfile").read_text("utf-8")
    installed = set(re.findall(r"/src/(plugins/\w+)", text))
    there = {f"plugins/{one.parent.name}" for one in ROOT.glob("plugins/*/pyproject.toml")}
    assert installed == there - APART
