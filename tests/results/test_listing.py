"""A folder of runs is listed whatever state each is in."""

import json

import pytest
from click.testing import CliRunner

from latentbench.cli import main
from latentbench.errors import UsageError
from latentbench.files import write_text
from latentbench.locks import locked
from latentbench.predictors.learning_curve import Convergence
from latentbench.reports.listing import listing_report
from latentbench.results import RunFolder
from latentbench.results.listing import list_runs
from latentbench.results.schema import CellRecord, Figure

DONE = CellRecord(horizon=1, seed=42, status="done").to_json()


@pytest.fixture
def begun(tmp_path, config):
    """A run of two cells, of which one is done."""
    with RunFolder.open(tmp_path / "runs" / "group" / "begun", config) as run:
        run.cell(1, 42).mkdir(parents=True)
        write_text(run.cell(1, 42) / "cell.json", DONE)
    return run


def only(tmp_path):
    (found,) = list_runs(tmp_path / "runs").runs
    return found


def test_a_run_that_was_stopped_says_how_far_it_was(begun, tmp_path):
    found = only(tmp_path)
    assert (found.run, found.status, found.done, found.cells) == ("group/begun", "stopped", 1, 2)
    assert (found.encoder, found.predictor) == ("mimi", "mdn")
    assert found.bytes == sum(f.stat().st_size for f in begun.path.rglob("*") if f.is_file())


def test_a_run_in_whose_folder_a_process_works_is_running(begun, tmp_path):
    with locked(begun.path / ".lock"):
        assert only(tmp_path).status == "running"
    assert only(tmp_path).status == "stopped"


def test_why_a_cell_failed_is_told(begun, tmp_path):
    begun.cell(2, 42).mkdir()
    failed = CellRecord(horizon=2, seed=42, status="failed", error="the loss became nan")
    write_text(begun.cell(2, 42) / "cell.json", failed.to_json())
    assert only(tmp_path).problem == "the loss became nan"
    lines = [
        one.text for one in listing_report(list_runs(tmp_path / "runs")) if hasattr(one, "text")
    ]
    assert "group/begun: the loss became nan" in lines


@pytest.mark.parametrize("text", ["{}", "no: [yaml", "task: 3"])
def test_what_cannot_be_read_is_listed_as_such(tmp_path, text):
    (tmp_path / "runs" / "odd").mkdir(parents=True)
    (tmp_path / "runs" / "odd" / "config.yaml").write_text(text)
    found = only(tmp_path)
    assert found.status == "unreadable"
    assert found.problem


def test_a_damaged_result_is_listed_as_unreadable(tmp_path):
    (tmp_path / "runs" / "odd").mkdir(parents=True)
    (tmp_path / "runs" / "odd" / "result.json").write_text('{"schema_version": 1, "config"')
    assert only(tmp_path).status == "unreadable"


def test_of_what_only_samples_the_energy_skill_is_the_headline(tmp_path, make_result):
    result = make_result()
    skill = Figure(split="eval", slice="all", name="energy_skill", value=0.2, n=9, better="higher")
    unfit = {"predictor": (Convergence(steps=9, best_step=9, converged=False),)}
    for name, changes in (("good", {}), ("unfit", {"convergence": unfit})):
        horizon = result.horizons[0].model_copy(update={"figures": (skill,), **changes})
        (tmp_path / name).mkdir()
        text = result.model_copy(update={"horizons": (horizon,)}).to_json()
        write_text(tmp_path / name / "result.json", text)
    good, unfit = (one.headline for one in list_runs(tmp_path).runs)
    assert (good.figure, good.value, good.note) == ("energy_skill", 0.2, "")
    assert unfit.note == "not fitted"


def test_no_folder_is_said_and_an_empty_one_is_no_error(tmp_path):
    with pytest.raises(UsageError, match="There is no folder"):
        list_runs(tmp_path / "none")
    (tmp_path / "runs").mkdir()
    ended = CliRunner().invoke(main, ["runs", str(tmp_path / "runs")])
    assert "There is no run in" in ended.stdout


@pytest.mark.usefixtures("begun")
def test_the_command_prints_json(tmp_path):
    ended = CliRunner().invoke(main, ["runs", str(tmp_path / "runs"), "--json"])
    (told,) = json.loads(ended.stdout)["runs"]
    assert (told["run"], told["status"], told["headline"]) == ("group/begun", "stopped", None)
