"""Latents of many utterances as one table of rows, gathered from memory maps without copies."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Latents", "StoredUtterance"]


@dataclass(frozen=True)
class StoredUtterance:
    """Where the frames of one utterance are.

    Attributes:
        id: of the corpus.
        speaker: of the corpus.
        start: row of its first frame among all rows.
        frames: how many rows it has; they follow one another.
        segment: which stretch of the utterance this is, where its encoder works in chunks.
        attributes: what the corpus says of it, e.g. `{"sex": "F"}`.
    """

    id: str
    speaker: str
    start: int
    frames: int
    segment: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)


class Latents:
    """Rows of latents across shards, addressed by one global row number.

    Args:
        shards: float32 or float16 [rows, D] each, in the order of their rows; memory maps stay on
            disk.
        energy: float32 [all rows], RMS of the audio of each frame.
        utterances: in the order of streaming; an utterance lies inside one shard.
        frame_rate: frames per second.
    """

    def __init__(
        self,
        shards: Sequence[torch.Tensor],
        energy: NDArray[np.float32],
        utterances: Sequence[StoredUtterance],
        frame_rate: float,
    ) -> None:
        self.utterances = tuple(utterances)
        self.energy = energy
        self.frame_rate = frame_rate
        self.dim = int(shards[0].shape[1]) if shards else 0
        self._shards = tuple(shards)
        self._map: Callable[[torch.Tensor], torch.Tensor] = _unchanged
        self._order: NDArray[np.int64] | None = None
        ends = np.cumsum([shard.shape[0] for shard in shards], dtype=np.int64)
        self._ends = ends
        self._starts = ends - np.array([shard.shape[0] for shard in shards], dtype=np.int64)

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, NDArray[np.float32]],
        speakers: Mapping[str, str],
        *,
        frame_rate: float = 12.5,
        energy: NDArray[np.float32] | None = None,
    ) -> Latents:
        """Latents held in memory: utterance id -> [F, D], utterance id -> speaker."""
        utterances, start = [], 0
        for name, array in arrays.items():
            utterances.append(StoredUtterance(name, speakers[name], start, len(array)))
            start += len(array)
        rows = np.concatenate(list(arrays.values())).astype(np.float32, copy=False)
        if energy is None:
            energy = np.zeros(start, dtype=np.float32)
        return cls([torch.from_numpy(rows)], energy, utterances, frame_rate)

    def mapped(self, function: Callable[[torch.Tensor], torch.Tensor], dim: int) -> Latents:
        """These latents seen through a map of rows [N, D] -> [N, dim], computed when gathered."""
        before = self._map
        return self._changed(_map=lambda rows: function(before(rows)), dim=dim)

    def reordered(self, order: NDArray[np.int64]) -> Latents:
        """These latents with row i holding what row `order[i]` held, energy included."""
        composed = order if self._order is None else self._order[order]
        return self._changed(_order=composed, energy=self.energy[order])

    def gather(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """The latents of `rows` (any shape), float32 [*rows.shape, D]."""
        flat = rows.reshape(-1)
        if self._order is not None:
            flat = self._order[flat]
        return self._map(self._stored(flat)).reshape(*rows.shape, self.dim)

    def utterance(self, index: int) -> torch.Tensor:
        """All frames of one utterance, [F, D]."""
        one = self.utterances[index]
        return self.gather(np.arange(one.start, one.start + one.frames, dtype=np.int64))

    def _changed(self, **attributes: Any) -> Latents:
        view = copy.copy(self)
        vars(view).update(attributes)
        return view

    def _stored(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """The rows as the shards hold them, [N, stored D]."""
        if len(self._shards) == 1:
            return self._shards[0].index_select(0, torch.from_numpy(rows)).float()
        width = self._shards[0].shape[1] if self._shards else 0
        found = torch.empty((rows.size, width), dtype=torch.float32)
        shard_of = np.searchsorted(self._ends, rows, side="right")
        for shard in np.unique(shard_of):
            here = np.flatnonzero(shard_of == shard)
            local = torch.from_numpy(rows[here] - self._starts[shard])
            found[torch.from_numpy(here)] = self._shards[shard].index_select(0, local).float()
        return found


def _unchanged(rows: torch.Tensor) -> torch.Tensor:
    return rows
