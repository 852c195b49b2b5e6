"""Latents that people have already, in every format that is read, and in memory."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from latentbench.config import read_layers, resolve
from latentbench.corpora import AudioError
from latentbench.corpora.latent_arrays import LatentArrays, LatentsFolder
from latentbench.corpora.plugin import LatentsFolderOptions
from latentbench.encoders.passthrough import LatentsEncoder
from latentbench.errors import UsageError
from latentbench.experiment import encode_corpus
from latentbench.latents.manifest import open_latents
from latentbench.plugins import load_registry
from latentbench.specs import NoOptions
from latentbench.workspace import Workspace

RATE = 12.5
DIM = 6


def latents(frames, seed=0, dim=DIM):
    return np.random.default_rng(seed).standard_normal((frames, dim)).astype(np.float32)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "latents"


@pytest.fixture
def corpus(workspace, root):
    given = {"root": str(root), "frame_rate": RATE}
    return lambda **options: LatentsFolder(LatentsFolderOptions(**given | options), workspace)


def as_columns(array, file):
    pq.write_table(pa.table({f"d{i}": column for i, column in enumerate(array.T)}), file)


def as_lists(array, file):
    pq.write_table(pa.table({"latent": list(array)}), file)


def as_fixed_lists(array, file):
    kind = pa.list_(pa.float32(), array.shape[1])
    pq.write_table(pa.table({"latent": pa.array(list(array), kind)}), file)


def before_zip(array, file):
    torch.save(torch.from_numpy(array), file, _use_new_zipfile_serialization=False)


WRITERS = {
    "npy": lambda array, file: np.save(file, array),
    "npz": lambda array, file: np.savez(file, whatever=array),
    "npz, packed": lambda array, file: np.savez_compressed(file, whatever=array),
    "pt": lambda array, file: torch.save(torch.from_numpy(array), file),
    "pt, of a dict": lambda array, file: torch.save({"z": torch.from_numpy(array), "k": 3}, file),
    "pt, before zip": before_zip,
    "safetensors": lambda array, file: save_file({"z": torch.from_numpy(array)}, file),
    "parquet": as_columns,
    "parquet, of lists": as_lists,
    "parquet, of fixed lists": as_fixed_lists,
}


def write(how, array, path):
    file = path.with_suffix(f".{how.partition(',')[0]}")
    file.parent.mkdir(parents=True, exist_ok=True)
    WRITERS[how](array, file)
    return file


@pytest.mark.parametrize("how", WRITERS)
def test_a_file_is_an_utterance_of_its_frames(corpus, root, how):
    array = latents(25)
    file = write(how, array, root / "anna" / "one")
    found = corpus()
    (one,) = found.utterances()
    assert found.latents == (DIM, RATE)
    assert (one.id, one.speaker, one.problem) == (f"anna/{file.name}", "anna", "")
    assert (one.sample_rate, one.seconds) == (RATE, 2.0)
    recording = one.source.record(RATE)
    assert recording.samples.dtype == np.float32
    np.testing.assert_array_equal(recording.samples, array.T)
    assert recording.digest == one.source.digest()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("how", ["pt", "safetensors"])
def test_other_precisions_are_read_as_float32(corpus, root, how, dtype):
    tensor = torch.from_numpy(latents(30)).to(dtype)
    (root / "anna").mkdir(parents=True)
    if how == "pt":
        torch.save(tensor, root / "anna" / "a.pt")
    else:
        save_file({"z": tensor}, root / "anna" / "a.safetensors")
    (one,) = corpus().utterances()
    np.testing.assert_array_equal(one.source.read(), tensor.float().numpy().T)


def several(file):
    arrays = {f"anna-{n}": latents(20 + n, n) for n in range(3)} | {"otto-0": latents(9, 9)}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if file.suffix == ".npz":
        np.savez(file, **arrays)
    elif file.suffix == ".pt":
        torch.save(tensors, file)
    else:
        save_file(tensors, file)
    return arrays


@pytest.mark.parametrize("name", ["all.npz", "all.pt", "all.safetensors"])
def test_a_file_of_several_arrays_is_like_a_folder_of_them(corpus, root, name):
    root.mkdir()
    arrays = several(root / name)
    found = corpus(speaker_pattern="*/{speaker}-*").utterances()
    assert [(one.id, one.speaker) for one in found] == [
        (f"{name}/{key}", key.partition("-")[0]) for key in arrays
    ]
    for one, array in zip(found, arrays.values(), strict=True):
        np.testing.assert_array_equal(one.source.read(), array.T)
    assert len({one.source.digest() for one in found}) == 4


def test_one_array_of_each_file_may_be_named(corpus, root):
    (root / "anna").mkdir(parents=True)
    codes = np.zeros((25, 8), np.int64)
    np.savez(root / "anna" / "a.npz", latents=latents(25), codes=codes)
    np.savez(root / "anna" / "b.npz", codes=codes)
    first, second = corpus(array="latents").utterances()
    assert first.id == "anna/a.npz"
    np.testing.assert_array_equal(first.source.read(), latents(25).T)
    assert second.problem == "no array 'latents', it holds codes"


def test_arrays_of_columns_of_frames_are_turned(corpus, root):
    write("npy", latents(25).T, root / "anna" / "a")
    found = corpus(transposed=True)
    (one,) = found.utterances()
    assert found.latents.dim == DIM
    np.testing.assert_array_equal(one.source.read(), latents(25).T)


@pytest.mark.parametrize("name", ["a.npy", "all.npz/anna-1"])
def test_a_csv_lists_files_and_arrays_with_their_speakers(corpus, root, tmp_path, name):
    root.mkdir()
    np.save(root / "a.npy", latents(21, 1))
    several(root / "all.npz")
    table = tmp_path / "speakers.csv"
    table.write_text(f"path,speaker,sex\n{name},anna,F\ngone.npy,otto,M\n", "utf-8")
    first, gone = corpus(speakers_csv=str(table)).utterances()
    assert (first.id, first.speaker, first.attributes) == (name, "anna", {"sex": "F"})
    np.testing.assert_array_equal(first.source.read(), latents(21, 1).T)
    assert gone.problem == "not there"


@pytest.mark.parametrize("rate", [0.0, float("inf"), float("nan")])
def test_the_frame_rate_is_asked_for_and_never_guessed(corpus, rate):
    with pytest.raises(UsageError, match=r"corpus\.frame_rate=.*how many frames a second"):
        corpus(frame_rate=rate)


class Harm:
    def __reduce__(self):
        return (print, ("harm",))


def cut(file):
    file.write_bytes(file.read_bytes()[:-40])


BAD = {
    "a vector": ("npy", lambda file: np.save(file, np.zeros(5, np.float32)), "of shape [5]"),
    "a batch": ("npy", lambda file: np.save(file, np.zeros((1, 5, 6))), "of shape [1, 5, 6]"),
    "no frames": ("npy", lambda file: np.save(file, latents(0)), "no frames"),
    "another D": ("npy", lambda file: np.save(file, latents(9, dim=4)), "of 4 dimensions, where"),
    "objects": ("npy", lambda file: np.save(file, np.array([{}])), "cannot be read: "),
    "empty": ("npy", lambda file: file.write_bytes(b""), "cannot be read: "),
    "text": ("npz", lambda file: file.write_text("latents"), "cannot be read: "),
    "no arrays": ("npz", np.savez, "0 arrays, it holds nothing"),
    "code": ("pt", lambda file: torch.save(Harm(), file), "cannot be read: "),
    "pickle": ("pt", lambda file: file.write_bytes(pickle.dumps(Harm())), "cannot be read: "),
    "half": (
        "safetensors",
        lambda file: (save_file({"z": torch.ones(9, 6)}, file), cut(file)),
        "cannot be read: ",
    ),
    "half a table": ("parquet", lambda file: (as_columns(latents(9), file), cut(file)), "cannot "),
}


@pytest.mark.parametrize("what", BAD)
def test_a_file_that_cannot_be_used_is_left_out_by_name(corpus, root, what, capsys):
    suffix, make, found = BAD[what]
    np.save(write("npy", latents(25), root / "anna" / "a"), latents(25))
    make(root / "anna" / f"b.{suffix}")
    good, bad = corpus().utterances()
    assert good.problem == ""
    assert bad.id == f"anna/b.{suffix}"
    assert found in bad.problem
    assert "\n" not in bad.problem
    assert str(root) not in bad.problem  # the path is named once, by the summary
    assert "harm" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda array: array.astype(np.int32), "int32 numbers, expected floating ones"),
        (lambda array: np.where(array > 2, np.nan, array), "frames are not finite"),
        (lambda array: array.astype(np.float64) * 1e300, "frames are not finite"),
    ],
)
def test_values_that_are_no_latents_are_refused_when_they_are_read(corpus, root, change, found):
    write("npy", change(latents(60)), root / "anna" / "a")
    (one,) = corpus().utterances()
    with pytest.raises(AudioError, match=found):
        one.source.read()


def test_lists_of_several_lengths_are_refused(corpus, root):
    write("npy", latents(25), root / "anna" / "a")
    pq.write_table(pa.table({"z": [[1.0, 2.0], [3.0]]}), root / "anna" / "b.parquet")
    _, bad = corpus().utterances()
    assert bad.problem == "its lists are not of one length"


def test_a_folder_without_any_latents_says_what_was_looked_for(corpus, root):
    (root / "anna").mkdir(parents=True)
    with pytest.raises(UsageError, match="no latents below") as error:
        corpus().utterances()
    assert ".npy, .npz, .pt, .safetensors, .parquet" in error.value.hint
    (root / "anna" / "a.npy").write_bytes(b"none")
    with pytest.raises(UsageError, match=r"None of the 1 files .*a\.npy' since: cannot be read"):
        LatentsEncoder(NoOptions(), Workspace()).bind(corpus())


def test_a_file_changed_between_listing_and_reading_is_read_anew(corpus, root):
    file = write("npy", latents(25), root / "anna" / "a")
    (one,) = corpus().utterances()
    before = one.source.record(RATE)
    np.save(file, latents(40, 1))
    after = one.source.record(RATE)
    np.testing.assert_array_equal(after.samples, latents(40, 1).T)
    assert after.digest != before.digest


def test_what_is_taken_from_the_files_is_in_the_identity(corpus, root):
    root.mkdir()
    changes = ({}, {"frame_rate": 50.0}, {"array": "z"}, {"transposed": True}, {"glob": "*"})
    assert len({str(sorted(corpus(**one).identity.items())) for one in changes}) == len(changes)


def test_a_run_scores_what_the_files_hold(root, tmp_path):
    arrays = {}
    for speaker in range(4):
        for number in range(2):
            name = f"s{speaker}/{number}.npy"
            arrays[name] = latents(50, 10 * speaker + number)
            write("npy", arrays[name], root / f"s{speaker}" / f"{number}")
    config = resolve(
        read_layers(
            None,
            None,
            (
                f"corpus={{name: latents-folder, root: '{root}', frame_rate: 12.5}}",
                "encoder=latents",
                "predictor=linear",
                "split.eval_fraction=0.25",
                "device=cpu",
            ),
        ),
        load_registry(),
    )
    encoded = encode_corpus(config, Workspace(tmp_path / "cache"), load_registry())
    stored, sides = open_latents(encoded.store, encoded.rows)
    assert stored.frame_rate == RATE
    assert (len(sides["train"]), len(sides["eval"])) == (6, 2)
    for index, one in enumerate(stored.utterances):
        np.testing.assert_array_equal(stored.utterance(index).numpy(), arrays[one.id])


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, np.ndarray.tolist])
def test_arrays_in_memory_are_a_corpus(kind):
    arrays = {"a": latents(25, 1), "b": latents(50, 2)}
    given = {name: kind(array.astype(np.float64)) for name, array in arrays.items()}
    corpus = LatentArrays(given, {"a": "anna", "b": "otto"}, frame_rate=RATE)
    assert corpus.latents == (DIM, RATE)
    found = corpus.utterances()
    assert [(one.id, one.speaker, one.seconds) for one in found] == [
        ("a", "anna", 2.0),
        ("b", "otto", 4.0),
    ]
    for one in found:
        np.testing.assert_array_equal(one.source.read(), arrays[one.id].T)
    again = LatentArrays(given, {"a": "anna", "b": "otto"}, frame_rate=RATE).utterances()
    assert [one.source.digest() for one in again] == [one.source.digest() for one in found]
    assert len({one.source.digest() for one in found}) == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_tensor_with_gradients_of_another_precision_is_taken(dtype):
    tensor = torch.from_numpy(latents(9)).to(dtype).requires_grad_()
    (one,) = LatentArrays({"a": tensor}, {"a": "anna"}, frame_rate=RATE).utterances()
    np.testing.assert_array_equal(one.source.read(), tensor.detach().float().numpy().T)


@pytest.mark.parametrize(
    ("arrays", "speakers", "rate", "found"),
    [
        ({"a": latents(9)}, {}, 12.5, r"1 of 1 utterances have no speaker: a"),
        ({"a": latents(9)}, {"a": "s"}, 0, "frame_rate=0 is no number of frames"),
        ({"a": np.zeros(9)}, {"a": "s"}, 12.5, r"'a' cannot be used: of shape \[9\]"),
        ({"a": np.zeros((9, 2), int)}, {"a": "s"}, 12.5, "'a' cannot be used: int64 numbers"),
        ({"a": np.full((9, 2), np.nan)}, {"a": "s"}, 12.5, "'a' .* 9 of 9 frames are not finite"),
        (
            {"a": latents(9), "b": latents(9, dim=3)},
            {"a": "s", "b": "t"},
            12.5,
            r"have \[3, 6\] dimensions; all must have the same D",
        ),
        ({}, {}, 12.5, "have no dimensions"),
    ],
)
def test_arrays_that_are_no_latents_are_refused_by_name(arrays, speakers, rate, found):
    with pytest.raises(UsageError, match=found):
        LatentArrays(arrays, speakers, frame_rate=rate)
