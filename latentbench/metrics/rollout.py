"""Rollout: score true frames under contexts made of the model's own frames (docs/rollout.md).

From true x_0..x_{t0-1}, t0 = max(W-1+k, m), the model goes on by itself: it draws the target of
t >= t0 from x̂_{t-k-W+1..t-k} and moves, x̂_t = x̂_{t-m} + draw (target `delta`) or x̂_t = draw
(target `x`). The NLL of the true target in that density is compared with the teacher-forced one.

A context ends k frames before its target, so the next k frames never wait for one another: all
utterances advance together, k frames in one call. The first such call sees true frames only;
its gap is exactly 0. So is that of any context whose frames were all given back as true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.metrics.columns import nll, nll_baseline
from latentbench.metrics.injection import NEVER
from latentbench.metrics.moves import move
from latentbench.metrics.scoring import score, seeded, unvalidated
from latentbench.metrics.states import StateColumns
from latentbench.tasks import TaskFrames, WindowTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch.distributions import Distribution

    from latentbench.latents import Latents
    from latentbench.metrics.injection import Injection
    from latentbench.metrics.moves import Mode
    from latentbench.predictors import Predictor
    from latentbench.progress import Meter

__all__ = ["rollout", "rollout_frames"]

# The original seeded its choice of utterances with 42 + 20,000 + k, and left out those with a
# single frame to score.
SEED_OFFSET = 20_000
LEAST_FRAMES = 2


def rollout_frames(
    latents: Latents,
    utterances: Sequence[int],
    *,
    context_frames: int,
    horizon: int,
    target: str,
    step: int = 1,
    count: int,
    max_frames: int,
    seed: int = 42,
) -> TaskFrames:
    """The frames a rollout scores: t0, t0 + 1, … of a few utterances, chosen as published.

    The list `utterances` is shuffled by numpy's `default_rng(seed + 20000 + k)` and its first
    `count` are taken. Of each, the frames t0 <= t < `max_frames` are scored; one that has fewer
    than two of them is left out, and no other takes its place.
    """
    order = [int(index) for index in utterances]
    np.random.default_rng(seed + SEED_OFFSET + horizon).shuffle(order)
    task = WindowTask(context_frames, horizon, target, frame_set="own", step=step)
    least = task.first_frame + LEAST_FRAMES
    usable = [u for u in order[:count] if min(latents.utterances[u].frames, max_frames) >= least]
    frames = task.frames(latents, usable)
    return frames.where(frames.t < max_frames)


def rollout(
    predictor: Predictor,
    baseline: Predictor,
    frames: TaskFrames,
    *,
    batch_size: int,
    device: torch.device,
    mode: Mode = "mean",
    inject: Injection = NEVER,
    centre: torch.Tensor | None = None,
    seed: int = 42,
    meter: Meter | None = None,
) -> dict[str, NDArray[np.generic]]:
    """Roll the predictor out over `frames` and score every one of them.

    Args:
        predictor: moved to `device` and left in evaluation mode.
        baseline: likewise.
        frames: of `rollout_frames`.
        batch_size: of the teacher-forced scores.
        device: where the densities are computed and the model's frames are kept.
        mode: what the model moves by: the `mean` of its density, a `sample` of it, or the mean
            of its most likely `component`.
        inject: which of the model's frames are given back as they truly were.
        centre: mean of the latents [D]; where given, the columns of `StateColumns` are added.
        seed: of the samples; the generators of the process are left as they were.
        meter: advanced by the frames rolled out.

    Returns:
        Columns in the order of `frames`: `utterance` int32, `frame` int32 (t), `depth` int32
        (t - t0 - k + 1), `nll_teacher`, `nll_rollout`, `nll_baseline` float64. An NLL that is
        not finite, or whose context is not, is stored as inf.

    Raises:
        ValueError: the frames of an utterance do not start at t0 or have gaps.
        UsageError: the density does not tell its most likely component.
    """
    taught = score(
        predictor,
        baseline,
        frames,
        {"nll_teacher": nll, "nll_baseline": nll_baseline},
        max_frames=len(frames),
        batch_size=batch_size,
        device=device,
    )
    states = None if centre is None else StateColumns(len(frames), centre.to(device))
    with torch.inference_mode(), unvalidated(), seeded(seed, device):
        rolled = _Rollout(predictor, frames, mode, inject, device)
        free = rolled.run(states, meter)
    # The same contexts in a batch of another size would differ in the last bit.
    free[rolled.true_context] = taught["nll_teacher"][rolled.true_context]
    return {
        "utterance": frames.utterance,
        "frame": frames.t,
        "depth": frames.t - rolled.t0 - frames.horizon + 1,
        "nll_teacher": _or_inf(taught["nll_teacher"]),
        "nll_rollout": _or_inf(free),
        "nll_baseline": _or_inf(taught["nll_baseline"]),
        **(states.columns if states is not None else {}),
    }


class _Rollout:
    """The state of all utterances, longest first, so that those still going come first."""

    def __init__(
        self,
        predictor: Predictor,
        frames: TaskFrames,
        mode: Mode,
        inject: Injection,
        device: torch.device,
    ) -> None:
        self.predictor = predictor
        self.frames = frames
        self.mode = mode
        self.device = device
        self.t0 = _start(frames)
        first = np.flatnonzero(np.diff(frames.utterance, prepend=-1))
        counts = np.diff(first, append=len(frames))
        if not np.array_equal(
            frames.t, np.arange(len(frames)) - np.repeat(first, counts) + self.t0
        ):
            raise ValueError("the frames of a rollout start at t0 and follow one another")
        order = np.argsort(-counts, kind="stable")
        self.first, self.counts = first[order], counts[order]
        self.injected = inject.at_steps(int(counts.max(initial=0)))

    @property
    def true_context(self) -> NDArray[np.bool_]:
        """Of every frame, whether its context holds true frames only."""
        made = np.concatenate([np.zeros(self.t0, np.bool_), ~self.injected])
        before = np.concatenate([[0], np.cumsum(made)])
        end = self.frames.t - self.frames.horizon + 1
        return np.asarray(before[end] == before[end - self.frames.context_frames])

    def run(self, states: StateColumns | None, meter: Meter | None) -> NDArray[np.float64]:
        """The NLL of every frame under the model's own frames; fills in `states`."""
        free = np.empty(len(self.frames), dtype=np.float64)
        if not len(self.frames):
            return free
        state = self._true_start()
        targets = self.frames.targets(np.arange(len(self.frames), dtype=np.int64)).to(self.device)
        k = self.frames.horizon
        for start in range(0, int(self.counts[0]), k):
            # Frame t0 + step of the utterance in row `who`, for all that are that long.
            going = int(np.searchsorted(-self.counts, -start))
            ahead = start + np.arange(k)
            who, column = np.nonzero(ahead < self.counts[:going, None])
            step = ahead[column]
            number = self.first[who] + step
            at = torch.from_numpy(who), torch.from_numpy(column)
            oldest = self.t0 - k - self.frames.context_frames + 1
            window = oldest + step[:, None] + np.arange(self.frames.context_frames)
            context = state[torch.from_numpy(who)[:, None], torch.from_numpy(window)]
            scores, draws = self._predict(context, targets[torch.from_numpy(number)])
            free[number] = scores.cpu().numpy()
            moves = draws.new_zeros(going, k, self.frames.dim)
            moves[at] = draws
            true = self._true_frames(number, at, moves, needed=states is not None)
            made, changes = self._advance(state, moves, true, start)
            if states is not None:
                change = self.frames.with_target("delta").targets(number).to(self.device)
                states.record(number, made[at], true[at], changes[at], change)
            if meter is not None:
                meter.advance(len(number))
        return free

    def _advance(
        self, state: torch.Tensor, moves: torch.Tensor, true: torch.Tensor, start: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the frames of steps start, start + 1, ... into the state.

        Returns:
            The frames as the model made them and their changes x̂_t - x̂_{t-m}, each [U, k, D].
        """
        going, k, _ = moves.shape
        made, changes = torch.empty_like(moves), torch.empty_like(moves)
        for ahead_by in range(k):
            here = self.t0 + start + ahead_by
            previous, own = state[:going, here - self.frames.step], moves[:, ahead_by]
            if self.frames.target == "delta":
                made[:, ahead_by], changes[:, ahead_by] = own + previous, own
            else:
                made[:, ahead_by], changes[:, ahead_by] = own, own - previous
            given_back = self._is_injected(start + ahead_by)
            state[:going, here] = true[:, ahead_by] if given_back else made[:, ahead_by]
        return made, changes

    def _is_injected(self, step: int) -> bool:
        """Whether the frame t0 + step is; a block may reach beyond the longest utterance."""
        return step < len(self.injected) and bool(self.injected[step])

    def _true_frames(
        self,
        number: NDArray[np.int64],
        at: tuple[torch.Tensor, torch.Tensor],
        moves: torch.Tensor,
        *,
        needed: bool,
    ) -> torch.Tensor:
        """The true frames in the places of `moves`, [U, k, D]; zeros where none is needed."""
        true = torch.zeros_like(moves)
        if needed or self.injected.any():
            true[at] = self.frames.latents.gather(self.frames.rows[number]).to(self.device)
        return true

    def _true_start(self) -> torch.Tensor:
        """Frames 0..t0-1 of each utterance, true, and room for the model's own, [U, T, D]."""
        blocks = -(-int(self.counts[0]) // self.frames.horizon)
        state = torch.zeros(
            (len(self.counts), self.t0 + blocks * self.frames.horizon, self.frames.dim),
            device=self.device,
        )
        rows = self.frames.rows[self.first][:, None] + np.arange(-self.t0, 0)
        state[:, : self.t0] = self.frames.latents.gather(rows).to(self.device)
        return state

    def _predict(
        self, context: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """NLL [B] of the targets, and the draws [B, D] to move by.

        A context that is not finite is not shown to the predictor: its frame scores inf, and
        its draw is nan.
        """
        finite = context.isfinite().all(dim=-1).all(dim=-1)
        scores = torch.full_like(target[:, 0], torch.inf, dtype=torch.float64)
        draws = torch.full_like(target, torch.nan)
        if finite.any():
            density: Distribution = self.predictor(context[finite])
            scores[finite] = -density.log_prob(target[finite]).double()
            draws[finite] = move(density, self.mode).to(draws.dtype)
        return scores, draws


def _start(frames: TaskFrames) -> int:
    """t0, the first frame that has a whole context and a true x_{t-m} before it."""
    return max(frames.context_frames - 1 + frames.horizon, frames.step)


def _or_inf(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(values), values, np.inf)
