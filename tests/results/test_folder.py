"""A run folder holds one configuration and one writer, and says what is wrong otherwise."""

import subprocess
import sys

import pytest

from latentbench.config import RunConfig
from latentbench.errors import UsageError
from latentbench.files import DamagedFileError
from latentbench.results import RunFolder, read_result
from latentbench.results.folder import read_record


def test_the_same_configuration_continues(tmp_path, config):
    for _ in range(2):
        with RunFolder.open(tmp_path / "a/run", config) as run:
            assert run.config_file.read_text("utf-8") == config.to_yaml()


def test_another_configuration_is_refused_with_both_values(tmp_path):
    with RunFolder.open(tmp_path, RunConfig()):
        pass
    other = RunConfig.model_validate({"training": {"steps": 7}, "seeds": [1]})
    with pytest.raises(UsageError) as refused, RunFolder.open(tmp_path, other):
        pass
    assert "seeds is [42] there, [1] here" in str(refused.value)
    assert "training.steps is 25000 there, 7 here" in str(refused.value)
    assert "Choose another --out, or remove" in refused.value.hint


def test_an_option_only_one_has_is_named(tmp_path):
    with RunFolder.open(tmp_path, RunConfig()):
        pass
    other = RunConfig.model_validate({"encoder": {"name": "mimi", "view": "encoder"}})
    with (
        pytest.raises(UsageError, match=r"encoder\.view is \(absent\) there, \"encoder\" here"),
        RunFolder.open(tmp_path, other),
    ):
        pass


def test_another_engine_continues(tmp_path):
    with RunFolder.open(tmp_path, RunConfig()):
        pass
    other = RunConfig.model_validate({"engine": {"name": "elsewhere"}})
    with RunFolder.open(tmp_path, other) as run:
        assert "elsewhere" in run.config_file.read_text("utf-8")


def test_a_folder_of_other_things_is_refused(tmp_path, config):
    (tmp_path / "thesis.tex").touch()
    with (
        pytest.raises(UsageError, match=r"holds no run: 'thesis.tex' is in it"),
        RunFolder.open(tmp_path, config),
    ):
        pass


def test_a_file_in_the_way_is_refused(tmp_path, config):
    (tmp_path / "run").touch()
    with (
        pytest.raises(UsageError, match=r"cannot be made or written to: File exists"),
        RunFolder.open(tmp_path / "run", config),
    ):
        pass


@pytest.mark.parametrize("text", ["{", "- 1", ""])
def test_an_unreadable_configuration_is_refused(tmp_path, config, text):
    (tmp_path / "config.yaml").write_text(text)
    with (
        pytest.raises(UsageError, match=r"what the folder holds is unknown"),
        RunFolder.open(tmp_path, config),
    ):
        pass


def test_a_second_process_is_refused(tmp_path, config):
    code = (
        "import sys; from pathlib import Path; from filelock import FileLock\n"
        "with FileLock(Path(sys.argv[1]) / '.lock'): print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(UsageError, match="Another process is working in the run folder"),
            RunFolder.open(tmp_path, config),
        ):
            pass
        holder.communicate("\n")
    with RunFolder.open(tmp_path, config) as run:
        assert run.path == tmp_path


def test_where_there_is_no_result_the_next_step_is_named(tmp_path, config):
    with pytest.raises(UsageError, match="Name the folder given to --out"):
        read_result(tmp_path)
    with RunFolder.open(tmp_path, config):
        pass
    with pytest.raises(UsageError, match="it continues"):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"schema_version": 1}', "is damaged"),
        ('{"schema_version": 99}', "has schema version 99; this latentbench reads 1"),
    ],
)
def test_a_result_that_cannot_be_read_is_told(tmp_path, text, message):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_result(tmp_path)


def test_a_damaged_cell_record_is_told_from_none(tmp_path, config, write_cell):
    with RunFolder.open(tmp_path, config) as run:
        folder = run.cell(1, 42)
        assert read_record(folder) is None
        write_cell(folder, 1, 42)
        assert read_record(folder).status == "done"
        for text in ("", '{"horizon": 1', '{"horizon": 1, "seed": 1, "status": "done", "new": 1}'):
            (folder / "cell.json").write_text(text)
            with pytest.raises(DamagedFileError, match="is damaged"):
                read_record(folder)
