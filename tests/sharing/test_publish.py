"""What is published, what is not, and that a leaderboard takes it."""

import json
import pathlib

import pytest
from click.testing import CliRunner

import latentbench as lb
from latentbench.cli import main


@pytest.fixture
def run(make_submitted, tmp_path):
    """The folder of a run whose corpus lies somewhere, with weights beside its result."""
    made = make_submitted("a", 0.4)
    corpus = {"name": "librispeech", "root": "/home/me/secret/LibriSpeech", "subset": "dev"}
    folder = tmp_path / "run"
    folder.mkdir()
    result = made.model_copy(update={"config": {**made.config, "corpus": corpus}})
    (folder / "result.json").write_text(result.to_json(), "utf-8")
    (folder / "model-k1.safetensors").write_bytes(b"weights")
    return folder


def test_a_run_is_published_without_weights_and_paths(run, tmp_path):
    ended = CliRunner().invoke(main, ["publish", str(run), "--to", str(tmp_path / "p"), "--json"])
    folder = pathlib.Path(json.loads(ended.stdout)["published"])
    files = {one.name: one.read_text("utf-8") for one in folder.iterdir()}
    assert set(files) == {"result.json", "figures.csv", "config.yaml"}
    assert not [name for name, text in files.items() if "/home/me" in text]
    config = json.loads(files["result.json"])["config"]
    assert config["corpus"] == {"name": "librispeech", "root": "LibriSpeech", "subset": "dev"}
    assert "0.4" in files["figures.csv"]


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("/home/me/a:b/x.csv", "x.csv"),
        ("~you/data/", "data"),
        ("C:\\me\\x", "x"),
        ("The disk is full: '/home/me/runs/x' needs more.", "The disk is full: 'x' needs more."),
        ("'~/it's' and '/home/me/a b'", "'it's' and 'a b'"),
        ("the speaker's loss/gain, 3/4", "the speaker's loss/gain, 3/4"),
        ("https://example.org/x", "https://example.org/x"),
    ],
)
def test_paths_in_whatever_is_said_are_published_by_their_last_names(
    run, tmp_path, text, published
):
    told = json.loads((run / "result.json").read_text("utf-8"))
    told["config"]["corpus"]["root"] = text
    told["horizons"][0]["errors"] = [text]
    (run / "result.json").write_text(json.dumps(told), "utf-8")
    found = json.loads(
        pathlib.Path(lb.publish(run, tmp_path / "p"), "result.json").read_text("utf-8")
    )
    assert found["config"]["corpus"]["root"] == published
    assert found["horizons"][0]["errors"] == [published]


def test_what_was_published_is_a_row_by_the_same_name(run, tmp_path):
    where = pathlib.Path(lb.publish(run, tmp_path / "p"))
    assert lb.publish(run, tmp_path / "p") == str(where)
    lb.leaderboard([tmp_path / "p"], tmp_path / "site")
    assert (tmp_path / "site" / "runs" / f"{where.name}.html").exists()


def test_a_data_set_is_made_and_written_to(run, monkeypatch):
    import huggingface_hub

    done = []

    class Api:
        def create_repo(self, repository, **how):
            done.append((repository, how))

        def upload_folder(self, *, folder_path, path_in_repo, **how):
            names = sorted(one.name for one in pathlib.Path(folder_path).iterdir())
            done.append((path_in_repo, names, how["repo_id"], how["repo_type"]))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    where = lb.publish(run, "hf://datasets/owner/name")
    name = where.removeprefix("hf://datasets/owner/name/")
    files = ["config.yaml", "figures.csv", "result.json"]
    assert done == [
        ("owner/name", {"repo_type": "dataset", "exist_ok": True}),
        (name, files, "owner/name", "dataset"),
    ]


def test_what_the_hub_says_is_told(run, monkeypatch):
    import huggingface_hub

    class Api:
        def create_repo(self, *_, **__):
            raise OSError("401 Unauthorized\nlong story")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    with pytest.raises(lb.LatentbenchError, match=r"did not take the result: 401 Unauthorized\n"):
        lb.publish(run, "hf://datasets/owner/name")


def test_a_run_that_is_not_finished_is_refused(tmp_path):
    with pytest.raises(lb.UsageError, match="holds no finished run"):
        lb.publish(tmp_path, tmp_path / "p")
