"""The engine `ray` on a real cluster of this machine."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from latentbench_ray.engine import RayEngine
from latentbench_ray.plugin import RayOptions
from ray.cluster_utils import Cluster

from latentbench.config import RunConfig
from latentbench.conformance import run_checks
from latentbench.engines import Cell
from latentbench.errors import UsageError
from latentbench.plugins import load_registry
from latentbench.progress import SilentProgress
from latentbench.workspace import Workspace

pytestmark = pytest.mark.timeout(300)

# What becomes of a cell is told by its horizon; a file counts how often it was begun.
WORK = """
import os, signal, time
from contextlib import suppress
from latentbench.errors import LatentbenchError
from latentbench.progress import SILENT
from latentbench.signals import deferred

DIES_ONCE, ALWAYS_DIES, FAILS, WAITS, BREAKS, SWALLOWS = 2, 3, 4, 6, 7, 8

class Work:
    progress = SILENT

    def __reduce__(self):
        return Work, ()

    def __call__(self, cell):
        k, begun = cell.horizon, len([*cell.folder.glob("begun-*")])
        (cell.folder / f"begun-{begun}").touch()
        if k == ALWAYS_DIES or (k == DIES_ONCE and not begun):
            os.kill(os.getpid(), signal.SIGKILL)
        if k == FAILS:
            raise LatentbenchError("fails on purpose")
        if k == BREAKS:
            raise KeyError("a mistake of a plugin")
        if k == SWALLOWS:
            with suppress(KeyboardInterrupt):
                (cell.folder / "waits").touch()
                while True:
                    time.sleep(0.01)
        if k in (WAITS, SWALLOWS):
            with deferred() as asked:
                (cell.folder / "waits").touch()
                while not asked.is_set():
                    time.sleep(0.01)
                (cell.folder / "checkpoint").touch()
        (cell.folder / "done").touch()
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "work_of_ray.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    from work_of_ray import Work

    work = Work()
    work.progress = SilentProgress()
    yield work
    del sys.modules["work_of_ray"]


def cells_in(folder, horizons):
    cells = [
        Cell(RunConfig(), k, 42, Path("store"), Path("manifest"), folder / f"k{k}")
        for k in horizons
    ]
    for cell in cells:
        cell.folder.mkdir()
    return cells


def outcomes(folder, work, horizons, **options):
    """Horizon -> error."""
    engine = RayEngine(RayOptions(**options))
    return {one.unit.horizon: one.error for one in engine.run(cells_in(folder, horizons), work)}


def begun(folder, k):
    return len([*(folder / f"k{k}").glob("begun-*")])


def of_ray():
    """The processes of Ray that are children of this one."""
    words = ("raylet", "gcs_server", "ray::")
    return [
        one
        for one in psutil.Process().children(recursive=True)
        if any(word in " ".join(one.cmdline()) for word in words)
    ]


def test_workers_that_die_and_units_that_fail(tmp_path, work):
    found = outcomes(tmp_path, work, (2, 4, 1, 3, 7), attempts=2, workers=2)
    assert (found[1], found[2], found[4]) == ("", "", "fails on purpose")
    assert found[3].startswith("2 workers died over it, the last so: ")
    assert found[7].startswith("KeyError: 'a mistake of a plugin'")
    assert [begun(tmp_path, k) for k in (2, 4, 1, 3)] == [2, 1, 1, 2]
    assert sum("attempt 2 of 2" in one for one in work.progress.said) == 2
    assert not of_ray()


# A shell has what it begins in the background ignore Ctrl-C.
@pytest.mark.parametrize("of_the_shell", [signal.default_int_handler, signal.SIG_IGN])
def test_a_run_that_is_left_stops_its_tasks_and_the_cluster(
    tmp_path, work, soon, handled, of_the_shell
):
    handled(signal.SIGINT, of_the_shell)
    running = RayEngine(RayOptions(workers=3)).run(cells_in(tmp_path, (1, 6, 8)), work)
    assert next(running).unit.horizon == 1
    for one in ("k6", "k8"):
        assert soon((tmp_path / one / "waits").exists)
    running.close()
    for one in ("k6", "k8"):
        assert (tmp_path / one / "checkpoint").exists()
        assert not (tmp_path / one / "done").exists()
    assert soon(lambda: not of_ray())


def test_what_no_node_has_room_for_is_refused(tmp_path, work):
    with pytest.raises(UsageError, match=r"No node .* 1 cores and 9 GPUs(.|\n)*engine.gpus"):
        outcomes(tmp_path, work, (1,), gpus=9, workers=1)
    assert not of_ray()


def test_a_cluster_that_does_not_answer_is_told(tmp_path, work, monkeypatch):
    def refused(**_):
        raise ConnectionError("nobody there\nsecond line")

    monkeypatch.setattr("ray.init", refused)
    told = r"Ray cannot be reached at 'head:1': nobody there\n.*engine.address"
    with pytest.raises(UsageError, match=told):
        outcomes(tmp_path, work, (1,), address="head:1")


def test_a_path_is_that_of_the_command_on_a_cluster_begun_elsewhere(tmp_path, work, monkeypatch):
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    elsewhere.mkdir()
    here.mkdir()
    monkeypatch.chdir(elsewhere)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    monkeypatch.chdir(here)
    try:
        assert outcomes(Path(), work, (1,), address=cluster.address) == {1: ""}
    finally:
        cluster.shutdown()
    assert (here / "k1" / "done").exists()


def test_it_passes_the_conformance_checks():
    component = load_registry().get("engine", "ray")
    findings = [*run_checks(component, RayOptions(workers=2), Workspace())]
    assert {one.status for one in findings} == {"pass"}


# How often something is killed by `kill -9`; LATENTBENCH_KILLS=20 takes many minutes.
KILLS = int(os.environ.get("LATENTBENCH_KILLS", "3"))
WORKER, RAYLET = "ray::_done", "raylet/raylet"
VICTIMS = ("latentbench", WORKER, RAYLET)  # in turn
# Where a turn comes after a raylet's, the work must not be over by then.
IS_LONG = len(VICTIMS) < KILLS


def named(commands, driver, name):
    return [one for one in commands.family(driver) if name in " ".join(one.cmdline())]


def kill_again_and_again(commands, arguments, soon, begins):
    """Until the command is let end, which ends well; `begins(driver)` makes who sees it at work."""
    driver = commands.start(*arguments)
    for number in range(KILLS):
        assert soon(begins(driver)), number
        victim = VICTIMS[number % len(VICTIMS)]
        named(commands, driver, victim)[0].kill()
        if victim == WORKER:
            continue
        # Without a raylet, workers go on for 20 s, and Ray's own agents for a minute or more.
        said, _ = driver.communicate(timeout=100)
        assert driver.returncode != 0
        assert ("attempt 2 of 3" in said) == (victim == RAYLET)  # whose turn is after a worker's
        assert soon(lambda: not named(commands, driver, WORKER))  # noqa: B023 - asked at once
        driver = commands.start(*arguments)
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    for one in commands.begun:
        assert any(commands.nobody_is_left(one) for _ in range(3))


def log_of(worker):
    """What a worker has written; nothing where it is gone."""
    with suppress(psutil.NoSuchProcess):
        files = [Path(one.path) for one in worker.open_files() if one.path.endswith(".err")]
        return "".join(one.read_text("utf-8") for one in files)
    return ""


@pytest.mark.timeout(300 + 60 * KILLS)
def test_whatever_is_killed_the_same_command_ends_in_the_same_figures(commands, tmp_path, soon):
    steps = ("--steps", 20_000 if IS_LONG else 2000)
    commands.run(*commands.RUN, *steps, "--out", "reference")
    arguments = (*commands.RUN, *steps, "--out", "run", "--set", "engine.name=ray")

    def begins(driver):
        """A worker trains."""
        return lambda: any("train k=1: " in log_of(one) for one in named(commands, driver, WORKER))

    kill_again_and_again(commands, arguments, soon, begins)
    tables = [pq.read_table(tmp_path / one / "frames.parquet") for one in ("run", "reference")]
    assert tables[0].equals(tables[1])


@pytest.mark.timeout(300 + 60 * KILLS)
def test_whatever_is_killed_the_same_command_encodes_the_same(commands, soon, slow_encoding):
    slow = slow_encoding(4 + 4 * KILLS, 1.0 if IS_LONG else 0.3)

    def begins(_):
        """A shard is written."""
        before = slow.shards()
        return lambda: slow.shards() > before

    arguments = slow.arguments("engine.name=ray", "engine.workers=2")
    kill_again_and_again(commands, arguments, soon, begins)
    slow.assert_undisturbed()
