"""A process that does one unit of work after another; it is told which over a connection.

This module imports nothing heavy: how many threads and which GPU libraries see is decided by the
environment at the time they are imported.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
from contextlib import suppress
from multiprocessing import connection, parent_process
from typing import TYPE_CHECKING

from latentbench.engines.relay import Sender, show_elsewhere
from latentbench.engines.travel import attempt, limit_threads, unpacked
from latentbench.signals import Ended, heed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection

__all__ = ["serve"]

IGNORED = ("SIGINT", "SIGHUP")  # of a terminal: the parent has them too, and sends SIGTERM


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
