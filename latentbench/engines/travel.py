"""Work that is sent to another process, and what becomes of it there; for every engine.

Imports nothing heavy: how many threads libraries use is decided when they are imported.
"""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

from latentbench.errors import LatentbenchError, UsageError
from latentbench.signals import insisting, raising

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["attempt", "limit_threads", "packed", "unpacked"]

SECONDS_TO_END = 5.0  # of work, after a signal raised in it
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


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
