"""What is wrong with the latents themselves, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.results.schema import LatentFacts

__all__ = ["Degeneracy", "degeneracies"]

# Shares of frames or values from which a reader must be told.
MANY_REPEATS = 0.001
MUCH_SILENCE = 0.05
MOSTLY = 0.5


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


def degeneracies(latents: LatentFacts | None) -> Iterator[Degeneracy]:
    """What a reader of the scores must know of these latents."""
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
