"""Does units of work as jobs of Slurm, by submitit.

All units are submitted as an array. A job that dies takes one attempt of its unit with it; one that
is preempted or runs out of time goes on from its checkpoint. Figures do not depend on any of that.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import submitit

from latentbench.engines import Engine, Outcome
from latentbench.engines.relay import shown_by
from latentbench.engines.travel import Task, packed
from latentbench.errors import LatentbenchError, UsageError
from latentbench.progress import SILENT
from latentbench_slurm.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from latentbench.engines import Unit
    from latentbench_slurm.plugin import SlurmOptions

__all__ = ["SlurmEngine"]

JOBS = "jobs"
ARRAY = 1000  # jobs of an array, at most: MaxArraySize of Slurm is 1001 unless it was changed
GRACE = 60.0  # seconds in which a job may write its checkpoint
SECONDS_BETWEEN_LOOKS = {"local": 0.1, "slurm": 2.0}


class SlurmEngine(Engine):
    """Units as jobs, each with the cores, GPUs and time that the options say."""

    def __init__(self, options: SlurmOptions) -> None:
        self.options = options

    def run(self, units: Sequence[Unit], work: Callable[[Any], None]) -> Iterator[Outcome]:
        """Submit a job for every unit and yield each outcome as it ends.

        Raises:
            UsageError: there is no Slurm here, it refuses the jobs, or the work cannot travel.
        """
        if not units:
            return
        if self.options.executor == "slurm" and shutil.which("sbatch") is None:
            raise UsageError(
                "There is no 'sbatch' here, by which jobs are given to Slurm.",
                "Give the command on a login node, or try it here with engine.executor=local.",
            )
        jobs = _Jobs(units, work, self.options)
        try:
            yield from jobs.run()
        finally:
            jobs.cancel()


class _Jobs:
    """The jobs of a run and what is left for them to do."""

    def __init__(self, units: Sequence[Unit], work: Any, options: SlurmOptions) -> None:
        self.options = options
        self.progress = shown_by(work) or SILENT
        self.waiting = deque(Task(unit) for unit in units)
        self.running: dict[submitit.Job[str | None], Task] = {}
        self.local = options.executor == "local"
        self.job = Job(packed(work), options.cpus, os.getpid() if self.local else 0)
        self.folder = units[0].folder.parent / JOBS
        self.executor = _executor(self.folder, options)

    def run(self) -> Iterator[Outcome]:
        """Submit the units until each has an outcome."""
        total = len(self.waiting)
        with self.progress.task(f"jobs of {self.options.executor}", total, "units") as meter:
            while self.waiting or self.running:
                self._submit()
                time.sleep(SECONDS_BETWEEN_LOOKS[self.options.executor])
                for job in [one for one in self.running if one.done()]:
                    for outcome in self._ended(job, self.running.pop(job)):
                        meter.advance()
                        yield outcome

    def cancel(self) -> None:
        """Stop what still runs; it writes its checkpoint first."""
        running = [*self.running]
        for job in running:
            self._stop(job, signal.SIGTERM)
        until = time.monotonic() + GRACE
        while self.local and not all(one.done() for one in running) and time.monotonic() < until:
            time.sleep(SECONDS_BETWEEN_LOOKS["local"])
        for job in running:
            if self.local and not job.done():
                self._stop(job, signal.SIGKILL)

    def _stop(self, job: submitit.Job[str | None], number: int) -> None:
        if not self.local:
            job.cancel(check=False)
            return
        with suppress(ProcessLookupError):  # here its id is that of the process that holds it
            os.kill(int(job.job_id), number)

    def _submit(self) -> None:
        """Submit what there is room for, many as one array."""
        room = ARRAY
        if self.local:
            room = (self.options.at_once or os.cpu_count() or 1) - len(self.running)
        while self.waiting and room > 0:
            tasks = [self.waiting.popleft() for _ in range(min(room, ARRAY, len(self.waiting)))]
            with _terminal_left_to_us():
                jobs = self._submitted([packed(one.unit) for one in tasks])
            self.running.update(zip(jobs, tasks, strict=True))
            room = 0 if self.local else ARRAY

    def _submitted(self, units: Sequence[bytes]) -> Sequence[submitit.Job[str | None]]:
        try:
            return self.executor.map_array(self.job, units)
        except submitit.core.utils.FailedJobError as error:
            raise UsageError(
                f"Slurm refuses the jobs: {error}", "Look at engine.partition, account and gpus."
            ) from error

    def _ended(self, job: submitit.Job[str | None], task: Task) -> Iterator[Outcome]:
        """The outcome of a job; none where its unit is submitted again."""
        try:
            error = self._result(job)
        except submitit.core.utils.FailedJobError as failed:
            yield Outcome(task.unit, _told(failed, job))
            return
        except submitit.core.utils.UncompletedJobError:
            yield from self._after_the_death_of(job, task)
            return
        if error is not None:
            yield Outcome(task.unit, error)
        elif self._is_cancelled(job):
            yield Outcome(task.unit, f"Its job {job.job_id} was cancelled.")
        else:
            self.progress.say(f"Job {job.job_id} was stopped: its work is submitted again.")
            self.waiting.append(task)

    def _result(self, job: submitit.Job[str | None]) -> str | None:
        """What a job returned; here a file that is not there yet does not come."""
        if self.local and not job.paths.result_pickle.exists():
            raise submitit.core.utils.UncompletedJobError
        return job.result()

    def _after_the_death_of(self, job: submitit.Job[str | None], task: Task) -> Iterator[Outcome]:
        if self._is_cancelled(job):
            yield Outcome(task.unit, f"Its job {job.job_id} was cancelled.")
        elif again := task.dies(self.options.attempts):
            self.progress.say(f"Job {job.job_id} died: its work is submitted again, {again}.")
            self.waiting.appendleft(task)
        else:
            hint = f"The last log is '{job.paths.stderr}'. The same command goes on from here."
            told = f"{task.deaths} jobs died over it, the last {job.job_id}."
            yield Outcome(task.unit, str(LatentbenchError(told, hint)))

    def _is_cancelled(self, job: submitit.Job[str | None]) -> bool:
        if self.local:
            return False
        return job.watcher.get_state(job.job_id, mode="force").startswith("CANCELLED")


def _executor(folder: Any, options: SlurmOptions) -> submitit.AutoExecutor:
    executor = submitit.AutoExecutor(
        folder=folder,
        cluster=options.executor,
        **{f"{options.executor}_max_num_timeout": options.requeues},
    )
    of_slurm = {
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "constraint": options.constraint,
        "array_parallelism": options.at_once,
    }
    executor.update_parameters(
        name="latentbench",
        timeout_min=options.minutes,
        gpus_per_node=options.gpus,
        slurm_additional_parameters={"requeue": True},
        slurm_signal_delay_s=options.warning_seconds,
        **({"cpus_per_task": options.cpus} if options.cpus else {}),
        **({"mem_gb": options.memory_gb} if options.memory_gb else {}),
        **{f"slurm_{name}": value for name, value in of_slurm.items() if value},
    )
    return executor


@contextmanager
def _terminal_left_to_us() -> Iterator[None]:
    """Let no process that is started here get the signals of the terminal: it is told by us."""
    held = {signal.SIGINT, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _told(failed: Exception, job: submitit.Job[str | None]) -> str:
    """The last line of the traceback in a job, and where the rest is."""
    lines = [one for one in str(failed).splitlines() if one.strip() and not one.startswith("-")]
    trace = next((one for one in reversed(lines) if not one.startswith(("You can", " "))), "failed")
    return str(LatentbenchError(trace, f"The log of its job is '{job.paths.stderr}'."))
