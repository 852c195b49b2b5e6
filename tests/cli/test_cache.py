"""`latentbench cache` tells and removes what can be made again, and nothing else."""

import json
import re
from pathlib import Path

import pytest

from latentbench.latents.store import LatentStore
from latentbench.progress import SilentProgress
from latentbench.workspace import EXPLANATION, SIGNATURE, make_ours

SOURCES = Path(__file__).parents[2]
MARK = len(SIGNATURE + EXPLANATION)


@pytest.fixture
def cache(tmp_path):
    for name in ("downloads", "speech-demo"):
        make_ours(tmp_path / name)
    (tmp_path / "downloads/sub").mkdir(parents=True)
    (tmp_path / "downloads/sub/weights.bin").write_bytes(b"x" * (2_500 - MARK))
    (tmp_path / "speech-demo/a.wav").write_bytes(b"x" * (500 - MARK))
    (tmp_path / "precious.txt").write_text("not ours to remove")
    return tmp_path


def test_list_and_size(invoke, cache):
    text = invoke("cache", "list", "--cache", cache).stdout
    assert "2.5 kB" in text
    assert "500 B" in text
    assert invoke("cache", "size", "--cache", cache).stdout.split()[-2:] == ["3.0", "kB"]
    found = json.loads(invoke("cache", "list", "--cache", cache, "--json").stdout)
    assert found["folders"] == {"downloads": 2500, "speech-demo": 500}
    assert found["stores"] == []


def test_an_empty_cache_is_listed(invoke, tmp_path):
    assert invoke("cache", "size", "--cache", tmp_path / "none").stdout.split() == ["all", "0", "B"]


def test_remove_asks_first(invoke, cache):
    kept = invoke("cache", "remove", "downloads", "--cache", cache, input="n\n")
    assert "Nothing was removed." in kept.stdout
    assert (cache / "downloads").exists()
    gone = invoke("cache", "remove", "downloads", "--cache", cache, input="y\n")
    assert "Remove downloads (2.5 kB)" in gone.stderr
    assert not (cache / "downloads").exists()
    assert (cache / "speech-demo").exists()


def test_what_was_kept_is_told_as_json_too(invoke, cache):
    kept = invoke("cache", "remove", "downloads", "--cache", cache, "--json", input="n\n")
    assert json.loads(kept.stdout) == {"removed": [], "bytes": 0}
    assert (cache / "downloads").exists()


def test_every_folder_that_corpora_and_encoders_make_is_listed(invoke, tmp_path):
    made = set()
    for file in [
        *SOURCES.glob("latentbench/**/*.py"),
        *SOURCES.glob("plugins/*/latentbench_*/*.py"),
    ]:
        made |= set(re.findall(r'orkspace\.folder\("([^"]+)"\)', file.read_text("utf-8")))
    assert made >= {"downloads", "hf", "speech-demo"}
    for name in made:
        make_ours(tmp_path / name)
        (tmp_path / name / "x").write_text("x")
    listed = json.loads(invoke("cache", "list", "--json", "--cache", tmp_path).stdout)["folders"]
    assert set(listed) == made
    assert invoke("cache", "remove", *made, "--yes", "--cache", tmp_path).exit_code == 0
    assert not any(tmp_path.iterdir())


def test_remove_with_yes_takes_several(invoke, cache):
    found = invoke("cache", "remove", "downloads", "speech-demo", "--yes", "--cache", cache)
    assert found.stdout == "Removed downloads, speech-demo (3.0 kB).\n"
    assert [one.name for one in cache.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("name", ["precious.txt", "..", "latents"])
def test_what_is_not_in_the_list_is_not_removed(invoke, cache, name):
    found = invoke("cache", "remove", name, "--yes", "--cache", cache)
    assert f"There is no '{name}' in" in found.stderr
    assert found.exit_code == 2
    assert (cache / "precious.txt").exists()


def test_a_typing_error_names_the_nearest(invoke, cache):
    found = invoke("cache", "remove", "download", "--yes", "--cache", cache)
    assert "Did you mean 'downloads'?" in found.stderr


def test_folders_that_others_made_are_not_removed(invoke, tmp_path):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/thesis.pdf").write_text("precious")
    make_ours(tmp_path / "downloads")  # used by a run, too late to be ours alone
    found = invoke("cache", "remove", "downloads", "--yes", "--cache", tmp_path)
    assert found.exit_code == 2
    assert "downloads' was not made by this version of latentbench" in found.stderr
    assert (tmp_path / "downloads/thesis.pdf").exists()


def test_what_is_no_store_is_neither_listed_nor_removed(invoke, tmp_path):
    (tmp_path / "latents/mine/shards").mkdir(parents=True)
    (tmp_path / "latents/mine/shards/precious").touch()
    assert "mine" not in invoke("cache", "list", "--cache", tmp_path).stdout
    invoke("cache", "remove", "latents", "--yes", "--cache", tmp_path)
    assert (tmp_path / "latents/mine/shards/precious").exists()


def test_all_latents_are_not_removed_while_a_store_is_written_to(invoke, tmp_path):
    store = LatentStore.for_key(tmp_path, {"encoder": "one", "corpus": "two"})
    with store.writing(SilentProgress()):
        found = invoke("cache", "remove", "latents", "--yes", "--cache", tmp_path)
        assert found.exit_code == 2
        assert "is being written by another process" in found.stderr
        assert store.shards.exists()
    assert invoke("cache", "remove", "latents", "--yes", "--cache", tmp_path).exit_code == 0
    assert not (tmp_path / "latents").exists()


def test_a_store_whose_description_is_damaged_is_listed_and_removed(invoke, tmp_path):
    store = LatentStore.for_key(tmp_path, {"encoder": "one", "corpus": "two"})
    with store.writing(SilentProgress()):
        pass
    (store.path / "store.json").write_text("{")
    (found,) = json.loads(invoke("cache", "list", "--json", "--cache", tmp_path).stdout)["stores"]
    assert found["encoder"] == "(cannot be read)"
    removed = invoke("cache", "remove", store.path.name, "--yes", "--cache", tmp_path)
    assert removed.exit_code == 0
    assert not store.path.exists()
