"""Properties of latents that make a likelihood meaningless: measured on a sample, and explained.

Constant dimensions, repeated frames, digital silence, values on a lattice, and directions without
variance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from latentbench.latents.latents import Latents

__all__ = ["Degeneracy", "LatentFacts", "check_latents", "degeneracies"]

PAIRS = 8_192
# A dimension is on a lattice where values recur, and differ by whole steps that are no rounding.
MOST_DISTINCT = 0.5
LEAST_STEP = 1e-3
WHOLE = 0.01
# Directions of less variance than this share of the largest are noise of float32.
TINY = 1e-6
# Shares of frames or values from which a reader must be told.
MANY_REPEATS = 0.001
MUCH_SILENCE = 0.05
MOSTLY = 0.5


@dataclass(frozen=True)
class LatentFacts:
    """Properties of a sample of the frames of one side.

    Attributes:
        frames: looked at.
        dim: D.
        constant_dims: dimensions that hold one value only.
        repeats: share of frames equal to the one before in every dimension.
        silent: share of frames whose audio is exactly zero.
        lattice: share of the values of all other dimensions that lie on the lattice of their
            dimension.
        lattice_step: the median distance of its points; 0 where there is none.
        effective_rank: exp of the entropy of the eigenvalues of the covariance, relative to
            their sum (Roy & Vetterli, EUSIPCO 2007); None where there are no more frames than
            dimensions.
        tiny_directions: eigenvalues below 1e-6 of the largest; None likewise.
    """

    frames: int
    dim: int
    constant_dims: int
    repeats: float
    silent: float
    lattice: float
    lattice_step: float
    effective_rank: float | None
    tiny_directions: int | None


@dataclass(frozen=True)
class Degeneracy:
    """One property that spoils a likelihood.

    Attributes:
        name: in a few words, for a stamp.
        sentence: what was found, what it does, and what helps.
        bounds_nothing: whether NLL has no lower bound, so that a model may look as good as it
            likes.
    """

    name: str
    sentence: str
    bounds_nothing: bool = False


def check_latents(
    stored: Latents, seen: Latents, side: Sequence[int], pairs: int = PAIRS
) -> LatentFacts | None:
    """Look at evenly spaced pairs of consecutive frames of one side.

    Args:
        stored: as the encoder gave them: repeats and lattices are theirs.
        seen: the same as the predictor sees them, after the transforms: constant dimensions
            and directions without variance are its business.
        side: its utterances, as indices into `utterances` of either.
        pairs: how many pairs at most.

    Returns:
        None where no utterance of the side has two frames.
    """
    rows = _sample(stored, side, pairs)
    if not len(rows):
        return None
    first, second = stored.gather(rows).numpy(), stored.gather(rows + 1).numpy()
    lattice, step = _lattice(np.concatenate([first, second]))
    both = np.unique(np.concatenate([rows, rows + 1]))
    values = seen.gather(both).numpy()
    rank, tiny = _spectrum(values)
    return LatentFacts(
        frames=len(both),
        dim=seen.dim,
        constant_dims=int((np.ptp(values, axis=0) == 0).sum()),
        repeats=float((first == second).all(1).mean()),
        silent=float((stored.energy[both] == 0).mean()),
        lattice=lattice,
        lattice_step=step,
        effective_rank=rank,
        tiny_directions=tiny,
    )


def degeneracies(latents: LatentFacts | None) -> Iterator[Degeneracy]:
    """Explain what is wrong with latents to a reader of their scores."""
    if latents is None:
        return
    if latents.lattice > MOSTLY:
        yield Degeneracy(
            "lattice",
            f"{latents.lattice:.1%} of the values lie on a lattice of step "
            f"{latents.lattice_step:.4g}: a continuous NLL is unbounded below; dither the latents",
            bounds_nothing=True,
        )
    if latents.constant_dims:
        yield Degeneracy(
            "constant dimensions",
            f"{latents.constant_dims} of {latents.dim} dimensions are constant: a continuous NLL "
            "is unbounded below; drop them with --transform pca",
            bounds_nothing=True,
        )
    if latents.repeats > MANY_REPEATS:
        yield Degeneracy(
            "repeated frames",
            f"{latents.repeats:.1%} of the frames equal the frame before: at k = 1 their change "
            "is exactly 0, and a narrow density there is worth any number of nats",
            bounds_nothing=True,
        )
    if latents.tiny_directions and latents.tiny_directions > latents.constant_dims:
        yield Degeneracy(
            "directions without variance",
            f"{latents.tiny_directions} of {latents.dim} directions have less than 1e-6 of the "
            f"largest variance (effective rank {latents.effective_rank:.1f}): they dominate "
            f"log-determinants; --transform pca:{latents.dim - latents.tiny_directions} drops them",
        )
    if latents.silent > MUCH_SILENCE:
        yield Degeneracy(
            "digital silence",
            f"the audio of {latents.silent:.1%} of the frames is exactly zero: these frames are "
            "alike and easy",
        )


def _sample(latents: Latents, side: Sequence[int], pairs: int) -> NDArray[np.int64]:
    """Rows that have a next one in their utterance, evenly spaced over the frames of a side."""
    spans = [latents.utterances[index] for index in side]
    rows = [np.arange(one.start, one.start + one.frames - 1, dtype=np.int64) for one in spans]
    if not rows:
        return np.empty(0, np.int64)
    everything = np.concatenate(rows)
    chosen = np.linspace(0, len(everything) - 1, min(pairs, len(everything))).round()
    sampled: NDArray[np.int64] = everything[np.unique(chosen.astype(np.int64))]
    return sampled


def _lattice(values: NDArray[np.float32]) -> tuple[float, float]:
    """Share of values [N, D] on a lattice of their dimension, and the median step."""
    on, steps, varying = 0.0, [], 0
    for column in values.T.astype(np.float64):
        points = np.unique(column)
        if len(points) == 1:
            continue
        varying += 1
        if len(points) > MOST_DISTINCT * len(column):
            continue
        gaps = np.diff(points)
        step = gaps.min()
        if step < LEAST_STEP * column.std():
            continue
        offset = (column - points[0]) / step
        on += float((np.abs(offset - offset.round()) < WHOLE).mean())
        steps.append(step)
    return (on / varying, float(np.median(steps))) if steps else (0.0, 0.0)


def _spectrum(values: NDArray[np.float32]) -> tuple[float | None, int | None]:
    """Effective rank and count of tiny directions of frames [N, D]."""
    frames, dim = values.shape
    if frames <= dim:
        return None, None
    centred = values.astype(np.float64)
    centred -= centred.mean(0)
    scatter = centred.T @ centred
    if not 0 < np.trace(scatter) < np.inf:  # nan as well
        return None, None
    eigenvalues = np.linalg.eigvalsh(scatter).clip(0)
    share = eigenvalues / eigenvalues.sum()
    positive = share[share > 0]
    rank = float(np.exp(-(positive * np.log(positive)).sum()))
    return rank, int((eigenvalues < TINY * eigenvalues[-1]).sum())
