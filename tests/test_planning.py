"""What `--dry-run` promises is what a run does."""

import pytest

from latentbench.cells import make_predictor
from latentbench.config import read_layers, resolve
from latentbench.errors import UsageError
from latentbench.experiment import run_experiment
from latentbench.planning import plan_experiment
from latentbench.plugins import load_registry
from latentbench.progress import SilentProgress
from latentbench.reports.plan import plan_report
from latentbench.reports.tables import Line
from latentbench.workspace import Workspace

SMALL = (
    "encoder=latents",
    "corpus={name: world:ar1, speakers: 4, dim: 4, frames: 60}",
    "utterances.min_seconds=0",
    "split.eval_fraction=0.5",
    "training.steps=3",
    "device=cpu",
)


class Titles(SilentProgress):
    """Remembers the title and the size of every task."""

    def task(self, title, total, unit, done=0.0):
        self.said.append((title, total))
        return super().task(title, total, unit, done)


def configure(*assignments):
    return resolve(read_layers(None, None, (*SMALL, *assignments)), load_registry())


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        # Each horizon its own; without context one for t >= 11 and one for k = 8; x_t for k > 1.
        (("predictor.width=8",), 4 + 2 + 3),
        (("predictor.width=8", "task.frame_set=own"), 4 + 4 + 3),
        (("predictor.width=8", "task.frame_set=common"), 4 + 1 + 3),
        (("predictor.width=8", "task.step_frames=4"), 4 + 2 + 1),
        (("predictor.width=8", "task.target=x"), 4 + 2),
        (("predictor.width=8", "controls=[]", "seeds=[1, 2]"), 8),
    ],
)
def test_the_networks_that_are_promised_are_trained(tmp_path, assignments, expected):
    config = configure(*assignments)
    progress = Titles()
    workspace = Workspace(tmp_path / "cache", progress)
    plan = plan_experiment(config, workspace, load_registry())
    assert (plan.networks, plan.steps) == (expected, 3)
    run_experiment(config, tmp_path / "run", workspace, load_registry())
    trained = [title for title, _ in progress.said if title.startswith("train k=")]
    assert len(trained) == expected
    assert [total for title, total in progress.said if title == "all networks"] == [expected]


def test_a_predictor_in_closed_form_is_not_said_to_train(tmp_path):
    config = configure("predictor=linear", "controls=[]", "task.horizons=[1]")
    progress = Titles()
    workspace = Workspace(tmp_path / "cache", progress)
    plan = plan_experiment(config, workspace, load_registry())
    assert (plan.networks, plan.steps) == (1, 0)
    result = run_experiment(config, tmp_path / "run", workspace, load_registry())
    assert result.steps == 0
    assert not any(title == "all networks" for title, _ in progress.said)
    trained = run_experiment(
        configure("predictor.width=8", "task.horizons=[1]", "controls=[]"),
        tmp_path / "trained",
        workspace,
        load_registry(),
    )
    assert trained.steps == 3


def test_a_regression_on_many_dimensions_is_tried_on_enough_frames(tmp_path):
    corpus = "corpus={name: world:ar1, speakers: 4, dim: 100, frames: 60}"
    config = configure(corpus, "predictor=linear", "controls=[]", "task.horizons=[1]")
    assert config.task.context_frames * 100 > 512
    plan = plan_experiment(config, Workspace(tmp_path / "cache"), load_registry())
    assert plan.networks == 1


def test_the_time_in_all_counts_every_part(tmp_path):
    config = configure("predictor.width=8", "task.horizons=[1]")
    plan = plan_experiment(config, Workspace(tmp_path), load_registry())
    parts = (plan.encode_seconds, plan.train_seconds, plan.score_seconds, plan.rollout_seconds)
    assert all(part > 0 for part in parts)
    assert plan.seconds == pytest.approx(sum(parts))


def test_every_seed_is_counted(tmp_path):
    """With a clock by which all that is tried takes one second."""

    def seconds(monkeypatch, *assignments):
        monkeypatch.setattr("latentbench.planning._timed", lambda work, _: (work(), 1.0)[1])
        config = configure("predictor.width=8", *assignments)
        return plan_experiment(config, Workspace(tmp_path), load_registry())

    with pytest.MonkeyPatch.context() as patch:
        one, two = seconds(patch, "seeds=[1]"), seconds(patch, "seeds=[1, 2]")
    assert two.score_seconds == pytest.approx(2 * one.score_seconds)
    assert two.rollout_seconds == pytest.approx(2 * one.rollout_seconds)


@pytest.mark.parametrize(("select", "most"), [("best", True), ("last", False)])
def test_a_training_that_validation_may_end_is_counted_as_the_most(tmp_path, select, most):
    config = configure(
        "predictor.width=8", "task.horizons=[1]", "split.validation_fraction=0.1",
        "corpus.speakers=12", f"training.select={select}",
    )  # fmt: skip
    shown = plan_report(plan_experiment(config, Workspace(tmp_path), load_registry()))
    text = "\n".join(one.text for one in shown if isinstance(one, Line))
    assert ("at most about" in text) is most
    assert ("at most 3 steps each" in text) is most


def test_where_no_utterance_is_long_enough_the_longest_is_said(tmp_path):
    config = configure("task.first_frame=500", "task.horizons=[1]")
    with pytest.raises(UsageError, match=r"has the 501 frames .* The longest has \d+\.") as caught:
        plan_experiment(config, Workspace(tmp_path), load_registry())
    assert "task.first_ms" in caught.value.hint


@pytest.mark.parametrize(
    ("assignments", "dim"),
    [
        ((), 4),
        (("factorization={name: linear, dim: 2}",), 2),
        (("factorization={name: rssm, dim: 12}",), 12),
        (("transforms=[{name: pca, components: 3}]",), 3),
        (("transforms=[{name: pca, whiten: true}]",), 4),
        (("factorization={name: pca, dim: 3}", "transforms=[{name: pca, components: 2}]"), 2),
    ],
)
def test_the_plan_is_of_the_dimensions_that_are_asked_for(tmp_path, assignments, dim):
    config = configure("predictor.width=8", "task.horizons=[1]", *assignments)
    plan = plan_experiment(config, Workspace(tmp_path), load_registry())
    made = make_predictor("predictor", config, load_registry(), dim=dim, seed=0)
    assert plan.parameters == sum(one.numel() for one in made.parameters())
    assert not assignments or f"are of {dim} dimensions" in plan.notes[-1]
