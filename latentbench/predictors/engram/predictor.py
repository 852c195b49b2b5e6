"""A network with a memory of n-grams beside it, gated by what the network makes of the context."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from latentbench.errors import UsageError
from latentbench.predictors.engram.memory import DenseMemory, NGrams, Read, TableMemory
from latentbench.predictors.lookup.clusters import windows
from latentbench.predictors.lookup.keys import keys_of
from latentbench.predictors.neural.network import WindowPredictor

if TYPE_CHECKING:
    from latentbench.predictors.engram.memory import NGramTables
    from latentbench.predictors.engram.options import EngramOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

__all__ = ["EngramPredictor"]

ORDERS = (2, 3)
GATED_FRAMES = 1_024


class EngramPredictor(WindowPredictor):
    r"""`neural`'s window network plus what a table says of the codes it has just seen.

    Frames become codes by clusters fitted on training; n-grams of 2 and of 3 codes that end at a
    frame are looked up in tables of vectors, e. With h the network's state of the window,

    .. math::
        s = \langle \mathrm{RMS}(W_K e), \mathrm{RMS}(h) \rangle / \sqrt d, \quad
        g = \sigma(\mathrm{sign}(s) \sqrt{|s|}), \quad v = g\, W_V e

    and h + v + SiLU(conv(RMS(v))) goes to the head. The convolution is causal and depthwise, over
    the frame itself and those 3, 6 and 9 before it; what a window does not hold is 0. Hashes,
    gate and convolution are those of Engram's public demonstration code (DeepSeek, 2026), whose
    h is that of each frame where this one has that of the window.

    `memory` names what stands in the place of the tables: `zeroed` the network alone, `shuffled`
    rows drawn anew for every frame, `dense` two layers on the same frames with as many parameters.

    Args:
        options: of the plugin.
        context_frames: W, at least 2.
        dim: D.

    Raises:
        UsageError: a window that holds no n-gram.
    """

    def __init__(self, options: EngramOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options.network, context_frames=context_frames, dim=dim)
        orders = [n for n in ORDERS if n <= context_frames]
        if not orders:
            raise UsageError(
                "engram looks up two frames that follow one another; a context has one.",
                "Set task.context_frames to 2 or more.",
            )
        self.engram = options
        self.keys = keys_of(options.quantised, context_frames=1, dim=dim)
        self.grams = tuple(NGrams(n, options.distinct) for n in orders)
        self.seen = nn.ModuleList(self.grams)
        self.memory, self.read = _memory(options, orders, context_frames, dim)

    def fit(self, train_frames: TaskFrames, training: Training) -> None:
        """Fit the codes, then train network, tables and head together.

        Raises:
            LatentbenchError: too few frames, frames that are not finite, or training diverged.
        """
        self.to(training.device)
        self.standardise_by(train_frames, "engram")
        looked_up = self.engram.memory in {"tables", "shuffled"} and not train_frames.blind
        if looked_up:
            self.keys.fit(train_frames, training)
            self._remember(train_frames)
        super().fit(train_frames, training)
        if looked_up and self.engram.memory == "tables":
            shown = training.validation or train_frames
            training.progress.say(
                self._remark(shown, "validation" if training.validation else "training")
            )

    def states(self, context: torch.Tensor) -> torch.Tensor:
        """One state [B, width] per window [B, W, D]."""
        shown = self.standardised(context)  # once: network and memory see the same noise
        states: torch.Tensor = self.backbone(shown)
        if self.memory is None or self.read is None:
            return states
        added: torch.Tensor = self.read(self.memory(self._codes(context), shown), states)
        return states + added

    def facts(self, frames: TaskFrames) -> dict[str, float]:
        """Shares of n-grams that training saw and that collide, the mean gate, and the ceiling.

        Those seen are of `frames`, collisions of the distinct n-grams of training, and the ceiling
        is what codes can tell, in nats.
        """
        if self.engram.memory != "tables" or frames.blind or not len(frames):
            return {}
        codes = self._ends(frames)
        hits = {
            f"hits of {grams.n}-grams": float(grams.known(grams(codes)).double().mean())
            for grams in self.grams
        }
        collisions = {
            f"collisions of {grams.n}-grams": table.collisions(grams.codes_of(grams.seen))
            for grams, table in zip(self.grams, self._tables, strict=True)
        }
        most = max(grams.n for grams in self.grams) * math.log(self.engram.distinct)
        return hits | collisions | {"gate": self._gate(frames), "ceiling": most}

    def extra_repr(self) -> str:
        """What the layers do not show; part of what a checkpoint must match."""
        return str(self.engram)

    @property
    def _tables(self) -> tuple[NGramTables, ...]:
        """Those of each order; none of a control without."""
        return self.memory.tables if isinstance(self.memory, TableMemory) else ()

    def _codes(self, context: torch.Tensor) -> torch.Tensor:
        """The code of each frame of windows [B, W, D], int64 [B, W]."""
        with torch.no_grad():
            flat: torch.Tensor = self.keys(context.reshape(-1, 1, self.dim))
        return flat.reshape(context.shape[:-1])

    def _ends(self, frames: TaskFrames) -> torch.Tensor:
        """The codes of the newest frames of all windows, int64 [N, <= 3]."""
        pieces = windows(frames, self.context_mean.device)
        return torch.cat([self._codes(one[:, -max(ORDERS) :]) for _, one in pieces])

    def _remember(self, frames: TaskFrames) -> None:
        """Note which n-grams training has."""
        codes = self._ends(frames)
        for grams in self.grams:
            grams.set_buffers(seen=torch.unique(grams(codes)))

    def _remark(self, frames: TaskFrames, side: str) -> str:
        """Hit rates, gate and ceiling, in words."""
        facts = self.facts(frames)
        told = [
            f"{100 * facts[f'hits of {grams.n}-grams']:.1f} % of the {grams.n}-grams "
            f"({len(grams.seen):,} distinct, "
            f"{100 * facts[f'collisions of {grams.n}-grams']:.1f} % share a row of a table)"
            for grams in self.grams
        ]
        return (
            f"engram at k = {frames.horizon}: of {side}, training saw {' and '.join(told)}, in "
            f"tables of {self.engram.rows:,} rows and more; the gate is {facts['gate']:.2f} "
            f"on average; codes can tell at most {facts['ceiling']:.1f} nats."
        )

    def _gate(self, frames: TaskFrames) -> float:
        """The mean over frames and places."""
        if self.memory is None or self.read is None:
            return 0.0
        which = np.linspace(0, len(frames) - 1, min(len(frames), GATED_FRAMES)).astype(np.int64)
        context = frames.batch(which).context.to(self.context_mean.device)
        with torch.no_grad():
            found = self.memory(self._codes(context), self.standardised(context))
            return float(self.read.gate(found, super().states(context)).mean())


def _memory(
    options: EngramOptions, orders: list[int], context_frames: int, dim: int
) -> tuple[TableMemory | DenseMemory | None, Read | None]:
    """What `memory` names, and what reads it; nothing where it is `zeroed`."""
    if options.memory == "zeroed":
        return None, None
    tables = TableMemory(options, orders, context_frames)
    read = Read(tables.width, options.width, len(tables.places))
    if options.memory != "dense":
        return tables, read
    count = sum(one.numel() for one in tables.parameters())
    dense = DenseMemory(orders, context_frames, dim, width=tables.width, parameters=count)
    return dense, read
