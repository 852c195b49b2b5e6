"""A leaderboard of what strangers sent: all of it is data, and its pages hold all they show."""

import html
import json
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

import latentbench as lb
from latentbench.cli import main
from latentbench.sharing.submissions import read_submission

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}\u202etxt"


class Page(HTMLParser):
    """The tags of a page, its links and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.links, self.text = set(), set(), [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data):
        self.text += data


def build(folder, out):
    lb.leaderboard([folder], out)
    return Page((out / "index.html").read_text("utf-8"))


def test_names_of_strangers_are_text_on_every_page(make_submitted, submit, tmp_path):
    hostile = make_submitted(HOSTILE, 0.2, predictor=HOSTILE, protocol=HOSTILE, stamps=(HOSTILE,))
    corpus = hostile.corpus.model_copy(update={"name": HOSTILE, "identity": {HOSTILE: HOSTILE}})
    hostile = hostile.model_copy(update={"corpus": corpus})
    out = tmp_path / "site"
    lb.leaderboard([submit(hostile, make_submitted("plain", 0.4))], out)
    pages = [*out.glob("*.html"), *out.glob("runs/*.html")]
    assert len(pages) == 3
    for file in pages:
        page = Page(file.read_text("utf-8"))
        assert not page.tags & {"script", "img", "iframe", "object", "form"}
        assert not [one for one in page.attributes if one.startswith("on")]
        assert all(
            one.startswith(("#", "../", "runs/", "data:,")) or "/" not in one for one in page.links
        )
        assert "\u202e" not in page.text
        assert "49" not in page.text.split("{{7*7}}")[0][-20:]
        assert "script-src 'none'" in html.unescape(file.read_text("utf-8"))
    index = Page((out / "index.html").read_text("utf-8"))
    assert "<img src=x onerror=alert(2)>{{7*7}}\\u202etxt" in index.text


def test_every_row_leads_to_its_page_and_the_command_that_runs_it_again(
    make_submitted, submit, tmp_path
):
    out = tmp_path / "site"
    page = build(submit(make_submitted("a", 0.4), make_submitted("b", 0.1)), out)
    links = [one for one in page.links if one.startswith("runs/")]
    assert len(links) == 2
    for link in links:
        text = Page((out / link).read_text("utf-8")).text
        name = link.removeprefix("runs/").removesuffix(".html")
        assert f"latentbench reproduce {name}.json" in text
        assert read_submission(out / "runs" / f"{name}.json", "").name == name
        assert (out / "runs" / f"{name}.csv").read_text().startswith("run,encoder,")


def test_the_json_beside_it_says_the_same(make_submitted, submit, tmp_path):
    out = tmp_path / "site"
    build(submit(make_submitted("a", 0.4), make_submitted("b", 0.1)), out)
    (board,) = json.loads((out / "leaderboard.json").read_text("utf-8"))["boards"]
    assert [(one["encoder"], one["rank"]) for one in board["rows"]] == [("a", 1), ("b", 2)]
    assert board["rows"][0]["r2i"]["value"] == 0.4


BAD = {
    "not JSON": "{",
    "not JSON ": "[" * 100_000,
    "not a result of this schema": '{"config": {}}',
    "not a result of this schema ": "[]",
}


@pytest.mark.parametrize("reason", BAD)
def test_what_is_no_result_is_named_and_the_others_are_shown(
    make_submitted, submit, tmp_path, reason
):
    page = build(submit(make_submitted("fine", 0.4), BAD[reason]), tmp_path / "site")
    assert f"r1/result.json: {reason.strip()}" in page.text
    assert "fine" in page.text


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in ("encoder", "baseline", "split", "task", "training", "seeds")),
        {"split": "speaker"},
        {"training": {"steps": "many", "batch_size": "s"}},
    ],
)
def test_a_configuration_that_lacks_what_every_run_has_is_refused(
    make_submitted, submit, tmp_path, changes
):
    odd = make_submitted("odd", 0.2)
    config = {name: one for name, one in (odd.config | changes).items() if one is not None}
    odd = odd.model_copy(update={"config": config})
    page = build(submit(make_submitted("fine", 0.4), odd), tmp_path / "site")
    assert "its configuration lacks a section" in page.text


def test_where_files_are_the_sample_no_heading_speaks_of_speakers(make_submitted, submit, tmp_path):
    made = make_submitted("a", 0.4)
    split = {**made.config["split"], "by": "file"}
    made = made.model_copy(update={"config": {**made.config, "split": split}})
    text = build(submit(made), tmp_path / "site").text
    assert "files" in text
    assert "speakers" not in text


def test_links_out_of_a_folder_are_not_followed(make_submitted, submit, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "result.json").write_text(make_submitted("secret", 0.9).to_json(), "utf-8")
    folder = submit(make_submitted("fine", 0.4))
    (folder / "linked").symlink_to(secret)
    (folder / "r9").mkdir()
    (folder / "r9" / "result.json").symlink_to(secret / "result.json")
    assert "secret" not in build(folder, tmp_path / "site").text


def test_the_same_result_twice_is_one_row_and_an_old_site_is_replaced(
    make_submitted, submit, tmp_path
):
    out = tmp_path / "site"
    one = make_submitted("a", 0.4)
    folder = submit(one, one)
    build(folder, out)
    assert len(list((out / "runs").glob("*.html"))) == 1
    (folder / "r0" / "result.json").unlink()
    (folder / "r1" / "result.json").write_text(make_submitted("b", 0.4).to_json(), "utf-8")
    assert "b" in build(folder, out).text
    assert len(list((out / "runs").glob("*.html"))) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none", "There is no folder 'none'."),
        (".", "There is no result.json in ."),
        ("hf://models/a/b", "'hf://models/a/b' is no data set."),
    ],
)
def test_a_wrong_source_is_said(tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(main, ["leaderboard", "build", source])
    assert ended.exit_code == 2
    assert message in ended.stderr


def test_a_folder_of_something_else_is_left_alone(make_submitted, submit, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    folder = submit(make_submitted("a", 0.4))
    with pytest.raises(lb.UsageError, match="holds no leaderboard"):
        lb.leaderboard([folder], tmp_path / "mine")
    assert [one.name for one in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_data_set_is_fetched_result_files_alone(make_submitted, tmp_path, monkeypatch):
    import huggingface_hub

    asked = {}

    def snapshot_download(repository, *, local_dir, **how):
        asked.update(how, repository=repository)
        (local_dir / "r").mkdir()
        (local_dir / "r" / "result.json").write_text(make_submitted("far", 0.3).to_json(), "utf-8")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    out = tmp_path / "site"
    page = build("hf://datasets/owner/name", out)
    assert "far" in page.text
    assert asked["repository"] == "owner/name"
    assert asked["repo_type"] == "dataset"
    assert all(one.endswith("result.json") for one in asked["allow_patterns"])
    (board,) = json.loads((out / "leaderboard.json").read_text())["boards"]
    assert board["rows"][0]["source"] == "hf://datasets/owner/name/r/result.json"
