"""Work that is sent to another process, and what becomes of it there; for every engine.

Imports nothing heavy: how many threads libraries use, and which GPU they see, is decided when they
are imported.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from typing import TYPE_CHECKING, Any

from latentbench.engines.relay import Sender, show_elsewhere
from latentbench.errors import LatentbenchError, UsageError
from latentbench.signals import Ended, heed, insisting, raising

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection

    from latentbench.engines.engine import Unit

__all__ = ["Task", "attempt", "limit_threads", "packed", "serve", "unpacked"]

IGNORED = ("SIGINT", "SIGHUP")  # of a terminal: the parent has them too, and sends SIGTERM
SECONDS_TO_END = 5.0  # of work, after a signal raised in it
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class Task:
    """A unit to do, and how often what did it died over it."""

    unit: Unit
    deaths: int = 0

    def dies(self, attempts: int) -> str:
        """Count a death; which of so many attempts is next, empty where none is left."""
        self.deaths += 1
        return f"attempt {self.deaths + 1} of {attempts}" if self.deaths < attempts else ""


def packed(work: Any) -> bytes:
    """The work of a run, or a unit of it, as bytes.

    Raises:
        UsageError: something in it has no name that another process could import.
    """
    try:
        return pickle.dumps(work)
    except Exception as error:  # pickle raises what the classes of a stranger raise
        raise UsageError(
            f"The work cannot be sent to another process: {error}",
            "Define components given from Python at the top of a module, or take engine=local.",
        ) from error


def limit_threads(threads: int) -> None:
    """Let every library that is imported from now on compute with so many threads."""
    os.environ.update(dict.fromkeys(THREADS, str(threads)))


def unpacked(payload: bytes, threads: int = 0) -> Any:
    """The work that `packed` made bytes of.

    Args:
        payload: from a process of the same run.
        threads: of torch; 0: as many as it takes by itself.
    """
    if threads:
        import torch  # noqa: PLC0415 - after the environment is set

        torch.set_num_threads(threads)
    return pickle.loads(payload)  # noqa: S301 - of our own run


def attempt(work: Callable[[Any], None], unit: Any) -> str:
    """Do the work of a unit; why it failed, empty where it did not.

    SIGTERM and SIGHUP raise `Ended` meanwhile, and again where the work swallows it.
    """
    with raising(), insisting(SECONDS_TO_END):
        try:
            work(unit)
        except LatentbenchError as error:
            return str(error)
    return ""


def serve(asked: Connection, payload: bytes, threads: int, environment: Mapping[str, str]) -> None:
    """Do what is asked for over the connection until it is closed.

    Each message there is a pickled unit. The answers are those of `Sender`, then
    `("done", error)`, with an empty error where the work was done.

    Args:
        asked: to the parent.
        payload: the work, pickled.
        threads: of each library that computes on the CPU.
        environment: set before anything heavy is imported.
    """
    _obey_the_parent()
    limit_threads(threads)
    os.environ.update(environment)
    sender = Sender(asked.send)
    work = unpacked(payload, threads)
    show_elsewhere(work, sender)
    sender.send("ready")
    with suppress(EOFError, ConnectionError, Ended):
        while True:
            sender.send("done", attempt(work, pickle.loads(asked.recv_bytes())))  # noqa: S301 - of our parent


def _obey_the_parent() -> None:
    """Leave the signals of the terminal to the parent, and end as by SIGTERM where it is gone."""
    for name in IGNORED:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    heed(signal.SIGTERM)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
