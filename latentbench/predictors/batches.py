"""Training batches on the device, prepared ahead by a background thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from latentbench.tasks import Batch

if TYPE_CHECKING:
    from types import TracebackType

    import torch
    from typing_extensions import Self

    from latentbench.predictors.predictor import Units
    from latentbench.predictors.sampling import IndexBatches

__all__ = ["PreparedBatches"]

AHEAD = 2
POLL_SECONDS = 0.1


class PreparedBatches(Iterator[Batch]):
    """The batches of `indices`, gathered while the ones before are computed on.

    A context manager: the thread starts on entering and has ended on leaving. What goes wrong
    while gathering is raised where the batch would have come.

    Args:
        units: where windows and targets come from.
        indices: which frames make up each batch, without end.
        device: where batches go; for CUDA through pinned memory, without waiting.
    """

    def __init__(self, units: Units, indices: IndexBatches, device: torch.device) -> None:
        self._units = units
        self._indices = indices
        self._device = device
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._prepare, name="batches", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def __next__(self) -> Batch:
        """The next batch, on the device."""
        item = self._ready.get()
        if isinstance(item, BaseException):
            raise item
        return Batch(
            item.context.to(self._device, non_blocking=True),
            item.target.to(self._device, non_blocking=True),
        )

    def _prepare(self) -> None:
        pin = self._device.type == "cuda"
        try:
            for which in self._indices:
                batch = self._units.batch(which)
                if pin:
                    batch = Batch(batch.context.pin_memory(), batch.target.pin_memory())
                if not self._put(batch):
                    return
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            self._put(error)

    def _put(self, item: Batch | BaseException) -> bool:
        """Wait for room; False once nobody wants any more."""
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False
