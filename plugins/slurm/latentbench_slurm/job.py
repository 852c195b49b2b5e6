"""A unit of work as a job: what it does when it is stopped, and how it is queued again.

A job is stopped by SIGUSR2 (or SIGUSR1), which Slurm sends some time before the job's minutes are
over: it writes its checkpoint, asks to be queued again, and goes on from there later. SIGTERM says
that it is cancelled or preempted: it writes its checkpoint and ends, and whoever submitted it
decides. What else comes of signals meanwhile is left aside: a second one would end it without a
checkpoint.
"""

from __future__ import annotations

import _thread
import os
import pickle
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from submitit.helpers import DelayedSubmission

from latentbench.display import LineProgress
from latentbench.engines.relay import show_elsewhere
from latentbench.engines.travel import attempt, limit_threads, unpacked
from latentbench.signals import Ended, heed, raising

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["STOPS", "Job"]

AGAIN = (signal.SIGUSR1, signal.SIGUSR2)
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *AGAIN)
SECONDS_BETWEEN_LOOKS = 0.5


class Job:
    """What submitit calls in a job.

    Args:
        payload: the work, by `latentbench.engines.travel.packed`.
        threads: of libraries that compute on the CPU; 0: as many as they take by themselves.
        submitter: id of the process without which the job has no reason to go on; 0 for none.
    """

    def __init__(self, payload: bytes, threads: int, submitter: int) -> None:
        self.payload = payload
        self.threads = threads
        self.submitter = submitter

    def __call__(self, unit: bytes) -> str | None:
        """Do the work of a pickled unit; why it failed, empty where it did not.

        None where it was stopped, and goes on from its checkpoint when it is submitted again.
        """
        stop = _Stop(self.submitter)
        heed(signal.SIGTERM)
        with suppress(Ended), raising():
            stop.watch()
            if self.threads:
                limit_threads(self.threads)
            work = unpacked(self.payload, self.threads)
            show_elsewhere(work, LineProgress(sys.stderr))
            return attempt(work, pickle.loads(unit))  # noqa: S301 - of our own run
        stop.queue_again()
        return None

    def checkpoint(self, unit: bytes) -> DelayedSubmission:
        """What a job that is queued again does: the same, which its files let go on."""
        return DelayedSubmission(self, unit)


class _Stop:
    """Waits for signals in a thread, and ends the work in the main thread once."""

    def __init__(self, submitter: int) -> None:
        self.submitter = submitter
        self.parent = os.getppid()
        self.came: int | None = None
        handler: Any = signal.getsignal(signal.SIGUSR2)
        self.queue: Callable[[int, None], None] | None = handler if callable(handler) else None

    def watch(self) -> None:
        """Begin; the signals are no longer delivered to handlers."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        threading.Thread(target=self._wait, daemon=True).start()

    def queue_again(self) -> None:
        """Where Slurm stopped the job, let submitit queue it again and end the process."""
        if self.came in AGAIN and self.queue is not None:
            self.queue(self.came, None)

    def _wait(self) -> None:
        while self.came is None:
            found = signal.sigtimedwait(STOPS, SECONDS_BETWEEN_LOOKS)
            if found is not None:
                self.came = found.si_signo
            elif self._is_left_alone():
                self.came = signal.SIGTERM
        _thread.interrupt_main(signal.SIGTERM)

    def _is_left_alone(self) -> bool:
        """Whether who started this process, or wants its work, is gone."""
        if not self.submitter:
            return False
        try:
            os.kill(self.submitter, 0)
        except OSError:
            return True
        return os.getppid() != self.parent
