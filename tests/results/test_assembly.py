"""From cells written by hand to the files of a run."""

import json
import math
import os
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from latentbench.results import RunFolder, read_result
from latentbench.results.assembly import assemble
from latentbench.results.schema import EncoderFacts


@pytest.fixture
def facts(make_result):
    result = make_result()
    return {
        "encoder": result.encoder,
        "corpus": result.corpus,
        "provenance": result.provenance,
    }


@pytest.fixture
def finished(tmp_path, config, registry, write_cell, facts):
    """A run of two horizons: the open folder's path, its result, the tables of its cells."""
    with RunFolder.open(tmp_path / "run", config) as run:
        tables = [write_cell(run.cell(k, 42), k, 42) for k in (1, 2)]
        result = assemble(run, config, registry, stamps=("random weights",), **facts)
    return run, result, tables


def test_the_files_of_a_run(finished):
    run, result, tables = finished
    assert [file.name for file in run.files()] == [
        "config.yaml",
        "figures.csv",
        "frames.parquet",
        "horizons.csv",
        "model-k1.safetensors",
        "model-k2.safetensors",
        "result.json",
        "rollout.parquet",
    ]
    assert read_result(run.path).to_json() == result.to_json()
    merged = pa.concat_tables([frames for frames, _ in tables])
    assert pq.read_table(run.frames_file).to_pylist() == merged.to_pylist()
    assert len(pq.read_table(run.rollout_file)) == 42
    assert load_file(run.model(2, 42, 1))["w"].tolist() == [2.0, 2.0, 2.0]


def test_horizons_in_time_and_their_figures(finished):
    _, result, tables = finished
    assert [(one.k, one.milliseconds, one.leaky) for one in result.horizons] == [
        (1, 80.0, False),
        (2, 160.0, False),
    ]
    frames = tables[1][0]
    in_eval = frames["split"].to_numpy() == "eval"
    nll = frames["nll"].to_numpy()[in_eval].mean()
    assert result.horizons[1].figure("eval", "all", "nll").value == pytest.approx(nll, rel=1e-12)
    assert result.horizons[1].rollout.mean_gap == np.inf
    assert result.stamps == ("random weights",)


def test_assembling_again_gives_the_same(finished, config, registry, facts):
    run, result, _ = finished
    before = {file: file.read_bytes() for file in run.files()}
    with RunFolder.open(run.path, config):
        assemble(run, config, registry, stamps=("random weights",), **facts)
    assert {file: file.read_bytes() for file in run.files()} == before
    assert not result.failed


def test_a_failed_cell_is_told_and_the_others_stay(tmp_path, config, registry, write_cell, facts):
    with RunFolder.open(tmp_path / "run", config) as run:
        write_cell(run.cell(1, 42), 1, 42, status="failed", error="training diverged")
        write_cell(run.cell(2, 42), 2, 42)
        result = assemble(run, config, registry, **facts)
    assert [one.status for one in result.horizons] == ["failed", "done"]
    assert result.horizons[0].errors == ("training diverged",)
    assert result.horizons[0].figures == ()
    assert [one.k for one in result.failed] == [1]
    assert set(pq.read_table(run.frames_file)["horizon"].to_pylist()) == {2}


def test_a_cell_that_never_ran_has_failed(tmp_path, config, registry, facts):
    with RunFolder.open(tmp_path / "run", config) as run:
        result = assemble(run, config, registry, **facts)
    assert [one.errors for one in result.horizons] == [("it was not run",)] * 2
    assert not run.frames_file.exists()


def test_blanks_have_their_reason(tmp_path, config, registry, write_cell, facts):
    asked = config.evaluation.model_validate({"metrics": ["nll", "dnll"]})
    config = config.model_copy(update={"evaluation": asked})
    with RunFolder.open(tmp_path / "run", config) as run:
        for k in (1, 2):
            frames, rollout = write_cell(run.cell(k, 42), k, 42)
            quiet = frames.set_column(
                frames.column_names.index("slice_high_energy"),
                "slice_high_energy",
                pa.array([False] * len(frames)),
            )
            pq.write_table(quiet, run.cell(k, 42) / "frames.parquet")
            pq.write_table(rollout.slice(0, 0), run.cell(k, 42) / "rollout.parquet")
        result = assemble(run, config, registry, **facts)
    assert result.horizons[0].notes == (
        "train, high_energy: none of the scored frames is in the slice",
        "eval, high_energy: none of the scored frames is in the slice",
        "rollout: no eval utterance drawn is long enough",
        "direction_cos: not among evaluation.metrics",
        "logmag_r2: not among evaluation.metrics",
    )


@pytest.fixture
def bounds(monkeypatch):
    """Take the predictor for one that bounds its NLL."""
    monkeypatch.setattr("latentbench.results.assembly.density_of", lambda *_: "bound")


@pytest.mark.usefixtures("bounds")
def test_a_predictor_that_bounds_its_likelihood_is_noted(
    tmp_path, config, registry, write_cell, facts
):
    with RunFolder.open(tmp_path / "run", config) as run:
        for k in (1, 2):
            write_cell(run.cell(k, 42), k, 42)
        result = assemble(run, config, registry, **facts)
    note = "the predictor bounds its NLL from above: the true one may be lower"
    assert all(note in one.notes for one in result.horizons)
    assert result.horizons[0].figure("eval", "all", "nll").n


@pytest.mark.parametrize("by", ["speaker", "file"])
def test_what_has_no_interval_says_why(tmp_path, config, registry, write_cell, facts, by):  # noqa: PLR0917 - fixtures
    config = config.model_copy(update={"split": config.split.model_copy(update={"by": by})})
    with RunFolder.open(tmp_path / "run", config) as run:
        for k in (1, 2):
            frames, rollout = write_cell(run.cell(k, 42), k, 42)
            # One train speaker; one eval frame whose NLL is none; one speaker rolled out.
            rows = frames.to_pylist()
            for row in rows:
                row["speaker"] = "s0" if row["split"] == "train" else row["speaker"]
            first = next(row for row in rows if row["split"] == "eval")
            first |= {"nll": math.nan, "slice_high_energy": False}
            table = pa.Table.from_pylist(rows, schema=frames.schema)
            pq.write_table(table, run.cell(k, 42) / "frames.parquet")
            pq.write_table(rollout.slice(0, 20), run.cell(k, 42) / "rollout.parquet")
        result = assemble(run, config, registry, **facts)
    one, none = f"one {by}: how {by}s differ is unknown", "not finite for some choice of"
    assert result.horizons[0].notes == (
        f"train: no interval of any figure: {one}",
        f"eval: no interval of nll, dnll, dnll_context: {none} {by}s",
        f"rollout: no interval of the mean gap: {one}",
        f"rollout: no interval of the median gap: {one}",
    )
    assert result.horizons[0].figure("eval", "high_energy", "nll").low is not None


def test_utterances_too_short_are_counted_not_an_error(
    tmp_path, config, registry, write_cell, facts
):
    with RunFolder.open(tmp_path / "run", config) as run:
        for k in (1, 2):
            folder = run.cell(k, 42)
            write_cell(folder, k, 42, frames={"train": 0, "eval": 0}, too_short={"train": 9})
            for name in ("frames.parquet", "rollout.parquet", "model.safetensors"):
                (folder / name).unlink()
        result = assemble(run, config, registry, **facts)
    assert "train: no frame has a whole context; 9 utterances too short" in result.horizons[0].notes
    assert {figure.n for figure in result.horizons[0].figures} == {0}
    assert run.horizons_file.read_text().splitlines()[1] == "1,all" + "," * 10


def test_limit_and_look_ahead_stamp_the_result(tmp_path, config, registry, write_cell, facts):
    limited = config.model_copy(
        update={"utterances": config.utterances.model_copy(update={"limit": 40})}
    )
    facts["encoder"] = EncoderFacts(
        name="dac", dim=2, frame_rate=75.0, hop=320, sample_rate=24_000, look_ahead=1
    )
    with RunFolder.open(tmp_path / "run", limited) as run:
        for k in (1, 2):
            write_cell(run.cell(k, 42), k, 42)
        result = assemble(run, limited, registry, **facts)
    assert result.stamps == ("limited to 40 utterances", "leaky: k=1")
    assert [one.leaky for one in result.horizons] == [True, False]


def test_several_seeds_name_their_weights(tmp_path, config, registry, write_cell, facts):
    several = config.model_copy(update={"seeds": (1, 2)})
    with RunFolder.open(tmp_path / "run", several) as run:
        for k in (1, 2):
            for seed in (1, 2):
                write_cell(run.cell(k, seed), k, seed)
        result = assemble(run, several, registry, **facts)
    assert result.horizons[0].seeds == (1, 2)
    assert run.model(1, 2, 2).name == "model-k1-seed2.safetensors"
    assert run.model(1, 2, 2).exists()
    rollout, frames = result.horizons[0].rollout, pq.read_table(run.rollout_file)
    assert rollout.non_finite == 2
    assert rollout.n == np.isin(frames["horizon"], [1]).sum()


@pytest.fixture
def ended_cells(tmp_path, config, write_cell):
    """A run folder whose cells are done and not assembled yet."""
    with RunFolder.open(tmp_path / "run", config) as run:
        for k in (1, 2):
            write_cell(run.cell(k, 42), k, 42)
    return run


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as POSIX can")
def test_a_full_disk_names_folder_and_need_and_keeps_what_was_complete(
    tmp_path, ended_cells, make_result
):
    run = ended_cells
    (tmp_path / "facts.json").write_text(make_result().to_json())
    code = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        from latentbench.config import RunConfig
        from latentbench.errors import LatentbenchError
        from latentbench.plugins import load_registry
        from latentbench.results import RunFolder
        from latentbench.results.assembly import assemble
        from latentbench.results.schema import Result

        facts = Result.model_validate_json(Path(sys.argv[2]).read_text())
        config = RunConfig.model_validate(
            {"task": {"horizons": (1, 2), "slices": ("all", "high_energy")}}
        )
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with RunFolder.open(Path(sys.argv[1]), config) as run:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            try:
                assemble(
                    run, config, load_registry(),
                    encoder=facts.encoder, corpus=facts.corpus, provenance=facts.provenance,
                )
            except LatentbenchError as error:
                print(error)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run.path), str(tmp_path / "facts.json")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"The disk is full: '{run.path}' needs about" in done.stdout
    assert "give the same command again" in done.stdout
    assert [file.name for file in run.files()] == ["config.yaml"]
    assert json.loads((run.cell(1, 42) / "cell.json").read_text())["status"] == "done"
    assert len(pq.read_table(run.cell(2, 42) / "frames.parquet")) == 400
