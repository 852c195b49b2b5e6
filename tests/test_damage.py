"""A flipped bit on disk: no other figure in silence, no raw error, the same command mends it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from latentbench.cli import main
from latentbench.config import RunConfig, read_layers
from latentbench.errors import LatentbenchError, UsageError
from latentbench.files import SUMS, damaged_files, discard, reading
from latentbench.latents.manifest import open_latents, read_manifest
from latentbench.latents.store import LatentStore
from latentbench.results import read_result
from latentbench.results.folder import read_record, write_record
from latentbench.tensors import load_tensors, save_tensors

COMMAND = (
    *("run", "--encoder", "latents", "--corpus", "world:ar1", "--predictor", "linear"),
    *("--horizons", "1", "--device", "cpu"),
    *("--set", "corpus.dim=2", "--set", "corpus.utterances=1", "--set", "corpus.frames=16"),
    *("--set", "corpus.speakers=3", "--set", "split.eval_fraction=0.34"),
    *("--set", "utterances.min_seconds=0", "--set", "task.slices=[all]"),
    *("--set", "task.context_frames=2", "--set", "transforms=[standardize]"),
    *("--set", "evaluation.metrics=[nll, dnll]", "--set", "controls=[]"),
)


def invoke(*arguments):
    return CliRunner().invoke(main, [str(one) for one in arguments])


def run(folder):
    found = invoke(*COMMAND, "--out", folder / "run", "--cache", folder / "cache")
    assert found.exit_code == 0, found.output
    return found


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    run(folder)
    return folder


def store_of(folder):
    (path,) = (one for one in (folder / "cache" / "latents").iterdir() if one.is_dir())
    return path


def table(file):
    with reading(file, ""):
        return pq.read_table(file).to_pylist()


def tensors(file):
    return {name: one.tolist() for name, one in load_tensors(file, "").items()}


def text(file):
    with reading(file, ""):
        return file.read_text("utf-8")


def layers(file):
    return read_layers(None, file, ())


def latents(file):
    """Of the whole store that the file belongs to."""
    path = next(one for one in file.parents if (one / "shards").is_dir())
    store = LatentStore.at(path)
    _, rows = read_manifest(path.parents[2] / "run" / "manifest.parquet")
    found, sides = open_latents(store, rows)
    return [found.utterance(one).tolist() for one in range(len(found.utterances))], sides


def record(file):
    return read_record(file.parent).to_json()


def result(file):
    return read_result(file.parent).to_json()


READERS = {
    "cell.json": record,
    "config.yaml": layers,
    "frames.parquet": table,
    "manifest.parquet": read_manifest,
    "model.safetensors": tensors,
    "model-k1.safetensors": tensors,
    "result.json": result,
    "rollout.parquet": table,
    "store.json": latents,
    "transform-0-standardize.safetensors": tensors,
    "000000.parquet": latents,
    "000000.safetensors": latents,
    "figures.csv": text,
    "horizons.csv": text,
}
OF_STORES = {"store.json", "000000.parquet", "000000.safetensors"}
OF_CELLS = {"cell.json", "model.safetensors"}
NOT_READ = {".lock", "lock", "ledger.sqlite3", "progress.jsonl"}  # no figure is made of them


def files_of(folder):
    places = (folder / "run", store_of(folder))
    return [file for place in places for file in sorted(place.rglob("*")) if file.is_file()]


def test_there_is_a_reader_of_every_file(sound):
    names = {file.name for file in files_of(sound)}
    assert names - NOT_READ - {SUMS} <= READERS.keys(), "a file that no test here damages"


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_flip_of_any_byte_is_refused_by_the_reader(sound, name):
    (file, *_) = [one for one in files_of(sound) if one.name == name]
    content, flipped = file.read_bytes(), bytearray(file.read_bytes())
    READERS[name](file)
    believed = []
    try:
        for place in range(len(content)):
            flipped[place] ^= 1 << place % 8
            file.write_bytes(flipped)
            try:
                READERS[name](file)
            except UsageError:  # what can be said in words
                pass
            else:
                believed.append(place)
            flipped[place] = content[place]
    finally:
        file.write_bytes(content)
    assert believed == []


def test_a_flip_of_any_byte_of_the_lists_of_checksums_changes_nothing(sound):
    for sums in [file for file in files_of(sound) if file.name == SUMS]:
        content = sums.read_bytes()
        names = {line.split(maxsplit=1)[1] for line in content.decode().splitlines()}
        for place in range(len(content)):
            flipped = bytearray(content)
            flipped[place] ^= 1 << place % 8
            sums.write_bytes(flipped)
            assert len(damaged_files(sums.parent)) <= 1, names
        sums.write_bytes(content)


def figures(folder):
    result = read_result(folder / "run").model_dump(mode="json", include={"horizons", "latents"})
    for horizon in result["horizons"]:
        del horizon["seconds"]
    tables = [(folder / "run" / name).read_text() for name in ("horizons.csv", "figures.csv")]
    return json.dumps(result), tables


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    file.write_bytes(content)


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 3 // 5])


def empty(file):
    file.write_bytes(b"")


DAMAGES = {"flipped": flip, "cut": cut, "empty": empty, "removed": Path.unlink}


@pytest.mark.parametrize("name", sorted({*READERS, SUMS}))
def test_the_same_command_mends_it(sound, tmp_path, name):
    for kind, damaging in DAMAGES.items():
        folder = tmp_path / kind
        shutil.copytree(sound, folder)
        for file in [one for one in files_of(folder) if one.name == name]:
            damaging(file)
        if name in OF_CELLS:  # nobody reads them again once all is summed up
            discard(folder / "run" / "result.json")
        shown = invoke("show", folder / "run")
        assert shown.exit_code == 0 or "result.json" in shown.stderr, shown.output
        rolled = invoke("rollout", folder / "run", "--cache", folder / "cache", "--json")
        assert rolled.exit_code in (0, 2), rolled.output
        if rolled.exit_code == 0:
            before = invoke("rollout", sound / "run", "--cache", sound / "cache", "--json")
            assert rolled.stdout.replace(str(folder), str(sound)) == before.stdout
        else:
            words = ("is damaged", "is not there", "holds no finished run")
            assert any(one in rolled.stderr for one in words), rolled.stderr
            assert "'latentbench run' command again" in rolled.stderr
        again = run(folder)
        assert figures(folder) == figures(sound)
        assert damaged_files(folder / "run") == {}
        if name not in {SUMS, *OF_STORES} | ({"result.json"} if kind == "removed" else set()):
            assert "damaged" in again.stderr, kind
        rolled = invoke("rollout", folder / "run", "--cache", folder / "cache", "--json")
        assert rolled.exit_code == 0, rolled.output
        assert "nothing is computed again" in run(folder).stderr
        shutil.rmtree(folder)


def test_a_changed_copy_of_a_configuration_is_taken(sound, tmp_path):
    written = sound / "run" / "config.yaml"
    copy = tmp_path / "mine.yaml"
    copy.write_text(written.read_text().replace("context_frames: 2", "context_frames: 3"))
    assert RunConfig.model_validate(layers(copy)).task.context_frames == 3
    np.testing.assert_equal(layers(written)["task"]["context_frames"], 2)


def test_a_run_of_another_configuration_is_never_taken_for_this_one(sound, tmp_path):
    """The configuration is lost *and* the command is another: cells are not of it."""
    shutil.copytree(sound, tmp_path / "copy")
    flip(tmp_path / "copy" / "run" / "config.yaml")
    found = invoke(
        *(*COMMAND, "--set", "task.context_frames=3"),
        *("--out", tmp_path / "copy" / "run", "--cache", tmp_path / "copy" / "cache"),
    )
    assert found.exit_code == 2
    assert "cannot be read" in found.stderr


def test_a_cell_of_other_inputs_is_computed_again(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "copy")
    cell = tmp_path / "copy" / "run" / "cells" / "k1-seed42"
    other = read_record(cell)
    other.inputs = "of another transform"
    write_record(cell, other)
    discard(tmp_path / "copy" / "run" / "result.json")
    assert "of another configuration or other latents" in run(tmp_path / "copy").stderr
    assert figures(tmp_path / "copy") == figures(sound)


def spoil_model(cell):
    """Another model without a context, sealed as if it had been fitted."""
    file = cell / "model.safetensors"
    models = load_tensors(file, "")
    changed = {name for name in models if name.startswith("unconditional.")}
    assert changed
    save_tensors(file, {name: one + (name in changed) for name, one in models.items()})


@pytest.mark.parametrize("damaging", [flip, Path.unlink, None], ids=["flipped", "removed", "other"])
def test_no_control_is_taken_from_a_damaged_cell_or_one_of_other_inputs(tmp_path, damaging):
    """Horizons on the same frames share it; both cells stand there as done."""
    command = [one.replace("controls=[]", "controls=[unconditional]") for one in COMMAND]
    command[command.index("--horizons") + 1] = "1,2"
    place = ("--out", tmp_path / "run", "--cache", tmp_path / "cache")
    assert invoke(*command, "--set", "task.frame_set=common", *place).exit_code == 0
    before = figures(tmp_path)
    for cell in sorted((tmp_path / "run" / "cells").iterdir()):
        if damaging is None:
            record = read_record(cell)
            record.inputs = "of another transform"
            record.fits = dict.fromkeys(record.fits, "of another transform")
            write_record(cell, record)
            spoil_model(cell)
        else:
            damaging(cell / "model.safetensors")
    discard(tmp_path / "run" / "result.json")
    again = invoke(*command, "--set", "task.frame_set=common", *place)
    assert again.exit_code == 0, again.output
    assert figures(tmp_path) == before


def test_an_unreadable_file_is_not_removed(sound, monkeypatch):
    def no_more_files(*_, **__):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("latentbench.files.file_digest", no_more_files)
    with pytest.raises(LatentbenchError, match="Too many open files"):
        damaged_files(sound / "run")
