"""`latentbench show` prints a finished run again."""

import json

import pytest

from latentbench import api
from latentbench.cli.export import Exports
from latentbench.errors import UsageError
from latentbench.results import Figures
from latentbench.results.schema import Skipped


@pytest.fixture
def run_folder(tmp_path, make_result):
    (tmp_path / "result.json").write_text(make_result().to_json())
    return tmp_path


def test_table_by_default_and_the_files(invoke, run_folder):
    found = invoke("show", run_folder)
    assert found.exit_code == 0
    assert "mimi on librispeech train-clean-100, mdn against marginal" in found.stdout
    assert "result.json" in found.stdout.splitlines()[-1]


@pytest.mark.parametrize("how", [["--json"], ["--reporter", "json"]])
def test_json_is_json_alone(invoke, run_folder, how):
    found = invoke("show", run_folder, *how)
    assert json.loads(found.stdout)["encoder"]["name"] == "mimi"
    assert found.stderr == ""


def test_csv(invoke, run_folder):
    assert invoke("show", run_folder, "--reporter", "csv").stdout.startswith("horizon_k,slice,")


def test_an_unknown_reporter_names_the_nearest(invoke, run_folder):
    found = invoke("show", run_folder, "--reporter", "tabel")
    assert "There is no reporter called 'tabel'.\nDid you mean 'table'?" in found.stderr
    assert found.exit_code == 2


def test_a_failed_horizon_fails_the_run_after_it_is_shown(
    invoke, make_result, tmp_path, monkeypatch
):
    result = make_result()
    failed = result.horizons[1].model_copy(update={"status": "failed", "errors": ("diverged",)})
    result = result.model_copy(update={"horizons": (result.horizons[0], failed)})
    (tmp_path / "result.json").write_text(result.to_json())
    monkeypatch.setattr(api, "run", lambda **_: api.read(tmp_path))
    found = invoke("run", "--preset", "demo")
    assert found.exit_code == 1
    assert "1 of 2 horizons failed: k=2" in found.stderr
    assert "k=2 failed: diverged" in found.stdout


@pytest.fixture
def runs(tmp_path, make_result):
    """A folder of two finished runs and one that is not, one of them a level deeper."""
    for name, encoder in (("one", "mimi"), ("deeper/two", "soundstream")):
        result = make_result()
        result.encoder.__dict__["name"] = encoder
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "result.json").write_text(result.to_json())
    (tmp_path / "runs" / "begun").mkdir()
    (tmp_path / "runs" / "begun" / "config.yaml").touch()
    (tmp_path / "runs" / "notes").mkdir()
    return tmp_path / "runs"


def test_a_file_of_the_run_stands_for_it(invoke, run_folder):
    assert invoke("show", run_folder / "result.json").stdout == invoke("show", run_folder).stdout


def test_a_folder_of_runs_shows_all_of_them(invoke, runs):
    found = invoke("show", runs)
    assert found.exit_code == 0
    assert f"Left out: '{runs / 'begun'}' is not finished." in found.stderr
    assert "mimi on librispeech" in found.stdout
    assert "soundstream on librispeech" in found.stdout
    names = [one["encoder"]["name"] for one in json.loads(invoke("show", runs, "--json").stdout)]
    assert names == ["soundstream", "mimi"]


def test_the_losses_of_a_folder_of_runs_are_one_list(invoke, runs):
    alone = json.loads(invoke("show", runs / "one", "--curves", "--json").stdout)
    assert json.loads(invoke("show", runs, "--curves", "--json").stdout) == [alone, alone]


@pytest.mark.parametrize("asked", [["--full"], ["--export", "x.csv"], ["--reporter", "csv"]])
def test_what_does_not_go_with_losses_is_refused(invoke, run_folder, monkeypatch, asked):
    monkeypatch.chdir(run_folder)
    found = invoke("show", run_folder, "--curves", *asked)
    assert (found.exit_code, found.stdout) == (2, "")
    assert "--curves prints losses" in found.stderr


@pytest.mark.parametrize("verb", ["verify", "rollout", "explain"])
def test_what_takes_one_run_names_those_in_a_folder(invoke, runs, verb):
    found = invoke(verb, runs)
    assert found.exit_code == 2
    assert (
        f"Name one of the runs in it: {runs / 'begun'}, {runs / 'deeper' / 'two'}, " in found.stderr
    )


def test_names_of_utterances_and_folders_are_shown_harmless(invoke, tmp_path, make_result):
    result = make_result()
    skipped = (Skipped(utterance="\x1b]0;owned\x07\nError: all is lost", reason="no\x9b samples"),)
    corpus = result.corpus.model_copy(update={"skipped": skipped, "name": "folder \x1b[2Jwiped"})
    folder = tmp_path / "\x1b[31mred"
    folder.mkdir()
    (folder / "result.json").write_text(result.model_copy(update={"corpus": corpus}).to_json())
    for how in ([], ["--json"], ["--reporter", "csv"]):
        found = invoke("show", folder, *how)
        assert found.exit_code == 0
        assert not set(found.output) & set("\x1b\x07\x9b")
    table = invoke("show", folder).stdout
    assert r"\u001b]0;owned\u0007\u000aError: all is lost" in " ".join(table.split())
    shown = json.loads(invoke("show", folder, "--json").stdout)
    assert shown["corpus"]["skipped"][0]["utterance"] == skipped[0].utterance


def test_a_run_is_exported_as_tables_and_in_full(invoke, run_folder, make_result, tmp_path):
    files = [tmp_path / f"table{suffix}" for suffix in (".csv", ".md", ".tex", ".json")]
    asked = [word for file in files for word in ("--export", file)]
    found = invoke("show", run_folder, *asked, "--label", "tab:mimi", "--columns", "n,dnll")
    assert found.exit_code == 0
    assert "mimi on librispeech" in found.stdout
    assert files[0].read_text() == Figures.of(make_result(), run_folder.name).to_csv()
    assert "| k | ms | split | n | ΔNLL |" in files[1].read_text()
    assert "| 1 | 80 | eval | 200000 | -185.44 |" in files[1].read_text()
    assert r"\label{tab:mimi}" in files[2].read_text()
    assert r"1 & 80 & eval & 200000 & $-185.44$ \\" in files[2].read_text()
    assert json.loads(files[3].read_text()) == json.loads(make_result().to_json())


def test_figures_of_a_run_are_exported_with_their_units(invoke, run_folder, make_result, tmp_path):
    result = make_result()
    figures = tuple(
        one.model_copy(update={"unit": "nats/frame"} if one.name == "dnll" else {})
        for one in result.horizons[0].figures
    )
    horizon = result.horizons[0].model_copy(update={"figures": figures})
    (run_folder / "result.json").write_text(
        result.model_copy(update={"horizons": (horizon,)}).to_json()
    )
    invoke("show", run_folder, "--export", tmp_path / "table.md")
    assert "| baseline | ΔNLL (nats/frame) | cosine |" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--export", "x.xlsx"], "'.xlsx' names no format.\nUse one of .csv"),
        (["--export", "no/x.csv"], "there is no folder 'no'"),
        (["--export", "x.md", "--columns", "dnl"], "no column 'dnl'.\nDid you mean 'dnll'?"),
        (
            ["--columns", "dnll"],
            "and none is asked for.\nAdd --export FILE.md or FILE.tex",
        ),
        (["--export", "x.md", "--caption", "A"], "--caption is for tables in LaTeX"),
    ],
)
def test_an_export_that_cannot_be_made_is_told(invoke, run_folder, monkeypatch, asked, message):
    monkeypatch.chdir(run_folder)
    found = invoke("show", run_folder, *asked)
    assert message in found.stderr
    assert (found.exit_code, found.stdout) == (2, "")


def test_the_one_run_in_a_folder_is_exported_with_json_too(invoke, run_folder, tmp_path):
    (tmp_path / "deep").mkdir()
    (run_folder / "result.json").rename(tmp_path / "deep" / "result.json")
    found = invoke("show", tmp_path, "--json", "--export", tmp_path / "x.csv")
    assert len(json.loads(found.stdout)) == 1
    figures = Figures.of(api.read(tmp_path / "deep").record, "deep")
    assert (tmp_path / "x.csv").read_text() == figures.to_csv()


def test_a_folder_of_runs_is_exported_by_compare(invoke, runs, tmp_path):
    found = invoke("show", runs, "--export", tmp_path / "x.csv")
    assert "--export writes one run, and there are 2 in the folder." in found.stderr
    assert found.exit_code == 2


def test_a_column_of_several_tables_is_named_once_among_the_known(invoke, tmp_path, make_result):
    result = make_result(("all", "high_energy", "utterance_medial"))
    (tmp_path / "result.json").write_text(result.to_json())
    found = invoke("show", tmp_path, "--export", tmp_path / "x.md", "--columns", "zzz")
    known = found.stderr.split("Known: ")[1].rstrip(".\n").split(", ")
    assert len(known) == len(set(known))
    assert {"n", "dnll"} <= set(known)


def test_a_folder_that_is_not_there_is_told_before_anything_is_computed(tmp_path):
    with pytest.raises(UsageError, match=r"there is no folder '.*no'"):
        Exports((tmp_path / "no" / "x.csv",)).check()


def test_a_run_that_scored_nothing_is_not_called_damaged(tmp_path, make_result):
    failed = make_result().horizons[0].model_copy(update={"scored": {}, "figures": ()})
    text = make_result(horizons=(failed,)).to_json()
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(UsageError, match="scored any frame"):
        api.read(tmp_path).frames  # noqa: B018 - it is looked up when it is asked for
