"""The engine `processes`: numbers of `local`, and nothing lost or left when processes die."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from latentbench.config import RunConfig
from latentbench.engines import Cell
from latentbench.engines.plugin import ProcessesOptions
from latentbench.engines.processes import ProcessesEngine
from latentbench.errors import UsageError
from latentbench.progress import SilentProgress

RUN = (
    *("run", "--encoder", "latents", "--corpus", "world:ar1", "--horizons", "1,2"),
    *("--set", "corpus.speakers=4", "--set", "corpus.dim=4", "--set", "predictor.width=8"),
    *("--set", "utterances.min_seconds=0", "--set", "rollout.utterances=2", "--device", "cpu"),
    *("--set", "controls=[]"),
)
PROCESSES = ("--set", "engine.name=processes", "--set", "engine.workers=2")
# Long enough to be found at work, short enough to be finished.
STEPS = 1500

# Work of tests: what becomes of a cell is told by its horizon.
WORK = """
import atexit, os, signal, time
from contextlib import suppress
from latentbench.errors import LatentbenchError
from latentbench.progress import SILENT
from latentbench.signals import deferred

ONCE, ALWAYS, FAILS, GOES, LINGERS, OBSERVED, SWALLOWS, FOLLOWS = 2, 3, 4, 5, 7, 8, 9, 10

def wait_for(file):
    until = time.monotonic() + 60  # seconds in which a busy machine begins a process
    while not file.exists():
        if time.monotonic() > until:
            raise LatentbenchError(f"{file.name} never came")
        time.sleep(0.01)

def linger(folder):
    (folder / "leaving").touch()
    wait_for(folder.parent / "k8" / "done")

def swallow_a_stop(folder):
    with suppress(KeyboardInterrupt):
        (folder / "waits").touch()
        wait_for(folder / "stop")
    with deferred() as asked:
        while not asked.is_set():
            time.sleep(0.01)
        (folder / "checkpoint").touch()

class Work:
    progress = SILENT

    def __reduce__(self):
        return Work, ()

    def __call__(self, cell):
        if cell.horizon == SWALLOWS:
            swallow_a_stop(cell.folder)
        if cell.horizon == FOLLOWS:
            wait_for(cell.folder.parent / "k9" / "waits")
        if cell.horizon == LINGERS:  # the other is then another process's
            wait_for(cell.folder.parent / "k8" / "given")
            atexit.register(linger, cell.folder)
        if cell.horizon == OBSERVED:
            (cell.folder / "given").touch()
            wait_for(cell.folder.parent / "k7" / "leaving")
        with self.progress.task(f"cell {cell.horizon}", 10, "steps") as meter:
            if cell.horizon == OBSERVED:
                wait_for(cell.folder / "observed")
            meter.advance(4)
            begun = len([*cell.folder.glob("begun-*")])
            (cell.folder / f"begun-{begun}").touch()
            if cell.horizon == ALWAYS or (cell.horizon == ONCE and not begun):
                os.kill(os.getpid(), signal.SIGKILL)
            if cell.horizon == FAILS:
                raise LatentbenchError("fails on purpose")
            if cell.horizon == GOES:
                os._exit(3)
            meter.advance(6)
            meter.note(f"{os.environ['OMP_NUM_THREADS']} threads")
        (cell.folder / "done").touch()
"""


class Watched(SilentProgress):
    """Keeps what was shown."""

    def __init__(self):
        super().__init__()
        self.shown = []

    @contextmanager
    def task(self, title, total, unit, done=0.0):
        amounts, notes = [done], []
        try:
            yield _Watched(amounts, notes)
        except BaseException as error:
            self.shown.append((title, sum(amounts), total, unit, type(error).__name__))
            raise
        self.shown.append((title, sum(amounts), total, unit, *notes))


class _Watched:
    def __init__(self, amounts, notes):
        self.amounts, self.notes = amounts, notes

    def advance(self, amount=1.0):
        self.amounts.append(amount)

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "work_of_tests.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    from work_of_tests import Work

    yield Work()
    del sys.modules["work_of_tests"]


def cells_in(tmp_path, horizons):
    cells = [
        Cell(RunConfig(device="cpu"), k, 42, Path("store"), Path("manifest"), tmp_path / f"k{k}")
        for k in horizons
    ]
    for cell in cells:
        cell.folder.mkdir()
    return cells


def outcomes(tmp_path, work, horizons, **options):
    """Horizon -> error, of cells that are run side by side."""
    engine = ProcessesEngine(ProcessesOptions(**options))
    found = {one.unit.horizon: one.error for one in engine.run(cells_in(tmp_path, horizons), work)}
    left = [" ".join(one.cmdline()) for one in psutil.Process().children()]
    assert not [one for one in left if "spawn_main" in one]
    return found


def test_a_process_that_is_killed_is_followed_by_another(tmp_path, work):
    work.progress = Watched()
    assert outcomes(tmp_path, work, (1, 2, 4), workers=2) == {1: "", 2: "", 4: "fails on purpose"}
    assert len([*(tmp_path / "k2").glob("begun-*")]) == 2
    assert work.progress.said == [
        "A process ended, by SIGKILL: its work is begun again, attempt 2 of 3."
    ]


def test_a_cell_whose_processes_die_is_failed_and_the_others_go_on(tmp_path, work):
    found = outcomes(tmp_path, work, (3, 1, 5, 6), workers=1, attempts=2)
    assert found[3].startswith("2 processes died over it, the last by SIGKILL.")
    assert "fewer engine.workers" in found[3]
    assert found[5].startswith("2 processes died over it, the last with exit code 3.")
    assert (found[1], found[6]) == ("", "")
    assert len([*(tmp_path / "k3").glob("begun-*")]) == 2


def test_progress_of_processes_is_shown_here(tmp_path, work):
    work.progress = Watched()
    outcomes(tmp_path, work, (1, 3), workers=2, attempts=1, threads=1)
    assert sorted(work.progress.shown, key=str) == [
        ("cell 1", 10.0, 10, "steps", "1 threads"),
        ("cell 3", 0.0, 10, "steps", "InterruptedError"),
    ]


def test_a_process_that_ends_slowly_keeps_nobody_waiting(tmp_path, work):
    class Observes(Watched):
        def task(self, title, *args, **kwargs):
            if title == "cell 8":
                (tmp_path / "k8" / "observed").touch()
            return super().task(title, *args, **kwargs)

    work.progress = Observes()
    assert outcomes(tmp_path, work, (7, 8), workers=2) == {7: "", 8: ""}


@pytest.mark.parametrize("of_the_shell", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_stop_that_work_swallows_or_a_shell_ignores_leaves_a_checkpoint(
    tmp_path, work, of_the_shell
):
    engine = ProcessesEngine(ProcessesOptions(workers=2))
    before = signal.signal(signal.SIGTERM, of_the_shell)
    try:
        with closing(engine.run(cells_in(tmp_path, (9, 10)), work)) as running:
            assert next(running).unit.horizon == 10
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "k9" / "checkpoint").exists()
    assert not (tmp_path / "k9" / "done").exists()


def test_work_that_cannot_travel_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"cannot be sent to another process.*\n.*top of a"):
        outcomes(tmp_path, lambda _: None, (1,))


def test_each_process_has_one_gpu_where_there_are_several(monkeypatch):
    import torch

    from latentbench.engines.processes import _Crew

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")

    def crew(device):
        cells = [Cell(RunConfig(device=device), k, 42, *3 * [Path()]) for k in (1, 2, 4)]
        return _Crew(cells, print, ProcessesOptions())

    assert crew("auto").size == 2
    assert [crew("auto")._gpu_of(place) for place in range(3)] == [
        {"CUDA_VISIBLE_DEVICES": "4"},
        {"CUDA_VISIBLE_DEVICES": "6"},
        {"CUDA_VISIBLE_DEVICES": "4"},
    ]
    assert crew("cuda:1")._gpu_of(0) == {}
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert crew("cuda")._gpu_of(1) == {"CUDA_VISIBLE_DEVICES": "1"}


@contextmanager
def started(tmp_path, *arguments):
    """The command line in a process group of its own, which does not outlive the block."""
    command = [sys.executable, "-m", "latentbench", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        env=environment,
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            for one in family(process.pid):
                one.kill()


def family(group):
    """Living processes of a process group."""
    return [
        one
        for one in psutil.process_iter(["status"])
        if one.info["status"] != psutil.STATUS_ZOMBIE and group_of(one) == group
    ]


def group_of(process):
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


def wait_for(word, stream):
    for line in stream:
        if word in line:
            return
    pytest.fail(f"'{word}' was never said")


def workers_of(command):
    return [one for one in family(command.pid) if "spawn_main" in " ".join(one.cmdline())]


def nobody_is_left(group, seconds=30):
    """Whether all processes of a group end soon."""
    until = time.monotonic() + seconds
    while family(group) and time.monotonic() < until:
        psutil.wait_procs(family(group), timeout=0.1)
    return not family(group)


def run(tmp_path, *arguments):
    with started(tmp_path, *arguments) as command:
        told, said = command.communicate(timeout=200)
    assert command.returncode == 0, said
    return told, said


def frames(folder):
    return pq.read_table(folder / "frames.parquet")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run by the engine `local`."""
    folder = tmp_path_factory.mktemp("local")
    cache = ("--cache", folder / "cache")
    run(folder, *RUN, *cache, "--steps", STEPS, "--out", folder / "run")
    return folder / "run"


def settings(reference, tmp_path):
    cache = ("--cache", reference.parent / "cache")
    return (*RUN, *cache, "--steps", STEPS, "--out", tmp_path / "run", *PROCESSES)


def test_a_process_killed_while_it_trains_changes_no_number_and_json_is_json(tmp_path, reference):
    """Numbers are those of `local`, and standard output is what `--json` promises."""
    with started(tmp_path, *settings(reference, tmp_path), "--json") as command:
        wait_for("train k=2: 0/", command.stderr)
        for one in workers_of(command):  # whichever is at it
            one.kill()
        told, said = command.communicate(timeout=200)
    assert command.returncode == 0, said
    assert "by SIGKILL: its work is begun again, attempt 2 of 3" in said
    assert json.loads(told)["horizons"]
    assert frames(tmp_path / "run").equals(frames(reference))
    rollouts = [pq.read_table(one / "rollout.parquet") for one in (tmp_path / "run", reference)]
    assert rollouts[0].equals(rollouts[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_ended_run_leaves_no_process_and_continues(tmp_path, reference, number):
    with started(tmp_path, *settings(reference, tmp_path)) as command:
        wait_for("train k=2: 0/", command.stderr)
        if number == signal.SIGINT:  # a terminal sends it to all
            os.killpg(command.pid, number)
        else:
            command.send_signal(number)
        command.wait(timeout=60)
        assert nobody_is_left(command.pid)
    assert command.returncode == {2: 130, 15: 143, 9: -9}[number]
    assert [*(tmp_path / "run").glob("cells/*/*.checkpoint")]
    _, said = run(tmp_path, *settings(reference, tmp_path))
    assert "Training goes on from step" in said
    assert frames(tmp_path / "run").equals(frames(reference))


DIES = """
import os, signal
from latentbench.hookspecs import hookimpl
from latentbench.predictors.mdn import MixtureDensityNetwork
from latentbench.predictors.plugin import MdnOptions
from latentbench.specs import PredictorSpec

print("a print while it is imported")

@hookimpl
def latentbench_predictors():
    yield PredictorSpec(
        name="dies", summary="its process dies at horizon 2", factory=f"{__name__}:Dies",
        options=MdnOptions,
    )

class Dies(MixtureDensityNetwork):
    def fit(self, frames, training):
        print("a print before a training")
        if frames.horizon == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(frames, training)
"""


def test_a_cell_that_kills_its_processes_is_failed_in_the_result(tmp_path):
    (tmp_path / "dies.py").write_text(DIES)
    arguments = (
        *("--plugin", tmp_path / "dies.py", *RUN, "--predictor", "dies", "--steps", "20"),
        *("--cache", tmp_path / "cache", "--out", tmp_path / "run", *PROCESSES, "--json"),
    )
    with started(tmp_path, *arguments) as command:
        told, said = command.communicate(timeout=200)
    assert command.returncode == 1, said
    assert "a print before a training" in said
    by_k = {one["k"]: one for one in json.loads(told)["horizons"]}
    assert by_k[1]["status"] == "done"
    assert by_k[2]["status"] == "failed"
    assert "3 processes died over it" in json.dumps(by_k[2])


SCRIPT = """
import latentbench as lb
lb.run(
    encoder="latents", corpus={"name": "world:ar1", "speakers": 4, "dim": 4}, steps=3,
    utterances={"min_seconds": 0}, horizons=[1], predictor={"name": "mdn", "width": 8},
    engine="processes", device="cpu", out="run", cache="cache", progress=False,
)
"""


def test_a_script_without_a_guard_is_told_to_have_one(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "A process ended before it began its work, with exit code 1" in ended.stderr
    assert "below `if __name__ == '__main__':`" in ended.stderr
