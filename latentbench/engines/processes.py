"""Runs units of work side by side, each in a process of this machine.

A process that dies, as by `kill -9` or for want of memory, takes one attempt of its unit with it
and nothing else: the unit is begun again in a new process, and goes on from its checkpoint. Plain
processes and pipes do that; an executor of `concurrent.futures` gives all its units up when one
process dies, and does not say which unit that process was at.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from contextlib import suppress
from multiprocessing import connection, get_context
from typing import TYPE_CHECKING, Any

import torch

from latentbench.engines.engine import Engine, Outcome
from latentbench.engines.relay import Receiver, shown_by
from latentbench.engines.travel import Task, packed, serve
from latentbench.errors import LatentbenchError, UsageError
from latentbench.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from latentbench.engines.engine import Unit
    from latentbench.engines.plugin import ProcessesOptions
    from latentbench.progress import Progress

__all__ = ["ProcessesEngine"]

GRACE = 60.0  # seconds in which a process may write its checkpoint
UNGUARDED = (
    "A script must begin its run below `if __name__ == '__main__':`, since every process imports "
    "it. What went wrong stands above."
)


class ProcessesEngine(Engine):
    """Several units at a time, each in a process with its own threads or its own GPU."""

    def __init__(self, options: ProcessesOptions) -> None:
        self.options = options

    def run(self, units: Sequence[Unit], work: Callable[[Any], None]) -> Iterator[Outcome]:
        """Do `work` for every unit and yield each outcome as it ends.

        Raises:
            UsageError: the work cannot be sent to a process, or no process can begin.
        """
        if not units:
            return
        crew = _Crew(units, work, self.options)
        try:
            yield from crew.run()
        finally:
            crew.dismiss()


class _Crew:
    """The processes of a run and what is left for them to do."""

    def __init__(self, units: Sequence[Unit], work: Any, options: ProcessesOptions) -> None:
        self.progress = shown_by(work) or SILENT
        self.waiting = deque(Task(unit) for unit in units)
        self.left = len(units)
        self.attempts = options.attempts
        self.gpus = _gpus(units[0].config.device)
        wanted = options.workers or len(self.gpus) or torch.get_num_threads()
        self.size = min(wanted, len(units))
        self.threads = options.threads or max(1, torch.get_num_threads() // self.size)
        self.payload = packed(work)
        self.workers: dict[int, _Worker] = {}  # by place: 0, 1, ...
        self.stillborn = 0

    def run(self) -> Iterator[Outcome]:
        """Give out the units until each has an outcome."""
        while self.left:
            self._hire()
            for place in self._stirring():
                for outcome in self._heard(place):
                    self.left -= 1
                    yield outcome

    def dismiss(self) -> None:
        """End every process: one that is at work may write its checkpoint first."""
        workers = [*self.workers.values()]
        until = time.monotonic() + GRACE
        try:
            for worker in workers:
                worker.let_go()
            for worker in workers:
                worker.process.join(max(0.0, until - time.monotonic()))
        finally:
            for worker in workers:
                worker.process.kill()
                worker.process.join()
                worker.shown.close()

    def _hire(self) -> None:
        """Begin processes as long as there is work for more of them."""
        for place in range(min(self.size, self.left)):
            if place not in self.workers:
                gpu = self._gpu_of(place)
                self.workers[place] = _Worker(self.payload, self.threads, gpu, self.progress)

    def _gpu_of(self, place: int) -> dict[str, str]:
        """What lets the process at a place see one GPU only, where there are several."""
        if len(self.gpus) <= 1:
            return {}
        return {"CUDA_VISIBLE_DEVICES": self.gpus[place % len(self.gpus)]}

    def _stirring(self) -> list[int]:
        """The places of processes that said something or ended."""
        by_handle: dict[Any, int] = {}
        for place, worker in self.workers.items():
            by_handle[worker.process.sentinel] = place
            if not worker.is_cut_off:
                by_handle[worker.connection] = place
        return sorted({by_handle[handle] for handle in connection.wait([*by_handle])})

    def _heard(self, place: int) -> Iterator[Outcome]:
        """Take all that the process at a place said; the outcomes among it."""
        worker = self.workers[place]
        ended = not worker.process.is_alive()  # asked first: what it said before is still read
        for message in worker.messages():
            if message[0] in {"ready", "done"}:
                if message[0] == "done" and worker.task is not None:
                    yield Outcome(worker.task.unit, message[1])
                worker.give(self.waiting.popleft() if self.waiting else None)
            else:
                worker.shown.take(message)
        if ended:  # not sooner: to wait for it here would keep the others waiting
            worker.process.join()
            del self.workers[place]
            worker.shown.close()
            yield from self._after_the_death_of(worker)

    def _after_the_death_of(self, worker: _Worker) -> Iterator[Outcome]:
        how, task = _how_it_ended(worker.process.exitcode), worker.task
        if not worker.was_ready:
            self.stillborn += 1
            if self.stillborn >= self.attempts or (worker.process.exitcode or 0) > 0:
                raise UsageError(f"A process ended before it began its work, {how}.", UNGUARDED)
        if task is None:
            return
        if again := task.dies(self.attempts):
            self.progress.say(f"A process ended, {how}: its work is begun again, {again}.")
            self.waiting.appendleft(task)
        else:
            yield Outcome(task.unit, _given_up(task.deaths, how))


class _Worker:
    """A process, the connection to it, and the task that it is at."""

    def __init__(
        self, payload: bytes, threads: int, environment: dict[str, str], progress: Progress
    ) -> None:
        spawn = get_context("spawn")
        self.connection, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(theirs, payload, threads, environment))
        self.process.start()
        theirs.close()
        self.shown = Receiver(progress)
        self.task: Task | None = None
        self.was_ready = self.is_cut_off = False

    def messages(self) -> Iterator[tuple[Any, ...]]:
        """What it has said since it was last asked."""
        try:
            while self.connection.poll():
                message = self.connection.recv()
                self.was_ready = True
                yield message
        except (EOFError, OSError):
            self.is_cut_off = True

    def give(self, task: Task | None) -> None:
        """Let it do a task; without one it ends."""
        self.task = task
        with suppress(OSError):  # it died meanwhile, which is heard of later
            if task is None:
                self.connection.close()
            else:
                self.connection.send_bytes(packed(task.unit))

    def let_go(self) -> None:
        """Ask it to end: at once where it is idle, else with a checkpoint."""
        self.connection.close()
        if self.task is not None or not self.was_ready:
            self.process.terminate()


def _gpus(device: str) -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that a run on `device` may use."""
    if device not in {"auto", "cuda"} or not torch.cuda.is_available():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [one.strip() for one in visible.split(",")][: torch.cuda.device_count()]
    return [str(number) for number in range(torch.cuda.device_count())]


def _how_it_ended(code: int | None) -> str:
    if code is None or code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def _given_up(deaths: int, how: str) -> str:
    return str(
        LatentbenchError(
            f"{deaths} processes died over it, the last {how}.",
            "SIGKILL is mostly the system's, where memory is short: take fewer engine.workers. "
            "The same command goes on from what is written.",
        )
    )
