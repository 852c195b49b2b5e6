"""Rollout: score true frames under contexts made of the model's own frames (docs/rollout.md).

From true x_0..x_{t0-1}, t0 = max(W-1+k, m), the model goes on by itself: it draws the target of
t >= t0 from x̂_{t-k-W+1..t-k} and moves, x̂_t = x̂_{t-m} + draw (target `delta`) or x̂_t = draw
(target `x`). The NLL of the true target in that density is compared with the teacher-forced one.
A predictor of whole utterances sees as far back as in scoring, and goes on from what it keeps.

A context ends k frames before its target, so the next k frames never wait for one another: all
utterances advance together, k frames in one call. The first such call sees true frames only;
its gap is exactly 0. So is that of any context whose frames were all given back as true.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import torch

from latentbench.device import seeded
from latentbench.errors import UsageError, nearest
from latentbench.metrics.columns import NORM_FLOOR, nll, nll_baseline
from latentbench.metrics.scoring import score, unvalidated
from latentbench.predictors.densities import most_likely_component
from latentbench.predictors.sequences import SequencePredictor
from latentbench.rollout.figures import STATE_COLUMNS
from latentbench.tasks import TaskFrames, WindowTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch.distributions import Distribution

    from latentbench.config import RunConfig
    from latentbench.latents import Latents
    from latentbench.predictors import Predictor
    from latentbench.progress import Meter

__all__ = [
    "NEVER",
    "Injection",
    "Mode",
    "frames_made",
    "move",
    "own_mode",
    "rolled_frames",
    "rollout",
    "rollout_frames",
]

Mode: TypeAlias = Literal["mean", "sample", "component"]
Kind: TypeAlias = Literal["never", "once", "every", "until", "teacher"]

KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
COUNTED = ("once", "every", "until")

# The original seeded its choice of utterances with 42 + 20,000 + k, and left out those with a
# single frame to score.
SEED_OFFSET = 20_000
LEAST_FRAMES = 2


@dataclass(frozen=True)
class Injection:
    """Injection schedule: when a rollout receives the true frame in place of its own.

    The model's first own frame, t0, is that of step 1. What is replaced is the frame as the
    model's later contexts and sums see it; what the model made of it is still scored.

    Attributes:
        kind: `never`; `once`, at step n; `every`, at steps n, 2n, ...; `until`, at steps 1..n, a
            prompt; `teacher`, at every step.
        steps: n, at least 1; of no meaning where the kind has none.
    """

    kind: Kind = "never"
    steps: int = 1

    @classmethod
    def parse(cls, text: str) -> Injection:
        """Read `never`, `once:N`, `every:N` (or `each:N`), `until:N` or `teacher`.

        Raises:
            UsageError: anything else; names the nearest.
        """
        name, colon, number = text.partition(":")
        kind = KINDS.get("every" if name == "each" else name)
        if kind is None:
            known = [f"{one}:N" if one in COUNTED else one for one in KINDS]
            raise UsageError(f"'{text}' is no way to inject true frames.", nearest(text, known))
        if kind not in COUNTED:
            if colon:
                raise UsageError(f"'{text}' counts nothing.", f"Write '{kind}'.")
            return cls(kind)
        if not number.isdecimal() or int(number) < 1:
            raise UsageError(
                f"'{text}' does not say after how many steps.",
                f"Write '{kind}:N' with a whole number of at least 1, e.g. '{kind}:8'.",
            )
        return cls(kind, int(number))

    def __str__(self) -> str:
        return f"{self.kind}:{self.steps}" if self.kind in COUNTED else self.kind

    def at_steps(self, count: int) -> NDArray[np.bool_]:
        """Whether the frames of steps 1..count are true, bool [count]."""
        step = np.arange(1, count + 1)
        if self.kind == "once":
            return np.asarray(step == self.steps)
        if self.kind == "every":
            return np.asarray(step % self.steps == 0)
        if self.kind == "until":
            return np.asarray(step <= self.steps)
        return np.full(count, self.kind == "teacher")


NEVER = Injection()


def move(density: Distribution, mode: Mode) -> torch.Tensor:
    """Pick the vector a model moves by, [B, D]: mean, sample, or mean of its likeliest component.

    Raises:
        UsageError: the density does not tell its most likely component.
    """
    if mode == "mean":
        return density.mean
    if mode == "sample":
        return density.sample()
    return most_likely_component(density)


def own_mode(predictor: Predictor) -> Mode:
    """What a run moves a predictor by: its mean as published, samples if that is all it gives."""
    return "sample" if predictor.density == "samples" else "mean"


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
    """Choose the frames that a rollout scores, t0, t0 + 1, …, of utterances as published.

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


def rolled_frames(
    config: RunConfig,
    latents: Latents,
    utterances: Sequence[int],
    horizon: int,
    *,
    target: str | None = None,
    count: int | None = None,
) -> TaskFrames:
    """Those of `rollout_frames` that a run asks for, all times in frames.

    Args:
        config: of the run.
        latents: of the run.
        utterances: indices of its eval side.
        horizon: k.
        target: `delta` or `x`; by default the run's.
        count: utterances that are drawn; by default as many as the run does.
    """
    task, rolled = config.task, config.rollout
    return rollout_frames(
        latents,
        utterances,
        context_frames=task.context_frames,
        horizon=horizon,
        target=target or task.target,
        step=task.step_frames,
        count=rolled.utterances if count is None else count,
        max_frames=rolled.max_frames,
        seed=config.rollout_seed,
    )


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
        centre: mean of the latents [D]; where given, the columns of the states are added.
        seed: of the samples; the generators of the process are left as they were.
        meter: advanced by the frames rolled out.

    Returns:
        Columns in the order of `frames`: `utterance` int32, `frame` int32 (t), `depth` int32
        (t - t0 - k + 1); of a predictor with a log-density `nll_teacher`, `nll_rollout` and
        `nll_baseline` float64, inf where an NLL or its context is not finite; and the states.

        The states, float64, are x̂_t as the model made it, before a true frame takes its place,
        and x̂_{t-m} as its later contexts see it: `state_error` ||x̂_t - x_t||; `change_cosine` of
        x̂_t - x̂_{t-m} and x_t - x_{t-m}, norms floored at 1e-8; `change_norm` and
        `true_change_norm`, their norms; `deviation` ||x̂_t - mean||² and `true_deviation`
        ||x_t - mean||²; `lagged_product` <x̂_t - mean, x̂_{t-1} - mean> and `previous_deviation`
        ||x̂_{t-1} - mean||², and the same of true frames. Over all other utterances at the same t,
        the mean of ||x̂_t - x_t'|| (`distance_to_true`), of ||x̂_t - x̂_t'|| (`distance_to_own`)
        and of ||x_t - x_t'|| (`distance_of_true`); nan where there is no other. Norms of what is
        not finite are inf, its cosine and products nan.

    Raises:
        ValueError: the frames of an utterance do not start at t0 or have gaps.
        UsageError: the density does not tell its most likely component.
    """
    scored = predictor.density != "samples"
    taught = score(
        predictor,
        baseline,
        frames,
        {"nll_teacher": nll, "nll_baseline": nll_baseline} if scored else {},
        max_frames=len(frames),
        batch_size=batch_size,
        device=device,
    )
    with torch.inference_mode(), unvalidated(), seeded(seed, device):
        rolled = _Rollout(predictor, frames, mode, inject, device=device, centre=centre)
        rolled.run(meter)
    columns: dict[str, NDArray[np.generic]] = {
        "utterance": frames.utterance,
        "frame": frames.t,
        "depth": frames.t - rolled.t0 - frames.horizon + 1,
    }
    if scored:
        # The same contexts in a batch of another size would differ in the last bit.
        free = np.where(rolled.true_context, taught["nll_teacher"], rolled.nll)
        every = {"nll_teacher": taught["nll_teacher"], "nll_rollout": free}
        every["nll_baseline"] = taught["nll_baseline"]
        columns |= {name: np.where(np.isfinite(one), one, np.inf) for name, one in every.items()}
    return columns | rolled.states


def frames_made(
    predictor: Predictor,
    frames: TaskFrames,
    *,
    device: torch.device,
    mode: Mode = "mean",
    inject: Injection = NEVER,
    seed: int = 42,
) -> torch.Tensor:
    """The frames that a rollout makes, before any true frame takes their place.

    Args:
        predictor: on `device`, in evaluation mode.
        frames: of `rollout_frames`; where they are without context, so is the model.
        device: where the densities are computed.
        mode: what the model moves by.
        inject: which of its frames are given back as they truly were; by `teacher` every frame
            made is a prediction over one staleness.
        seed: of the samples; the generators of the process are left as they were.

    Returns:
        float32 [N, D], in the order of `frames`; nan from where a context is not finite.
    """
    with torch.inference_mode(), unvalidated(), seeded(seed, device):
        rolled = _Rollout(predictor, frames, mode, inject, device=device, centre=None)
        rolled.made = torch.empty(len(frames), frames.dim)
        rolled.run(None)
    return rolled.made


class _Rollout:
    """The state of all utterances, longest first, so that those still going come first."""

    def __init__(
        self,
        predictor: Predictor,
        frames: TaskFrames,
        mode: Mode,
        inject: Injection,
        *,
        device: torch.device,
        centre: torch.Tensor | None,
    ) -> None:
        self.density = predictor.density
        self.frames = frames
        self.mode = mode
        self.device = device
        self.sequence: SequencePredictor | None = None
        if isinstance(predictor, SequencePredictor) and not frames.blind:
            self.sequence = predictor
        self.memory: Any = None  # what that keeps of the frames so far
        self.density_of = self.sequence.density_of if self.sequence else predictor
        self.reach = self.sequence.reach if self.sequence else frames.context_frames
        # The first frame that has a whole context and a true x_{t-m} before it.
        self.t0 = max(frames.context_frames - 1 + frames.horizon, frames.step)
        first = np.flatnonzero(np.diff(frames.utterance, prepend=-1))
        counts = np.diff(first, append=len(frames))
        if not np.array_equal(
            frames.t, np.arange(len(frames)) - np.repeat(first, counts) + self.t0
        ):
            raise ValueError("the frames of a rollout start at t0 and follow one another")
        order = np.argsort(-counts, kind="stable")
        self.first, self.counts = first[order], counts[order]
        self.injected = inject.at_steps(int(counts.max(initial=0)))
        self.nll = np.empty(len(frames))
        self.made: torch.Tensor | None = None  # to be filled in where it is there
        self.states: dict[str, NDArray[np.generic]] = {}
        if centre is not None:
            self.centre = centre.to(device).double()
            self.states = {name: np.empty(len(frames)) for name in STATE_COLUMNS}

    @property
    def true_context(self) -> NDArray[np.bool_]:
        """Of every frame, whether its context holds true frames only."""
        made = np.concatenate([np.zeros(self.t0, np.bool_), ~self.injected])
        before = np.concatenate([[0], np.cumsum(made)])
        end = self.frames.t - self.frames.horizon + 1
        return np.asarray(before[end] == before[np.maximum(end - self.reach, 0)])

    def run(self, meter: Meter | None) -> None:
        """Fill in the NLL of every frame under the model's own frames, and the states."""
        if not len(self.frames):
            return
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
            given = self._given(state, start, *at)
            scores, draws = self._predict(given, targets[torch.from_numpy(number)])
            self.nll[number] = scores.cpu().numpy()
            moves = draws.new_zeros(going, k, self.frames.dim)
            moves[at] = draws
            true = self._true_frames(number, at, moves)
            made, changes, before = self._advance(state, moves, true, start)
            if self.made is not None:
                self.made[torch.from_numpy(number)] = made[at].float().cpu()
            if self.states:
                own, truly = made[at], true[at]
                self._record(number, own, truly, changes[at], before[at])
                for one in range(k):
                    here = column == one
                    self._record_distances(number[here], own[here], truly[here])
            if meter is not None:
                meter.advance(len(number))

    def _given(
        self, frames: torch.Tensor, start: int, who: torch.Tensor, column: torch.Tensor
    ) -> torch.Tensor:
        """What tells the frame `start` + column of each utterance: a window [B, W, D] or a state.

        Args:
            frames: of each utterance so far, [U, T, D].
            start: a multiple of k.
            who: utterances [B].
            column: less than k, [B].
        """
        k, end = self.frames.horizon, self.t0 + start
        if self.sequence is not None:
            newest = frames[:, end - k if start else 0 : end]
            # An infinite frame that a predictor clips would leave the state finite.
            newest = newest.masked_fill(~newest.isfinite(), torch.nan)
            states, self.memory = self.sequence.go_on(newest, self.memory)
            return states[:, -k:][who, column]
        oldest = end - k - self.frames.context_frames + 1
        window = oldest + column.unsqueeze(-1) + torch.arange(self.frames.context_frames)
        context = frames[who.unsqueeze(-1), window]
        return torch.zeros_like(context) if self.frames.blind else context

    def _predict(
        self, given: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """NLL [B] of the targets, and the draws [B, D] to move by.

        A context that is not finite is not shown to the predictor: its frame scores inf, and
        its draw is nan. So is it with a state that is not.
        """
        finite = given.isfinite().flatten(1).all(dim=-1)
        scores = torch.full_like(target[:, 0], torch.inf, dtype=torch.float64)
        draws = torch.full_like(target, torch.nan)
        if finite.any():
            density: Distribution = self.density_of(given[finite])
            if self.density != "samples":
                scores[finite] = -density.log_prob(target[finite]).double()
            draws[finite] = move(density, self.mode).to(draws.dtype)
        return scores, draws

    def _advance(
        self, state: torch.Tensor, moves: torch.Tensor, true: torch.Tensor, start: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Write the frames of steps start, start + 1, ... into the state.

        Returns:
            The frames as the model made them, their changes x̂_t - x̂_{t-m}, and the frames x̂_{t-1}
            before them, each [U, k, D].
        """
        going, k, _ = moves.shape
        made, changes, before = (torch.empty_like(moves) for _ in range(3))
        for ahead_by in range(k):
            step = start + ahead_by  # a block may reach beyond the longest utterance
            here = self.t0 + step
            previous, own = state[:going, here - self.frames.step], moves[:, ahead_by]
            if self.frames.target == "delta":
                made[:, ahead_by], changes[:, ahead_by] = own + previous, own
            else:
                made[:, ahead_by], changes[:, ahead_by] = own, own - previous
            before[:, ahead_by] = state[:going, here - 1]
            given_back = step < len(self.injected) and self.injected[step]
            state[:going, here] = (true if given_back else made)[:, ahead_by]
        return made, changes, before

    def _true_frames(
        self, number: NDArray[np.int64], at: tuple[torch.Tensor, torch.Tensor], moves: torch.Tensor
    ) -> torch.Tensor:
        """The true frames in the places of `moves`, [U, k, D]; zeros where none is needed."""
        true = torch.zeros_like(moves)
        if self.states or self.injected.any():
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

    def _record(
        self,
        number: NDArray[np.int64],
        made: torch.Tensor,
        true: torch.Tensor,
        change: torch.Tensor,
        before: torch.Tensor,
    ) -> None:
        """Fill in the states of the frames numbered `number`; all else [B, D]."""
        true_change = self.frames.with_target("delta").targets(number).to(self.device).double()
        earlier = self.frames.latents.gather(self.frames.rows[number] - 1).to(self.device)
        made, true, change = made.double(), true.double(), change.double()
        here, there, last, truly = (
            one.double() - self.centre for one in (made, true, before, earlier)
        )
        norm, true_norm = _norm(change), _norm(true_change)
        floored = norm.clamp_min(NORM_FLOOR) * true_norm.clamp_min(NORM_FLOOR)
        cosine = (change * true_change).sum(-1) / floored
        found = {
            "state_error": _norm(made - true),
            "change_cosine": cosine.masked_fill(~cosine.isfinite(), np.nan),
            "change_norm": norm,
            "true_change_norm": true_norm,
            "deviation": _norm(here).square(),
            "true_deviation": _norm(there).square(),
            "lagged_product": (here * last).sum(-1),
            "true_lagged_product": (there * truly).sum(-1),
            "previous_deviation": _norm(last).square(),
            "true_previous_deviation": _norm(truly).square(),
        }
        self._keep(number, found)

    def _record_distances(
        self, number: NDArray[np.int64], made: torch.Tensor, true: torch.Tensor
    ) -> None:
        """Fill in the mean distances among the frames [B, D], all of one t."""
        own, truly = made.double(), true.double()
        found = {
            "distance_to_true": _apart(own, truly),
            "distance_to_own": _apart(own, own),
            "distance_of_true": _apart(truly, truly),
        }
        self._keep(number, found)

    def _keep(self, number: NDArray[np.int64], found: Mapping[str, torch.Tensor]) -> None:
        for name, one in found.items():
            self.states[name][number] = one.cpu().numpy()


def _apart(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The mean distance of each of [U, D] from all but its own row of the other, [U]."""
    distances = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
    others = (distances.sum(-1) - distances.diagonal()) / (len(first) - 1 or torch.nan)
    return torch.where(first.isfinite().all(-1), others, torch.inf)


def _norm(vectors: torch.Tensor) -> torch.Tensor:
    """[B], inf where a vector is not finite."""
    return vectors.square().sum(-1).sqrt().nan_to_num(nan=np.inf, posinf=np.inf)
