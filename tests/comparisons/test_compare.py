"""`latentbench compare` from end to end, on noise."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

from latentbench.api import folder_of
from latentbench.cli import main
from latentbench.cli.compare import FORMATS
from latentbench.comparisons import Comparison
from latentbench.config import RunConfig
from latentbench.escapes import printable
from latentbench.files import write_sealed
from latentbench.results import read_result

TWO_HOPS = ("--encoder", "fine=logmel", "--encoder", "coarse=logmel")
FINE = ("--set", "encoder.fine.hop_ms=20")

CHUNKED = """
from latentbench.encoders import Encoder
from latentbench.errors import UsageError
from latentbench.hookspecs import hookimpl
from latentbench.specs import EncoderSpec


@hookimpl
def latentbench_encoders():
    yield EncoderSpec(name="chunked", summary="wants long chunks", factory=f"{__name__}:Chunked")


class Chunked(Encoder):
    sample_rate, hop, dim = 16_000, 1_280, 4

    def __init__(self, options, workspace):
        pass

    def load(self, device):
        pass

    def encode(self, audio, lengths):
        raise UsageError(f"chunked takes 60 s at least, not {int(lengths.max()) / 16_000:g} s.")

    def fingerprint(self):
        return {"encoder": "chunked"}
"""


def comparison_of(found):
    return Comparison.model_validate_json(found.stdout)


def stamps_of(folder):
    """When each file of the runs was written, but for the configuration, which each run writes."""
    return {
        file: file.stat().st_mtime_ns
        for file in folder.rglob("*")
        if file.is_file() and file.name != "config.yaml"
    }


def test_two_hops_are_matched_in_time_and_the_rounded_frames_recorded(finished, invoke):
    runs = sorted(finished.iterdir())
    assert [run.name for run in runs] == ["coarse-mdn-folder", "fine-mdn-folder"]
    found = comparison_of(invoke(*runs, "--format", "json"))
    assert [(one.matched, one.result.k, one.result.milliseconds) for one in found.horizons] == [
        ("80 ms", 1, 80.0),
        ("80 ms", 4, 80.0),
        ("160 ms", 2, 160.0),
        ("160 ms", 8, 160.0),
    ]
    assert [(run.context_frames, run.context_ms) for run in found.runs] == [(8, 640), (32, 640)]
    assert {one.what for one in found.differences} == {
        "delta over",
        "parameters",
        "encoder logmel: hop_ms",
    }
    for run, folder in zip(found.runs, runs, strict=True):
        result = read_result(folder)
        shown = [one.result for one in found.horizons if one.run == run.label]
        assert [one.to_json() for one in shown] == [one.to_json() for one in result.horizons]


def test_frames_are_of_the_same_stretch_of_audio(finished):
    """At 50 Hz there are four times the frames of 12.5 Hz, but for the rounding at the start."""
    coarse, fine = (read_result(run) for run in sorted(finished.iterdir()))
    start = 7 + 2, 31 + 8  # W - 1 + the longest horizon
    frames = 28, 110  # of 2.2 s
    for result, first, length in zip((coarse, fine), start, frames, strict=True):
        assert result.horizons[0].frames == {
            "train": 6 * (length - first),
            "eval": 2 * (length - first),
        }
        assert result.horizons[0].frames == result.horizons[1].frames


def test_what_is_there_is_not_run_again(compare, tmp_path):
    first = compare(*TWO_HOPS, *FINE, "--format", "json")
    assert first.exit_code == 0, first.output
    before = stamps_of(tmp_path / "out")
    again = compare(*TWO_HOPS, *FINE, "--format", "json")
    assert again.stdout == first.stdout
    assert again.stderr.count("is finished; nothing is computed again") == 2
    assert stamps_of(tmp_path / "out") == before
    # As after a kill between the two cells of one run:
    (tmp_path / "out" / "coarse-mdn-folder" / "result.json").unlink()
    (tmp_path / "out" / "coarse-mdn-folder" / "cells" / "k2-seed42" / "cell.json").unlink()
    continued = compare(*TWO_HOPS, *FINE, "--format", "json")
    assert continued.exit_code == 0
    assert "train k=2" in continued.stderr
    assert "train k=1" not in continued.stderr
    assert "train k=4" not in continued.stderr

    def figures(found):
        return [one.result.figures for one in comparison_of(found).horizons]

    assert figures(continued) == figures(first)


def test_a_run_by_hand_is_the_run_of_the_comparison(finished, invoke, tmp_path):
    """Each combination is an ordinary run: its config.yaml alone makes it again."""
    config = finished / "coarse-mdn-folder" / "config.yaml"
    arguments = ("run", "--config", config, "--out", tmp_path / "run", "--cache", tmp_path)
    assert CliRunner().invoke(main, [str(one) for one in arguments]).exit_code == 0
    found = comparison_of(
        invoke(finished / "coarse-mdn-folder", tmp_path / "run", "--format", "json")
    )
    assert (found.differences, found.warnings) == ((), ())
    pairs = {}
    for one in found.horizons:
        pairs.setdefault(one.matched, []).append(one.result.figures)
    assert all(first == second for first, second in pairs.values())


def test_exports_are_written_by_suffix(two_runs, invoke, tmp_path):
    files = [tmp_path / f"table{suffix}" for suffix in (".csv", ".md", ".tex", ".json")]
    asked = [word for file in files for word in ("--export", file)]
    found = invoke(*two_runs, *asked)
    assert found.exit_code == 0
    assert "2 runs side by side" in found.stdout
    rows = list(csv.DictReader(io.StringIO(files[0].read_text())))
    assert {row["run"] for row in rows} == {"fine", "coarse"}
    assert "| staleness |" in files[1].read_text()
    assert r"\begin{tabular}" in files[2].read_text()
    assert json.loads(files[3].read_text())["schema_version"] == 3
    assert found.stderr.count("Wrote ") == 4


@pytest.mark.parametrize("name", ["csv", "markdown", "latex", "json"])
def test_a_format_alone_is_on_stdout(two_runs, invoke, name):
    found = invoke(*two_runs, "--format", name)
    assert (found.exit_code, found.stderr) == (0, "")
    assert "What differs" not in found.stdout.splitlines()[0]
    if name == "csv":
        assert len(list(csv.DictReader(io.StringIO(found.stdout)))) == 2 * 2 * 2 * 3


def test_a_table_for_a_paper_has_the_columns_asked_for(two_runs, invoke):
    columns = ("--columns", "n,x_gain,parameters", "--caption", "Gain of $x$", "--label", "tab:x")
    text = invoke(*two_runs, "--format", "latex", *columns).stdout
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert body[0] == (r"staleness & run & k & n (frames) & x gain (nats/frame) & parameters \\")
    assert len(body) == 1 + 4  # the verdicts have none of the columns
    assert text.count(r"\begin{table}") == text.count(r"\label{tab:x}") == 1
    refused = invoke(*two_runs, *columns)
    assert "--columns is for tables in Markdown or LaTeX, and none is asked for." in refused.stderr
    assert (refused.exit_code, refused.stdout) == (2, "")


def test_80_columns_hold_the_table(two_runs, invoke):
    found = invoke(*two_runs, "--full", env={"COLUMNS": "80"})
    assert max(map(len, found.stdout.splitlines())) <= 80
    assert re.search(r"^fine +4 +50 +32 = 640 ms +Δ 20 ms ", found.stdout, re.MULTILINE)
    assert "task.step_ms=80" in found.stdout
    assert "The same in all: encoder, predictor, corpus, utterances" in found.stdout


def test_a_step_of_one_time_makes_the_targets_alike(compare):
    found = comparison_of(compare(*TWO_HOPS, *FINE, "--set", "task.step_ms=80", "--format", "json"))
    assert [(run.step_frames, run.step_ms) for run in found.runs] == [(4, 80), (1, 80)]
    assert "delta over" not in {one.what for one in found.differences}


def test_corpora_side_by_side(compare, speech, tmp_path):
    other = tmp_path / "music"
    for number in range(2):
        (other / f"piece{number}").mkdir(parents=True)
        file = speech / f"speaker{number}" / "0.wav"
        samples, rate = soundfile.read(file)
        soundfile.write(other / f"piece{number}" / "all.wav", 0.5 * samples, rate)
    found = compare(
        *("--encoder", "logmel", "--corpus", "read=folder", "--corpus", "music=folder"),
        *("--set", f"corpus.root={speech}", "--set", f"corpus.music.root={other}"),
        *("--strict", "--format", "json"),
    )
    assert found.exit_code == 0, found.stderr
    found = comparison_of(found)
    assert [(run.label, run.utterances["train"]) for run in found.runs] == [
        ("read", 6),
        ("music", 1),
    ]
    assert found.warnings == ()
    assert "corpus folder: root" in {one.what for one in found.differences}


def test_runs_of_different_utterances_are_warned_of_or_refused(compare, invoke, finished, tmp_path):
    assert compare(*TWO_HOPS, *FINE, "--limit", "6").exit_code == 0
    runs = (tmp_path / "out" / "coarse-mdn-folder", finished / "fine-mdn-folder")
    found = invoke(*runs, "--format", "csv")
    assert found.exit_code == 0
    assert re.search(r"coarse-mdn-folder 6, fine-mdn-folder 8; 6 are in all\.", found.stderr)
    assert "Warning: The runs did not use the same utterances" in invoke(*runs).stdout
    refused = invoke(*runs, "--strict")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "did not use the same utterances" in refused.stderr


def test_an_encoder_that_cannot_take_the_audio_leaves_the_others(compare, tmp_path):
    plugin = tmp_path / "chunked.py"
    plugin.write_text(CHUNKED)
    found = compare(
        *("--encoder", "chunked", "--encoder", "logmel", "--format", "json"),
        before=("--plugin", plugin),
    )
    assert found.exit_code == 1
    comparison = comparison_of(found)
    assert [run.label for run in comparison.runs] == ["logmel"]
    assert comparison.failures[0].label == "chunked"
    assert comparison.failures[0].error == "chunked takes 60 s at least, not 2.2 s."
    assert "Not all that is compared could be run: chunked." in found.stderr


def test_where_none_could_be_run_the_first_error_is_told(compare, tmp_path):
    found = compare(*TWO_HOPS, "--set", f"corpus.root={tmp_path / 'nowhere'}")
    assert (found.exit_code, found.stdout) == (2, "")
    assert (
        found.stderr.count(f"Error: fine: corpus.root='{tmp_path / 'nowhere'}' is no folder.") == 1
    )


def test_a_finished_run_with_a_failed_horizon_is_shown_and_fails(two_runs, invoke):
    fine, coarse = two_runs
    file = fine / "result.json"
    found = json.loads(file.read_text())
    found["horizons"][0] |= {
        "status": "failed",
        "errors": ["diverged"],
        "seeds": [],
        "figures": [],
        "rollout": None,
    }
    write_sealed(file, json.dumps(found))
    shown = invoke(fine, coarse)
    assert shown.exit_code == 1
    assert "fine, 80 ms failed: diverged" in shown.stdout
    assert "Not all that is compared could be run: fine, 80 ms." in shown.stderr
    assert "Give the command of that run again" in shown.stderr  # this one runs nothing


def test_a_dry_run_plans_every_run_and_leaves_nothing(compare, tmp_path):
    found = compare(*TWO_HOPS, *FINE, "--dry-run")
    assert found.exit_code == 0, found.output
    assert found.stdout.index("fine:") < found.stdout.index("coarse:")
    assert found.stdout.count("parameters, 3 steps each") == 2
    assert found.stdout.splitlines()[-1].startswith("2 runs: about ")
    for how in (["--json"], ["--format", "json"]):
        told = compare(*TWO_HOPS, *FINE, "--dry-run", *how)
        assert list(json.loads(told.stdout)) == ["fine", "coarse"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{fine}"], "needs at least two runs, and only"),
        (["{fine}", "{fine}/."], "is given twice.\nName each run once."),
        (["{fine}", "nowhere"], "'nowhere' holds no finished run"),
        (["{fine}", "{coarse}", "--steps", "5"], "--steps would change nothing"),
        (["{fine}", "{coarse}", "--set", "seeds=[1]"], "--set would change nothing"),
        (["{fine}", "{coarse}", "--encoder", "mimi"], "--encoder would change nothing"),
        (["{fine}", "{coarse}", "--out", "x"], "--out would change nothing"),
        (["{fine}", "{coarse}", "--dry-run"], "--dry-run would change nothing"),
        (["{fine}", "{coarse}", "--full", "--json"], "--full is of the tables"),
        (["{fine}", "{coarse}", "--export", "x.xlsx"], "'.xlsx' names no format.\nUse one of .csv"),
        (["{fine}", "{coarse}", "--format", "html"], "'html' is not one of"),
        (["--encoder", "logmel"], "needs at least two runs; this is one: encoder 'logmel'"),
        ([], "Give --encoder, --predictor, --corpus or --factorization several times"),
        (["--encoder", "logmel", "--encoder", "mimmi"], "no encoder called 'mimmi'"),
    ],
)
def test_a_mistake_is_told(two_runs, invoke, arguments, message):
    fine, coarse = two_runs
    found = invoke(*(one.format(fine=fine, coarse=coarse) for one in arguments))
    assert message in found.stderr
    assert (found.exit_code, found.stdout) == (2, "")


@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_a_run_whose_utterances_cannot_be_read_is_refused(two_runs, invoke, damage):
    file = two_runs[1] / "manifest.parquet"
    file.unlink()
    if damage == "garbage":
        file.write_bytes(b"no parquet")
    found = invoke(*two_runs)
    assert found.exit_code == 2
    assert f"'{file}' is damaged: " in found.stderr
    assert "Give the same 'latentbench run' command again" in found.stderr


def test_a_run_that_is_not_finished_is_refused(two_runs, invoke):
    (two_runs[1] / "result.json").unlink()
    found = invoke(*two_runs)
    assert found.exit_code == 2
    assert "holds no finished run: no result.json.\nGive the same 'latentbench run'" in found.stderr


def test_folders_of_one_name_are_told_apart_by_their_parents(two_runs, invoke, tmp_path):
    places = [tmp_path / one / "run" for one in ("x", "y")]
    for run, place in zip(two_runs, places, strict=True):
        place.parent.mkdir()
        run.rename(place)
    found = comparison_of(invoke(*places, "--format", "json"))
    assert [run.label for run in found.runs] == ["x/run", "y/run"]


def test_a_folder_of_runs_stands_for_the_runs_in_it(two_runs, invoke):
    folder = two_runs[0].parent
    named = invoke(*sorted(two_runs), "--format", "json").stdout
    assert len(comparison_of(invoke(folder, "--json")).runs) == 2
    assert invoke(folder, "--json").stdout == named
    a_file = (two_runs[1] / "result.json", two_runs[0] / "config.yaml")
    assert invoke(*a_file, "--json").stdout == named


def test_names_of_folders_do_no_harm_in_any_format(two_runs, invoke):
    evil = "\x1b]0;owned\x07\n| =1+1 | \\input{evil} <script>"
    runs = [
        run.rename(run.with_name(start + evil)) for run, start in zip(two_runs, "=+", strict=True)
    ]
    shown = {how: invoke(*runs, "--format", how).stdout for how in FORMATS}
    for text in shown.values():
        assert not set(text) & set("\x1b\x07")
    outside = [line for line in shown["latex"].splitlines() if not line.startswith("%")]
    assert "input" in "".join(outside)
    assert r"\input" not in "".join(outside)
    rows = list(csv.DictReader(io.StringIO(shown["csv"])))
    assert {row["run"][:2] for row in rows} == {"'=", "'+"}
    for block in shown["markdown"].split("\n\n"):
        table = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in table}) <= 1
    assert "<script>" not in shown["markdown"].replace(r"\<", "")
    assert {one.label[1:] for one in Comparison.model_validate_json(shown["json"]).runs} == {
        printable(evil)
    }


def test_the_folder_by_default_is_named_for_the_configurations():
    one, other = RunConfig(), RunConfig(device="cpu")
    assert folder_of([one, other]).parent == Path("runs")
    assert re.fullmatch(r"compare-[0-9a-f]{8}", folder_of([one, other]).name)
    assert folder_of([one, other]) != folder_of([one, one])
