"""Components from Python: found, told apart by their code, and never taken for one another."""

import importlib
import pickle
import sys
import textwrap
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

import latentbench as lb
from latentbench.api import configure
from latentbench.cells import CellWork
from latentbench.errors import UsageError
from latentbench.inline import adopt, code_digest
from latentbench.plugins import load_registry
from latentbench.specs import MetricSpec, PredictorSpec

ARRAYS = {f"u{number}": np.random.default_rng(number).normal(size=(50, 3)) for number in range(8)}
SPEAKERS = {name: f"s{int(name[1:]) // 2}" for name in ARRAYS}
HELD = {"latents": ARRAYS, "frame_rate": 12.5, "speakers": SPEAKERS, "horizons": [2]}


@dataclass(frozen=True)
class Options:
    scale: float = 1.0


class Fixed(lb.Predictor):
    """One Gaussian whatever comes."""

    def __init__(self, options: Options, *, context_frames: int, dim: int) -> None:
        super().__init__(context_frames=context_frames, dim=dim)
        self.scale = options.scale

    def fit(self, train, training):
        pass

    def forward(self, context):
        mean = context.new_zeros(len(context), self.dim)
        return Independent(Normal(mean, self.scale), 1)


@lb.metric(better="lower", needs=["mean"])
def miss(prediction):
    """Distance of the mean."""
    return (prediction.target - prediction.model.mean).norm(dim=-1)


@pytest.fixture(scope="module")
def registry():
    return load_registry()


@pytest.fixture
def place(tmp_path):
    return {"cache": tmp_path / "cache", "progress": False, "device": "cpu", "controls": []}


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_class_with_options_is_run_and_scored_as_it_says(place, tmp_path, scale):
    predictor = {"name": Fixed, "scale": scale}
    run = lb.run(**HELD, **place, predictor=predictor, metrics=["nll", miss], out=tmp_path / "run")
    deltas = np.concatenate([ARRAYS[name][11:] - ARRAYS[name][10:-1] for name in ARRAYS])
    squares = (deltas**2).sum(1)
    nll = 1.5 * np.log(2 * np.pi * scale**2) + squares / (2 * scale**2)
    figures = run.figures.where(slice="all", figure=["nll", "miss"])
    for name, wanted in (("nll", nll), ("miss", np.sqrt(squares))):
        rows = figures.where(figure=name).rows
        mean = sum(row.value * row.n for row in rows) / sum(row.n for row in rows)
        assert mean == pytest.approx(wanted.mean(), rel=1e-5)
    assert run.config.predictor.options == {"scale": scale}


def test_a_factory_and_a_spec_do_as_well(registry):
    made = partial(Fixed, Options(3.0))

    def factory(_, **sizes):
        return made(**sizes)

    spec = PredictorSpec(name="fixed", summary="s", factory=f"{__name__}:Fixed", options=Options)
    for given, name in ((factory, "factory"), (spec, "fixed"), (Fixed, "Fixed")):
        layer, known = adopt({"predictor": given, "baseline": given}, registry)
        assert layer == {"predictor": name, "baseline": name}
        assert known.get("predictor", name).spec.name == name
        assert len(known.components) == len(registry.components) + 1


def test_a_plugins_own_class_goes_by_the_plugins_name(registry):
    spec = registry.get("metric", "nll").spec
    layer, known = adopt({"evaluation": {"metrics": [spec, "dnll"]}}, registry)
    assert layer["evaluation"]["metrics"] == ["nll", "dnll"]
    assert known.components == registry.components


def test_transforms_may_be_given_too(registry):
    class Double(lb.Transform):
        """Twice the latents."""

    layer, known = adopt({"transforms": ["standardize", {"name": Double}]}, registry)
    assert layer["transforms"] == ["standardize", {"name": "Double"}]
    assert known.get("transform", "Double").spec.summary == "Twice the latents."


class mdn(Fixed):  # noqa: N801 - the name of another one
    pass


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"predictor": mdn}, r"called 'mdn', as predictor 'mdn' of latentbench.* is"),
        ({"predictor": miss}, "'miss' is a metric; a predictor is wanted here"),
        ({"encoder": object()}, r"is no encoder.\nGive a name, a class, a factory"),
        (
            {"predictor": Fixed, "baseline": type("Fixed", (Fixed,), {"fit": lambda *_: 1})},
            "Two different predictors called 'Fixed'",
        ),
    ],
)
def test_what_is_no_component_is_told(registry, layer, message):
    with pytest.raises(UsageError, match=message):
        adopt(layer, registry)


def digest_of(source, **names):
    """The digest of `made` in a module of this source."""
    module = {"__name__": "notebook", **names}
    exec(textwrap.dedent(source), module)  # noqa: S102 - our own text
    return code_digest(module["made"])


CLASS = """
    import torch
    FACTOR = 2
    def helper(x):
        return x * FACTOR
    class Base:
        rate = 0.5
        def scale(self, x):
            return helper(x)
    class made(Base):
        @property
        def two(self):
            return torch.tensor(2)
        def forward(self, x):
            inner = lambda y: self.scale(y) + 1
            return inner(x)
"""


def test_the_same_code_has_the_same_digest_wherever_it_stands():
    assert digest_of(CLASS) == digest_of("\n\n\n" + CLASS)
    assert digest_of(CLASS) == digest_of(CLASS.replace("class made", "# a comment\n    class made"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("FACTOR = 2", "FACTOR = 3"),
        ("x * FACTOR", "x + FACTOR"),
        ("rate = 0.5", "rate = 0.25"),
        ("self.scale(y) + 1", "self.scale(y) + 2"),
        ("helper(x)\n", "helper(2 * x)\n"),
        ("torch.tensor(2)", "torch.tensor(3)"),
    ],
)
def test_a_change_anywhere_in_the_code_changes_the_digest(old, new):
    assert old in CLASS
    assert digest_of(CLASS) != digest_of(CLASS.replace(old, new))


HELPED = """
    import helper_of_made
    def made(options):
        return helper_of_made.amount()
"""


@pytest.mark.parametrize("changed", ["helper_of_made", "helper_of_helper"])
def test_a_change_in_a_module_that_the_code_reads_changes_the_digest(
    tmp_path, monkeypatch, changed
):
    """Its own, or one that it has only a function of."""
    files = {
        "helper_of_made": "from helper_of_helper import one\ndef amount():\n    return one()\n",
        "helper_of_helper": "def one():\n    return 1\n",
    }
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def digest():
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        return digest_of(HELPED)

    before = digest()
    assert digest() == before
    files[changed] += "MORE = 1\n"
    assert digest() != before


def test_a_module_without_a_file_is_known_by_its_name():
    source = "import sys, time\ndef made(options):\n    return time.time(), sys.path"
    assert digest_of(source) == digest_of(source)


def test_an_object_that_cannot_be_looked_into_is_never_taken_for_another():
    source = "def made(options):\n    return network"
    network = torch.nn.Linear(1, 1)
    assert digest_of(source, network=network) != digest_of(source, network=network)


def test_changed_code_is_a_run_of_its_own():
    def factory(_, **sizes):
        return Fixed(Options(2.0), **sizes)

    first = configure(**HELD, predictor=factory)
    again = configure(**HELD, predictor=factory)

    def factory(_, **sizes):
        return Fixed(Options(3.0), **sizes)

    other = configure(**HELD, predictor=factory)
    assert first.digest() == again.digest() != other.digest()


def test_a_run_folder_refuses_other_code(place, tmp_path):
    where = {**HELD, **place, "out": tmp_path / "run"}
    lb.run(**where, predictor=lambda _, **sizes: Fixed(Options(2.0), **sizes))
    with pytest.raises(UsageError, match=r"another configuration: predictor.inline is"):
        lb.run(**where, predictor=lambda _, **sizes: Fixed(Options(3.0), **sizes))


def test_without_its_class_a_finished_run_is_shown_and_its_models_are_asked_for(place, tmp_path):
    run = lb.run(**HELD, **place, predictor=Fixed, out=tmp_path / "run")
    assert run.rollout(utterances=1).record.curves[0].n > 0
    again = lb.read(tmp_path / "run", cache=place["cache"], progress=False)
    assert "latents on arrays, Fixed against marginal" in str(again)
    with pytest.raises(UsageError, match="There is no predictor called 'Fixed'"):
        again.rollout()


def test_a_component_travels_to_another_process_by_the_name_of_its_class(registry):
    known = adopt({"predictor": Fixed, "evaluation": {"metrics": [miss]}}, registry)[1]
    sent = pickle.loads(pickle.dumps(CellWork(known)))  # noqa: S301 - our own bytes
    assert sent.registry.get("predictor", "Fixed").spec.factory is Fixed
    assert isinstance(sent.registry.get("metric", "miss").spec, MetricSpec)
