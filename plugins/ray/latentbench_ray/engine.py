"""Does units of work as tasks of Ray.

A worker or a node that dies takes one attempt of its unit with it: the unit is given out again, and
goes on from its checkpoint. Figures do not depend on any of that. Files must lie where every node
sees them.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentbench.engines import Engine, Outcome
from latentbench.engines.relay import show_elsewhere, shown_by
from latentbench.engines.travel import Task, attempt, limit_threads, packed, unpacked
from latentbench.errors import LatentbenchError, UsageError
from latentbench.progress import SILENT
from latentbench.signals import heed

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Without a GPU of its own a task sees those there are as Ray says: none.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from latentbench.engines import Unit
    from latentbench_ray.plugin import RayOptions

__all__ = ["RayEngine"]

GRACE = 60.0  # seconds in which a task may write its checkpoint
SECONDS_BETWEEN_LOOKS = 0.2
GIGABYTE = 2**30


class RayEngine(Engine):
    """Units as tasks, each with the cores, GPUs and memory that the options say."""

    def __init__(self, options: RayOptions) -> None:
        self.options = options

    def run(self, units: Sequence[Unit], work: Callable[[Any], None]) -> Iterator[Outcome]:
        """Give every unit to the cluster and yield each outcome as it ends.

        Raises:
            UsageError: the cluster does not answer or has no room for a unit, or the work cannot
                travel.
        """
        if not units:
            return
        payload = packed(work)
        with _cluster(self.options):
            tasks = _Tasks(payload, shown_by(work) or SILENT, self.options)
            try:
                yield from tasks.run(units)
            finally:
                tasks.cancel()


class _Tasks:
    """What the cluster is at."""

    def __init__(self, payload: bytes, progress: Any, options: RayOptions) -> None:
        self.progress, self.options = progress, options
        self.payload = ray.put(payload)
        self.running: dict[Any, Task] = {}
        self.remote = ray.remote(_done).options(
            num_cpus=options.cpus,
            num_gpus=options.gpus,
            max_retries=0,  # we count
            **({"memory": int(options.memory_gb * GIGABYTE)} if options.memory_gb else {}),
        )
        _require_room(options)

    def run(self, units: Sequence[Unit]) -> Iterator[Outcome]:
        """Give out the units until each has an outcome."""
        for unit in units:
            self._give(Task(unit))
        with self.progress.task("tasks of ray", len(units), "units") as meter:
            while self.running:
                ready, _ = ray.wait([*self.running], timeout=SECONDS_BETWEEN_LOOKS)
                for one in ready:
                    for outcome in self._ended(one, self.running.pop(one)):
                        meter.advance()
                        yield outcome

    def cancel(self) -> None:
        """Stop what still runs; it writes its checkpoint first."""
        left = [*self.running]
        for one in left:
            with suppress(RayError):
                ray.cancel(one)
        until = time.monotonic() + GRACE
        while left and time.monotonic() < until:
            _, left = ray.wait(left, num_returns=len(left), timeout=SECONDS_BETWEEN_LOOKS)
        for one in left:
            with suppress(RayError):
                ray.cancel(one, force=True)

    def _give(self, task: Task) -> None:
        given = self.payload, self.options.cpus, Path.cwd(), packed(task.unit)
        self.running[self.remote.remote(*given)] = task

    def _ended(self, reference: Any, task: Task) -> Iterator[Outcome]:
        """The outcome of a task; none where its unit is given out again."""
        try:
            yield Outcome(task.unit, ray.get(reference))
        except TaskCancelledError:
            yield Outcome(task.unit, "It was cancelled.")
        except RayTaskError as error:
            told = f"{type(error.cause).__name__}: {error.cause}"
            where = "Its log is among those of the worker, in the folder of the Ray session."
            yield Outcome(task.unit, str(LatentbenchError(told, where)))
        except RayError as error:
            yield from self._after_the_death_of(task, _first_line(error))

    def _after_the_death_of(self, task: Task, how: str) -> Iterator[Outcome]:
        if again := task.dies(self.options.attempts):
            self.progress.say(f"A worker died: its work is given out again, {again}. {how}")
            self._give(task)
        else:
            told = f"{task.deaths} workers died over it, the last so: {how}"
            hint = "The same command goes on from what is written."
            yield Outcome(task.unit, str(LatentbenchError(told, hint)))


def _done(payload: bytes, threads: int, place: Path, unit: bytes) -> str:
    """What a worker does: why the work of a pickled unit failed, empty where it did not.

    It does it where the command was given, by which paths are told; a cluster begins elsewhere.
    """
    heed(signal.SIGINT)  # by which Ray cancels, whatever the shell of its cluster ignores
    limit_threads(threads)
    with suppress(OSError):  # a node without that folder still knows whole paths
        os.chdir(place)
    from latentbench.display import LineProgress  # noqa: PLC0415 - in the worker

    work = unpacked(payload, threads)
    show_elsewhere(work, LineProgress(sys.stderr))
    return attempt(work, unpacked(unit))


@contextmanager
def _cluster(options: RayOptions) -> Iterator[None]:
    """Ray, begun here or joined; what was there before stays as it is.

    Raises:
        UsageError: it does not answer.
    """
    if ray.is_initialized():
        yield
        return
    own: dict[str, Any] = {"address": options.address}
    if not options.address:
        cores = (options.workers or os.cpu_count() or 1) * options.cpus
        own = {"address": "local", "num_cpus": cores, "include_dashboard": False}
    try:
        ray.init(**own, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True)
    except (ConnectionError, RayError, RuntimeError, ValueError) as error:
        where = f"at '{options.address}'" if options.address else "on this machine"
        raise UsageError(
            f"Ray cannot be reached {where}: {_first_line(error)}",
            "Look at engine.address, or leave it out for a cluster of this machine's own.",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_room(options: RayOptions) -> None:
    """Refuse units that no node of the cluster has room for: they would wait for ever.

    Raises:
        UsageError: says what the largest node has.
    """
    nodes = [one["Resources"] for one in ray.nodes() if one["Alive"]]
    asked = {"CPU": float(options.cpus), "GPU": options.gpus}
    if not any(all(one.get(name, 0.0) >= much for name, much in asked.items()) for one in nodes):
        most = {name: max((one.get(name, 0.0) for one in nodes), default=0.0) for name in asked}
        raise UsageError(
            f"No node of the cluster has {asked['CPU']:g} cores and {asked['GPU']:g} GPUs for a "
            f"unit; the most are {most['CPU']:g} and {most['GPU']:g}.",
            "Ask for fewer engine.cpus or engine.gpus.",
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
