"""The built-in factorisations; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Lt

from latentbench.hookspecs import hookimpl
from latentbench.specs import FactorizationSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "LinearOptions",
    "OriginalOptions",
    "ProjectionOptions",
    "RandomOptions",
    "RssmOptions",
    "latentbench_factorizations",
]


@dataclass(frozen=True)
class ProjectionOptions:
    """Options of `pca`, and of every projection."""

    dim: Annotated[int, Gt(0), "dimensions of z_dyn, d"] = 8
    keep: Annotated[
        float, Gt(0), Lt(1), "least share of the largest variance that a direction must have"
    ] = 1e-4


@dataclass(frozen=True)
class LinearOptions(ProjectionOptions):
    """Options of `linear`."""

    lags: Annotated[int, Gt(0), "past frames that the one-step prediction sees"] = 4


@dataclass(frozen=True)
class RandomOptions(ProjectionOptions):
    """Options of `random`."""

    seed: Annotated[int, Ge(0), "of the directions"] = 0


@dataclass(frozen=True)
class RssmOptions(ProjectionOptions):
    """Options of `rssm`."""

    innovation: Annotated[int, Ge(0), "dimensions of z_rec; 0: as many as the latents"] = 0
    budget: Annotated[
        float, Ge(0), "nats per frame that z_rec may carry; 0: as many as the bound asks for"
    ] = 0.0
    width: Annotated[int, Gt(0), "of the hidden layers"] = 128
    steps: Annotated[int, Gt(0), "of training"] = 2_000
    batch_size: Annotated[int, Gt(0), "stretches in a batch"] = 32
    frames: Annotated[int, Gt(1), "of a stretch, at most of the median utterance"] = 50
    learning_rate: Annotated[float, Gt(0), "of Adam, falling to 0 by a cosine"] = 2e-3
    seed: Annotated[int, Ge(0), "of weights, batches and draws"] = 0


@dataclass(frozen=True)
class OriginalOptions:
    """Options of `original`; the defaults are those published."""

    dim: Annotated[int, Gt(0), "dimensions of z_dyn, d"] = 128
    innovation: Annotated[int, Gt(0), "dimensions of z_rec"] = 16
    budget: Annotated[float, Ge(0), "nats per frame that the KL is held to"] = 2.0
    width: Annotated[int, Gt(0), "of both GRUs and of the MLPs; the decoder has twice that"] = 256
    steps: Annotated[int, Gt(0), "of training"] = 50_000
    warmup: Annotated[int, Gt(0), "steps until the KL is held to its budget"] = 10_000
    batch_size: Annotated[int, Gt(0), "whole utterances in a batch"] = 16
    learning_rate: Annotated[float, Gt(0), "of AdamW"] = 3e-4
    seed: Annotated[int, Ge(0), "of weights, batches and draws"] = 0


@hookimpl
def latentbench_factorizations() -> Iterator[FactorizationSpec]:
    """Yield the built-in factorisations."""
    yield FactorizationSpec(
        name="none",
        summary="the latents as they are",
        factory="latentbench.factorizations.factorization:Unfactored",
    )
    yield FactorizationSpec(
        name="linear",
        summary="the most predictable directions, in closed form",
        factory="latentbench.factorizations.projections:Linear",
        options=LinearOptions,
    )
    yield FactorizationSpec(
        name="pca",
        summary="control: the directions of most variance",
        factory="latentbench.factorizations.projections:Principal",
        options=ProjectionOptions,
    )
    yield FactorizationSpec(
        name="random",
        summary="control: random directions of the whitened latents",
        factory="latentbench.factorizations.projections:Random",
        options=RandomOptions,
    )
    yield FactorizationSpec(
        name="rssm",
        summary="a recurrent state told by the past, beside an innovation with a budget",
        factory="latentbench.factorizations.rssm:Rssm",
        options=RssmOptions,
    )
    yield FactorizationSpec(
        name="original",
        summary="the published attempt, whose state sees its own frame",
        factory="latentbench.factorizations.original:Original",
        options=OriginalOptions,
    )
