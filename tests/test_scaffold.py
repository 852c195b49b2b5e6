"""`plugins new` writes distributions that work, and refuses kindly what cannot."""

import subprocess
import sys

import pytest

from latentbench.errors import UsageError
from latentbench.plugins import Component, Provider, Registry, load_registry
from latentbench.scaffold import TEMPLATE_KINDS, create
from latentbench.specs import KINDS, option_fields


@pytest.fixture(scope="module")
def registry():
    return load_registry()


@pytest.mark.parametrize("kind", TEMPLATE_KINDS)
def test_what_is_made_keeps_its_contract(kind, tmp_path, registry, monkeypatch):
    made = create(kind, f"my-{kind}", tmp_path, registry)
    monkeypatch.syspath_prepend(made.folder)
    plugin = made.folder / f"latentbench_my_{kind}" / "plugin.py"
    fresh = load_registry([plugin])
    assert fresh.refusals == []
    from latentbench.conformance import run_checks
    from latentbench.workspace import Workspace

    component = fresh.get(kind, f"my-{kind}")
    if kind == "encoder":  # it names the version of its distribution, which is not installed
        (made.folder / "latentbench_my_encoder.dist-info").mkdir()
        metadata = "Metadata-Version: 2.1\nName: latentbench-my-encoder\nVersion: 0.1.0\n"
        (made.folder / "latentbench_my_encoder.dist-info" / "METADATA").write_text(metadata)
    findings = run_checks(component, component.spec.options(), Workspace(tmp_path / "cache"))
    assert [str(finding) for finding in findings if finding.status in {"fail", "warn"}] == []
    assert all(option.help for option in option_fields(component.spec.options))


@pytest.mark.parametrize("kind", TEMPLATE_KINDS)
def test_the_distribution_names_its_plugin_and_its_licence(kind, tmp_path, registry):
    made = create(kind, "two-words", tmp_path, registry)
    project = (made.folder / "pyproject.toml").read_text("utf-8")
    assert 'name = "latentbench-two-words"' in project
    assert 'license = "Apache-2.0"' in project
    entry_point = 'two_words = "latentbench_two_words.plugin"'
    assert f"[project.entry-points.latentbench]\n{entry_point}\n" in project
    assert {str(file) for file in made.files} == {
        "README.md",
        "pyproject.toml",
        "latentbench_two_words/__init__.py",
        f"latentbench_two_words/{kind}.py",
        "latentbench_two_words/plugin.py",
        "latentbench_two_words/py.typed",
        "tests/test_conformance.py",
    }
    for file in made.files:
        text = (made.folder / file).read_text("utf-8")
        assert "$" not in text
        if file.suffix == ".py":
            compile(text, file, "exec")


def test_listing_what_is_made_imports_no_torch(tmp_path, registry):
    made = [create(kind, f"my-{kind}", tmp_path, registry).folder for kind in TEMPLATE_KINDS]
    code = (
        "import importlib, sys\nsys.path += sys.argv[1:]\n"
        "for one in sys.argv[1:]:\n"
        "    name = one.split('/')[-1].replace('-', '_')\n"
        "    importlib.import_module(f'latentbench_{name}.plugin')\n"
        "print([name for name in ('torch', 'numpy', 'pydantic') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, *(one.as_posix() for one in made)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "name",
    ["", "Mine", "1st", "my encoder", "-mine", "mine-", "a--b", "../mine", "class", "none", "ä"],
)
def test_names_that_cannot_be_used_are_refused(name, tmp_path, registry):
    with pytest.raises(UsageError, match="cannot be the name of a plugin") as caught:
        create("encoder", name, tmp_path, registry)
    assert "e.g. my-encoder" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_refused(tmp_path, registry):
    with pytest.raises(UsageError, match="The encoder 'logmel' exists already, of latentbench"):
        create("encoder", "logmel", tmp_path, registry)


def test_a_distribution_that_is_installed_is_refused(tmp_path):
    spec = KINDS["metric"](name="other", summary="for tests", factory="a:b")
    installed = Registry([Component(spec, Provider("latentbench-mine", "2.0", "m"))])
    with pytest.raises(
        UsageError,
        match=r"'latentbench-mine' is installed already, with the metric 'other' of \S+ 2\.0",
    ):
        create("encoder", "mine", tmp_path, installed)


def test_a_folder_that_is_there_is_left_alone(tmp_path, registry):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.py").write_text("precious")
    with pytest.raises(UsageError, match="is there already; nothing was written") as caught:
        create("encoder", "mine", tmp_path, registry)
    assert "--out" in caught.value.hint
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["work.py"]


def test_a_place_that_cannot_be_written_is_named(tmp_path, registry):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UsageError, match=r"file.* cannot be written: Not a directory"):
        create("encoder", "mine", tmp_path / "file", registry)


def test_a_kind_without_a_template_names_those_that_have_one(tmp_path, registry):
    with pytest.raises(UsageError, match="no template of the kind 'encodr'") as caught:
        create("encodr", "mine", tmp_path, registry)
    assert caught.value.hint == "Did you mean 'encoder'?"
