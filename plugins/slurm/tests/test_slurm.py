"""The engine `slurm` on submitit's local executor, and on commands that stand in for Slurm."""

import os
import signal
import stat
import sys
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from latentbench_slurm.engine import SlurmEngine
from latentbench_slurm.plugin import SlurmOptions

from latentbench.config import RunConfig
from latentbench.conformance import run_checks
from latentbench.engines import Cell
from latentbench.errors import UsageError
from latentbench.plugins import load_registry
from latentbench.progress import SilentProgress
from latentbench.workspace import Workspace

# What becomes of a cell is told by its horizon; a file counts how often it was begun.
WORK = """
import os, signal, sys, time
from contextlib import suppress
from latentbench.errors import LatentbenchError
from latentbench.progress import SILENT
from latentbench.signals import deferred

DIES_ONCE, ALWAYS_DIES, FAILS, IS_STOPPED_ONCE, WAITS, BREAKS, SWALLOWS = 2, 3, 4, 5, 6, 7, 8

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
        if k in (WAITS, SWALLOWS) or (k == IS_STOPPED_ONCE and not begun):
            with deferred() as asked:
                for number in (signal.SIGUSR2, signal.SIGTERM) if k == IS_STOPPED_ONCE else ():
                    os.kill(os.getpid(), number)
                (cell.folder / "waits").touch()
                while not asked.is_set():
                    time.sleep(0.01)
                (cell.folder / "checkpoint").touch()
        (cell.folder / "done").touch()
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "work_of_slurm.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    from work_of_slurm import Work

    work = Work()
    work.progress = SilentProgress()
    yield work
    del sys.modules["work_of_slurm"]


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
    engine = SlurmEngine(SlurmOptions(**options))
    return {one.unit.horizon: one.error for one in engine.run(cells_in(folder, horizons), work)}


def begun(folder, k):
    return len([*(folder / f"k{k}").glob("begun-*")])


def test_jobs_that_die_fail_or_are_stopped(tmp_path, work):
    found = outcomes(tmp_path, work, (2, 4, 5, 3, 7), executor="local", attempts=2, at_once=5)
    assert (found[2], found[5], found[4]) == ("", "", "fails on purpose")
    assert found[3].startswith("2 jobs died over it, the last ")
    assert found[7].startswith("KeyError: 'a mistake of a plugin'")
    assert "_0_log.err'" in found[7]
    assert [begun(tmp_path, k) for k in (2, 4, 5, 3)] == [2, 1, 2, 2]
    assert (tmp_path / "k5" / "checkpoint").exists()
    assert sum("attempt 2 of 2" in one for one in work.progress.said) == 2


@pytest.mark.parametrize("of_the_shell", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_run_that_is_left_stops_its_jobs(tmp_path, work, soon, handled, of_the_shell):
    handled(signal.SIGTERM, of_the_shell)
    running = SlurmEngine(SlurmOptions(executor="local", at_once=3)).run(
        cells_in(tmp_path, (1, 6, 8)), work
    )
    assert next(running).unit.horizon == 1
    for one in ("k6", "k8"):
        assert soon((tmp_path / one / "waits").exists)
    running.close()
    for one in ("k6", "k8"):
        assert (tmp_path / one / "checkpoint").exists()
        assert not (tmp_path / one / "done").exists()
    assert not [one for one in psutil.Process().children() if "submitit" in str(one.cmdline())]


def test_it_passes_the_conformance_checks():
    component = load_registry().get("engine", "slurm")
    findings = [*run_checks(component, SlurmOptions(executor="local", at_once=3), Workspace())]
    assert {one.status for one in findings} == {"pass"}


def test_where_there_is_no_slurm_it_says_so(tmp_path, work, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=r"no 'sbatch' here(.|\n)*executor=local"):
        outcomes(tmp_path, work, (1,))


def logs(folder):
    return "".join(one.read_text() for one in folder.glob("run/cells/jobs/*_log.err"))


def at_work(commands, command):
    """The processes of jobs that train."""
    return [one for one in commands.family(command) if "submitit.core" in str(one.cmdline())]


def test_whatever_is_killed_the_same_command_ends_in_the_same_figures(commands, tmp_path, soon):
    commands.run(*commands.RUN, "--out", "reference")
    slurm = ("--set", "engine.name=slurm", "--set", "engine.executor=local")
    arguments = (*commands.RUN, "--out", "run", *slurm)

    driver = commands.start(*arguments)
    assert soon(lambda: "train k=1: 0/" in logs(tmp_path))
    at_work(commands, driver)[0].send_signal(signal.SIGUSR2)
    assert soon(lambda: "Training goes on from step" in logs(tmp_path))
    driver.kill()
    driver.wait()
    assert commands.nobody_is_left(driver)
    assert [*tmp_path.glob("run/cells/*/*.checkpoint")]

    driver = commands.start(*arguments)
    seen = logs(tmp_path).count("goes on from step")
    assert soon(lambda: logs(tmp_path).count("goes on from step") > seen)
    at_work(commands, driver)[0].kill()
    said, _ = driver.communicate(timeout=100)
    assert driver.returncode == 0
    assert "its work is submitted again, attempt 2 of 3" in said
    tables = [pq.read_table(tmp_path / one / "frames.parquet") for one in ("run", "reference")]
    assert tables[0].equals(tables[1])


# How often a process is killed; LATENTBENCH_KILLS=20 takes many minutes.
KILLS = int(os.environ.get("LATENTBENCH_KILLS", "3"))


def trainings(folder):
    """How many jobs have begun to train: each has a log of its own."""
    texts = [one.read_text() for one in folder.glob("run/cells/jobs/*_log.err")]
    return sum("train k=1: " in one for one in texts)


@pytest.mark.timeout(200 + 60 * KILLS)
def test_kill_9_again_and_again_of_jobs_and_of_the_command(commands, tmp_path, soon):
    steps = ("--steps", max(2000, 200 * KILLS))
    commands.run(*commands.RUN, *steps, "--out", "reference")
    slurm = ("--set", "engine.name=slurm", "--set", "engine.executor=local")
    arguments = (*commands.RUN, *steps, "--out", "run", *slurm)

    driver, begun = commands.start(*arguments), 0
    for number in range(KILLS):
        assert soon(lambda: trainings(tmp_path) > begun)  # noqa: B023 - asked at once
        begun = trainings(tmp_path)
        if number % 2:
            driver.kill()
            driver.wait()
            assert commands.nobody_is_left(driver)
            driver = commands.start(*arguments)
        else:
            at_work(commands, driver)[0].kill()
    said, _ = driver.communicate(timeout=200)
    assert driver.returncode == 0, said
    assert trainings(tmp_path) == KILLS + 1
    assert commands.nobody_is_left(driver)
    tables = [pq.read_table(tmp_path / one / "frames.parquet") for one in ("run", "reference")]
    assert tables[0].equals(tables[1])


def test_kill_9_of_the_command_while_jobs_encode(commands, slow_encoding, soon):
    slow = slow_encoding(6, 0.2)
    slurm = ("engine.name=slurm", "engine.executor=local", "engine.at_once=2")
    arguments = slow.arguments(*slurm)
    for more in (1, 3):
        driver, before = commands.start(*arguments), slow.shards()
        assert soon(lambda: slow.shards() >= before + more)  # noqa: B023 - asked at once
        driver.kill()
        driver.wait()
        assert commands.nobody_is_left(driver)
        assert slow.shards() < slow.shards_in_all
    said = commands.run(*arguments)
    assert f"encoding: done, {slow.minutes:.1f} min of audio in " in said  # with those of before
    slow.assert_undisturbed()


# Stands for sbatch, srun, scontrol, scancel and sacct: each task of an array is run by bash, and
# again where `scontrol requeue` asked for that. States are files, named by the id of the job.
SLURM = """#!{python}
import os, pathlib, re, signal, subprocess, sys
home, name = pathlib.Path({home!r}), pathlib.Path(sys.argv[0]).name
if name == "sbatch":
    text = pathlib.Path(sys.argv[1]).read_text()
    (home / "script").write_text(text)
    last = re.search(r"--array=0-([0-9]+)", text)
    first = str(os.getpid())
    ids = [f"{{first}}_{{one}}" for one in range(int(last[1]) + 1)] if last else [first]
    for job in ids:
        (home / f"{{job}}.state").write_text("PENDING")
        node = [sys.executable, str(home / "node"), job, sys.argv[1]]
        subprocess.Popen(node, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print("Submitted batch job", first)
elif name == "node":
    job, script = sys.argv[1:]
    first, _, index = job.partition("_")
    ids = {{"SLURM_JOB_ID": first}}
    if index:
        ids |= {{"SLURM_ARRAY_JOB_ID": first, "SLURM_ARRAY_TASK_ID": index}}
    ids |= {{"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1"}}
    again = home / f"{{job}}.again"
    again.touch()
    while again.exists():
        again.unlink()
        (home / f"{{job}}.state").write_text("RUNNING")
        subprocess.run(["bash", script], env=os.environ | ids, stdout=subprocess.DEVNULL)
    state = home / f"{{job}}.state"
    if state.read_text() == "RUNNING":
        state.write_text("COMPLETED")
elif name == "srun":
    start = next(n for n, one in enumerate(sys.argv[1:], 1) if one.startswith("/"))
    while sys.argv[start - 1] in ("--output", "--error"):
        start = next(n for n, one in enumerate(sys.argv) if n > start and one.startswith("/"))
    job = "_".join(filter(None, map(os.environ.get, ("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID"))))
    (home / f"{{job}}.pid").write_text(str(os.getpid()))
    os.execv(sys.argv[start], sys.argv[start:])
elif name == "scontrol":
    (home / f"{{sys.argv[2]}}.again").touch()
elif name == "scancel":
    (home / f"{{sys.argv[1]}}.state").write_text("CANCELLED by 0")
    os.kill(int((home / f"{{sys.argv[1]}}.pid").read_text()), signal.SIGTERM)
elif name == "sacct":
    print("JobID|State|NodeList")
    for one in home.glob("*.state"):
        print(f"{{one.stem}}|{{one.read_text()}}|node")
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """The folder of what stands for Slurm."""
    home = tmp_path / "bin"
    home.mkdir()
    for name in ("sbatch", "node", "srun", "scontrol", "scancel", "sacct"):
        (home / name).write_text(SLURM.format(python=sys.executable, home=str(home)))
        (home / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(home), prepend=os.pathsep)
    return home


def test_an_array_whose_job_is_queued_again(tmp_path, work, slurm):
    options = {"partition": "gpu", "gpus": 1, "cpus": 2, "memory_gb": 3.0, "minutes": 90}
    assert outcomes(tmp_path, work, (1, 5), at_once=2, **options) == {1: "", 5: ""}
    assert begun(tmp_path, 5) == 2
    assert (slurm / "script").read_text().splitlines()[3:17] == [
        "#SBATCH --array=0-1%2",
        "#SBATCH --cpus-per-task=2",
        f"#SBATCH --error={tmp_path}/jobs/%A_%a_0_log.err",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --job-name=latentbench",
        "#SBATCH --mem=3GB",
        "#SBATCH --nodes=1",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={tmp_path}/jobs/%A_%a_0_log.out",
        "#SBATCH --partition=gpu",
        "#SBATCH --requeue",
        "#SBATCH --signal=USR2@120",
        "#SBATCH --time=90",
        "#SBATCH --wckey=submitit",
    ]


def test_a_run_that_is_left_cancels_its_jobs_of_slurm(tmp_path, work, slurm, soon):
    running = SlurmEngine(SlurmOptions()).run(cells_in(tmp_path, (1, 6)), work)
    assert next(running).unit.horizon == 1
    assert soon(lambda: begun(tmp_path, 6) == 1)
    running.close()
    (state,) = slurm.glob("*_1.state")
    assert state.read_text() == "CANCELLED by 0"
    assert soon((tmp_path / "k6" / "checkpoint").exists)
