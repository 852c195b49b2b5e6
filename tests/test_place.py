"""The place latentbench runs in: paths, rights, locks, full disks, terminals."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from latentbench.cli import main
from latentbench.cli.session import GivenPath
from latentbench.errors import UsageError
from latentbench.workspace import default_cache

ROOTED = ("folder", "kaldi", "librispeech", "webdataset")
SMALL = (
    *("--encoder", "latents", "--corpus", "world:ar1", "--predictor", "linear"),
    *("--horizons", "1", "--device", "cpu"),
    *("--set", "corpus.dim=2", "--set", "corpus.utterances=1", "--set", "corpus.frames=30"),
    *("--set", "corpus.speakers=3", "--set", "split.eval_fraction=0.34"),
    *("--set", "utterances.min_seconds=0", "--set", "task.slices=[all]"),
    *("--set", "task.context_frames=2", "--set", "controls=[]"),
)


def invoke(*arguments, **options):
    return CliRunner(**options).invoke(main, [str(one) for one in arguments])


def run(folder):
    return invoke("run", *SMALL, "--out", folder / "run", "--cache", folder / "cache")


@pytest.mark.parametrize(
    "arguments",
    [
        ("cache", "remove", "downloads", "--yes", "--cache", ""),
        ("cache", "list", "--cache", " "),
        ("run", *SMALL, "--out", ""),
        ("run", *SMALL, "--cache", ""),
        ("run", "--config", ""),
        ("show", ""),
        ("rollout", ""),
        ("explain", ""),
        ("verify", ""),
        ("compare", "", ""),
        ("--plugin", "", "plugins", "list"),
        ("publish", "downloads", "--to", ""),
        ("leaderboard", "build", ""),
    ],
)
def test_an_empty_path_is_refused_everywhere(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "downloads").mkdir()
    found = invoke(*arguments)
    assert found.exit_code == 2
    assert "path is empty" in found.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["downloads"]


def parameters(command, context):
    """Every parameter of a command and of those below it."""
    yield from ((context.command_path, one) for one in command.params)
    for name in getattr(command, "list_commands", lambda _: ())(context):
        below = command.get_command(context, name)
        yield from parameters(below, click.Context(below, parent=context, info_name=name))


def test_whatever_names_a_place_takes_home_and_no_empty_path():
    found = [*parameters(main, click.Context(main, info_name="latentbench"))]
    places = re.compile("FOLDER|FILE|PLACE|RUN")
    named = [(verb, one) for verb, one in found if places.search(one.metavar or "")]
    others = [(verb, one.name) for verb, one in named if not isinstance(one.type, GivenPath)]
    assert len(named) > 20
    assert others == [("latentbench plot", "style")]  # a file, or a name that matplotlib knows


def test_an_empty_variable_is_refused(monkeypatch):
    monkeypatch.setenv("LATENTBENCH_CACHE", "")
    found = invoke("cache", "size")
    assert found.exit_code == 2
    assert "LATENTBENCH_CACHE is empty" in found.stderr


def test_a_tilde_is_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("LATENTBENCH_CACHE", "~/x")
    assert default_cache() == tmp_path / "x"
    found = json.loads(invoke("cache", "list", "--json", "--cache", "~/y").stdout)
    assert found["cache"] == str(tmp_path / "y")


@pytest.mark.parametrize(
    "asked",
    [
        *(("--corpus", name, "--set", "corpus.root=~nobody-here/x") for name in ROOTED),
        ("--corpus", "lhotse", "--set", "corpus.cuts=~nobody-here/x"),
        ("--encoder", "mimi", "--set", "encoder.weights=~nobody-here/x"),
    ],
)
def test_the_home_of_a_user_who_is_not_known_is_no_place(asked, tmp_path):
    corpus = () if "--corpus" in asked else ("--corpus", "white-noise")
    found = invoke("run", "--encoder", "logmel", *corpus, *asked, "--dry-run", "--cache", tmp_path)
    assert found.exit_code == 2
    assert "~nobody-here/x" in found.stderr


def test_without_a_home_the_cache_must_be_named(monkeypatch):
    pwd = pytest.importorskip("pwd")

    def nobody(_):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_CACHE_HOME", "LATENTBENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match=r"no home folder.*\n.*--cache"):
        default_cache()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    assert run(folder).exit_code == 0
    return folder


@pytest.mark.parametrize("charset", ["ascii", "latin-1", "cp1252"])
def test_a_result_is_shown_in_every_encoding(finished, charset):
    found = invoke("show", finished / "run", charset=charset)
    assert found.exit_code == 0, found.output
    assert "dNLL" in found.stdout
    found = invoke("show", finished / "run", "--json", charset=charset)
    assert json.loads(found.stdout)["schema_version"] == 1


@pytest.fixture
def read_only():
    """Make a folder that cannot be written to, and be nobody while the test runs."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)

    def close(source):
        shutil.copytree(source, folder, dirs_exist_ok=True)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        if os.geteuid() == 0:
            os.seteuid(65534)
        return folder

    before = os.geteuid()
    yield close
    os.seteuid(before)
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_finished_run_is_used_on_a_disk_that_cannot_be_written(finished, read_only):
    there = read_only(finished)
    with pytest.raises(PermissionError):
        (there / "cache" / "new").touch()
    run_again = run(there)
    assert run_again.exit_code == 0, run_again.output
    assert "is finished" in run_again.stderr
    for command in (
        ("show", there / "run"),
        ("rollout", there / "run", "--cache", there / "cache"),
        ("explain", there / "run", "--cache", there / "cache"),
        ("cache", "list", "--cache", there / "cache"),
    ):
        found = invoke(*command)
        assert found.exit_code == 0, (command, found.output)


def test_a_shared_cache_is_used_by_who_cannot_write_to_it(finished, read_only):
    there = read_only(finished)
    with tempfile.TemporaryDirectory() as mine:
        found = invoke("run", *SMALL, "--out", f"{mine}/run", "--cache", there / "cache")
        assert found.exit_code == 0, found.output


def test_all_files_of_a_shared_cache_may_be_written_by_the_group(tmp_path):
    before = os.umask(0o002)
    try:
        assert run(tmp_path).exit_code == 0
    finally:
        os.umask(before)
    closed = [
        str(file.relative_to(tmp_path))
        for file in tmp_path.rglob("*")
        if file.is_file() and file.stat().st_mode & 0o777 != 0o664
    ]
    assert closed == []


def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    found = run(tmp_path)
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize("limit", [0, 300, 1_000, 2_500, 4_000, 6_000, 9_000])
def test_a_full_disk_is_said_and_the_same_command_continues(finished, tmp_path, limit):
    shutil.copytree(finished / "cache", tmp_path / "cache")
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        full = run(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert full.exit_code == 1, full.output
    assert "disk is full" in full.stderr
    assert "--debug" not in full.stderr
    assert list((tmp_path / "run").rglob("*.partial")) == []
    again = run(tmp_path)
    assert again.exit_code == 0, again.output
    tables = [(folder / "run" / "horizons.csv").read_text() for folder in (tmp_path, finished)]
    assert tables[0] == tables[1]


def test_nothing_needs_what_windows_lacks():
    code = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(('resource', 'pwd', 'grp'))\n"
        "import latentbench.cells, latentbench.experiment, latentbench.download, latentbench.cli\n"
        "import latentbench.cli.run, latentbench.cli.cache\n"
        "print(latentbench.cells._peak_memory(__import__('torch').device('cpu')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "0\n", done.stderr
