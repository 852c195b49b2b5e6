"""The loader isolates, validates and names: real folders with a dist-info on sys.path."""

import sys
import textwrap
from importlib import invalidate_caches
from importlib.metadata import version

import pytest

from latentbench.errors import UsageError
from latentbench.plugins import BUILTIN, Component, Provider, load_registry
from latentbench.specs import EncoderSpec

GOOD = """
from latentbench.hookspecs import hookimpl
from latentbench.specs import EncoderSpec

@hookimpl
def latentbench_encoders():
    yield EncoderSpec(name="{name}", summary="a test encoder", factory="{factory}")
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution with one plugin module, as pip would lay it out."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def lay_out(distribution, code, release="1.2"):
        module = distribution.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(code))
        info = tmp_path / f"{module}-{release}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {release}\n"
        )
        (info / "entry_points.txt").write_text(f"[latentbench]\n{distribution} = {module}\n")
        invalidate_caches()

    yield lay_out
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def good(name="tiny", factory="collections:OrderedDict"):
    return GOOD.format(name=name, factory=factory)


def test_every_built_in_plugin_loads(monkeypatch):
    monkeypatch.setenv("LATENTBENCH_PLUGINS", "")
    registry = load_registry()
    ours = {
        c.provider.module for c in registry.components if c.provider.distribution == "latentbench"
    }
    assert ours == set(BUILTIN)
    registry.require_clean()


def test_an_installed_plugin_is_found_with_its_distribution(install):
    install("acme-codec", good())
    found = load_registry().get("encoder", "tiny")
    assert found.provider == Provider("acme-codec", "1.2", "acme_codec")
    assert found.create({}) == {}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise RuntimeError('at import')", "RuntimeError: at import"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("x = 1", "it implements no latentbench hook"),
        (
            """
            from latentbench.hookspecs import hookimpl

            @hookimpl
            def latentbench_encodres():
                return []
            """,
            "unknown hook 'latentbench_encodres'",
        ),
        (
            """
            from latentbench.hookspecs import hookimpl

            @hookimpl
            def latentbench_encoders():
                return ["mimi"]
            """,
            "yielded 'mimi', which is no EncoderSpec",
        ),
        (
            """
            from latentbench.hookspecs import hookimpl
            from latentbench.specs import MetricSpec

            @hookimpl
            def latentbench_encoders():
                yield MetricSpec(name="m", summary="s", factory="a:b")
            """,
            "which is no EncoderSpec",
        ),
        (
            """
            from latentbench.hookspecs import hookimpl

            @hookimpl
            def latentbench_encoders():
                return 7
            """,
            "TypeError: 'int' object is not iterable",
        ),
        (good(factory="no_colon"), "has factory 'no_colon', expected 'package.module:Class'"),
        (good(name=""), "lacks a summary, or a name of letters"),
        (good(name="a/b"), "lacks a summary, or a name of letters"),
        (
            """
            from dataclasses import dataclass
            from latentbench.hookspecs import hookimpl
            from latentbench.specs import EncoderSpec

            @dataclass(frozen=True)
            class Options:
                name: str = "x"

            @hookimpl
            def latentbench_encoders():
                yield EncoderSpec(name="x", summary="s", factory="a:b", options=Options)
            """,
            "has an option 'name', which says which component it is",
        ),
        (
            """
            from latentbench.hookspecs import hookimpl
            from latentbench.specs import EncoderSpec

            @hookimpl
            def latentbench_encoders():
                yield EncoderSpec(name="x", summary="s", factory="a:b", options=dict)
            """,
            "has options <class 'dict'>, expected a dataclass",
        ),
        (
            """
            from dataclasses import dataclass
            from latentbench.hookspecs import hookimpl
            from latentbench.specs import EncoderSpec

            @dataclass(frozen=True)
            class Options:
                hop: "NotImported" = None

            @hookimpl
            def latentbench_encoders():
                yield EncoderSpec(name="x", summary="s", factory="a:b", options=Options)
            """,
            "NameError: name 'NotImported' is not defined",
        ),
    ],
)
def test_a_bad_plugin_is_refused_by_name_and_the_rest_works(install, code, reason):
    install("acme-bad", code)
    install("acme-good", good())
    registry = load_registry()
    [refusal] = [one for one in registry.refusals if one.provider.distribution == "acme-bad"]
    assert str(refusal).startswith("acme-bad 1.2 (acme_bad): ")
    assert reason in str(refusal)
    assert registry.get("encoder", "tiny").provider.distribution == "acme-good"
    with pytest.raises(UsageError, match=r"Refused plugins: .*acme-bad 1\.2"):
        registry.require_clean()
    with pytest.raises(UsageError) as unknown:
        registry.get("encoder", "wanted-from-acme-bad")
    assert "acme-bad 1.2 (acme_bad)" in unknown.value.hint


def test_two_of_one_name_name_both_distributions(install):
    install("acme-one", good())
    install("acme-two", good(), release="2.0")
    registry = load_registry()
    for fails in (lambda: registry.get("encoder", "tiny"), registry.require_clean):
        with pytest.raises(UsageError) as conflict:
            fails()
        assert "'tiny'" in conflict.value.message
        assert {"acme-one 1.2", "acme-two 2.0"} == {
            name for name in ("acme-one 1.2", "acme-two 2.0") if name in conflict.value.message
        }
        assert "LATENTBENCH_PLUGINS" in conflict.value.hint
    assert len(registry.conflicts()) == 1
    assert registry.get("encoder", "mimi").spec.name == "mimi"


def test_a_built_in_is_not_replaced_in_silence(install):
    install("acme-mimi", good(name="mimi"))
    with pytest.raises(UsageError, match=r"latentbench \S+ and acme-mimi 1\.2"):
        load_registry().get("encoder", "mimi")


@pytest.mark.parametrize(
    ("wanted", "loaded"),
    [
        ("acme-one", {"acme-one"}),
        (" acme-one , acme-two", {"acme-one", "acme-two"}),
        ("", set()),
    ],
)
def test_the_environment_limits_what_loads(install, monkeypatch, wanted, loaded):
    install("acme-one", good("one"))
    install("acme-two", good("two"))
    monkeypatch.setenv("LATENTBENCH_PLUGINS", wanted)
    registry = load_registry()
    assert {c.provider.distribution for c in registry.components} - {"latentbench"} == loaded
    assert registry.refusals == []


def test_a_wanted_plugin_that_is_not_installed_is_told(install, monkeypatch):
    install("acme-one", good())
    monkeypatch.setenv("LATENTBENCH_PLUGINS", "acme-on")
    [refusal] = load_registry().refusals
    assert "it is not installed. Did you mean 'acme-one'?" in str(refusal)


def test_a_file_is_a_plugin_and_its_classes_can_be_imported(tmp_path):
    file = tmp_path / "inline.py"
    file.write_text(
        good(factory="latentbench_inline_inline:Encoder")
        + "\nclass Encoder:\n    def __init__(self, options):\n        self.made = options\n"
    )
    found = load_registry([file]).get("encoder", "tiny")
    assert found.provider.distribution == str(file)
    assert found.create(1).made == 1


def test_two_files_of_one_name_are_refused(tmp_path):
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files.append(tmp_path / name / "mine.py")
        files[-1].write_text(good(name, factory="latentbench_inline_mine:Encoder"))
    with pytest.raises(UsageError, match="Two plugin files are called 'mine'") as caught:
        load_registry(files)
    assert all(str(file) in caught.value.message for file in files)
    assert load_registry(files[1:]).get("encoder", "two")


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("absent.py", None, "FileNotFoundError"),
        ("broken.py", "def", "SyntaxError"),
        ("empty.py", "", "it implements no latentbench hook"),
        ("notes.txt", "hello", "it is no Python file"),
    ],
)
def test_a_named_file_that_is_no_plugin_is_an_error(tmp_path, name, text, reason):
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match=f"'{file}' cannot be used: .*{reason}"):
        load_registry([file])


@pytest.mark.parametrize("name", ["acme-codec", "acme_codec", "codec"])
def test_a_refused_plugin_says_why_by_any_of_its_names(install, name):
    distribution = "latentbench-codec" if name == "codec" else "acme-codec"
    install(distribution, "import module_that_nobody_has")
    with pytest.raises(UsageError, match=f"The plugin '{name}' was refused: ") as error:
        load_registry().find(name)
    assert "No module named 'module_that_nobody_has'" in error.value.message
    assert "pip install module_that_nobody_has" in error.value.message
    module = distribution.replace("-", "_")
    assert f'python -c "import {module}" shows where it failed' in error.value.hint


def test_a_component_of_a_refused_plugin_says_what_was_refused(install):
    install("acme-codec", good(factory="nowhere"))
    for find in (lambda registry: registry.find("tiny"), lambda r: r.get("encoder", "tiny")):
        with pytest.raises(UsageError, match=r"Refused plugins: acme-codec 1\.2 .*'nowhere'"):
            find(load_registry())


@pytest.mark.parametrize("late", [False, True])
def test_the_module_that_a_factory_lacks_is_named_with_its_pip_command(install, late):
    lacks = "import module_that_nobody_has"
    body = f"    def __init__(self, options):\n        {lacks}" if late else f"    {lacks}"
    install("acme-codec", good(factory="acme_code:Encoder"))
    install("acme-code", f"class Encoder:\n{body}")
    component = load_registry().get("encoder", "tiny")
    with pytest.raises(UsageError, match="needs the module 'module_that_nobody_has'") as error:
        component.create(None)
    assert error.value.hint.startswith("pip install module_that_nobody_has")


def test_the_pip_command_is_of_what_the_distribution_asks_for(install, tmp_path):
    """A module's name need not be that of what pip installs."""
    install("acme-codec", good(factory="acme_code:Encoder"))
    install("acme-code", "import module_that_nobody_has")
    metadata = tmp_path / "acme_codec-1.2.dist-info" / "METADATA"
    metadata.write_text(f"{metadata.read_text()}Requires-Dist: nobody-has-this>=2\n")
    with pytest.raises(UsageError) as error:
        load_registry().get("encoder", "tiny").create(None)
    assert error.value.hint == "pip install 'nobody-has-this>=2'"


def test_unknown_names_name_the_nearest():
    registry = load_registry()
    with pytest.raises(UsageError, match=r"no encoder called 'mimmi'.\nDid you mean 'mimi'\?"):
        registry.get("encoder", "mimmi")
    with pytest.raises(UsageError, match=r"no plugin called 'margnal'.\nDid you mean 'marginal'\?"):
        registry.find("margnal")
    assert [one.spec.kind for one in registry.find("mdn")] == ["predictor"]


def component(**facts):
    spec = EncoderSpec(**({"name": "e", "summary": "s", "factory": "collections:Nothing"} | facts))
    return Component(spec, Provider("acme", "1", "acme"))


def test_a_factory_that_is_not_there_is_told():
    with pytest.raises(UsageError, match=r"encoder 'e' of acme 1 names the factory 'collections:N"):
        component().create(None)
    with pytest.raises(UsageError, match="Reinstall or update acme"):
        component(factory="no_such_module:X").create(None)


def test_a_missing_requirement_says_how_to_get_it():
    with pytest.raises(UsageError) as missing:
        component(requires=("no-such-dist>=1",)).create(None)
    assert "cannot run here: no-such-dist>=1 not installed" in missing.value.message
    assert missing.value.hint == "pip install 'no-such-dist>=1'"


CLICK = version("click")


@pytest.mark.parametrize(
    ("need", "met"),
    [
        ("click", True),
        (f"click>={CLICK}", True),
        (f"click>={CLICK}.0", True),
        ("click >= 8", True),
        ("click>=999", False),
        ("click<1", False),
        ("click>=8,<999", True),
        ("no-such-dist", False),
        ("no-such-dist; python_version < '3'", True),
        ("not a requirement", False),
    ],
)
def test_requirements(need, met):
    assert component(requires=(need,)).missing() == ([] if met else [need])
