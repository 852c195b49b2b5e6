"""The built-in transforms of latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Lt

from latentbench.hookspecs import hookimpl
from latentbench.specs import TransformSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PcaOptions", "ShuffledFramesOptions", "latentbench_transforms"]


@dataclass(frozen=True)
class PcaOptions:
    """Options of `pca`; `pca:32` is short for 32 components."""

    components: Annotated[int, Ge(0), "how many, by variance; 0: all that carry any"] = 0
    whiten: Annotated[bool, "scale every component to unit variance"] = False
    keep: Annotated[
        float, Gt(0), Lt(1), "least share of the largest variance that a component must have"
    ] = 1e-6


@dataclass(frozen=True)
class ShuffledFramesOptions:
    """Options of `shuffled-frames`."""

    seed: Annotated[int, Ge(0), "of the order"] = 0


@hookimpl
def latentbench_transforms() -> Iterator[TransformSpec]:
    """Yield the built-in transforms."""
    yield TransformSpec(
        name="standardize",
        summary="every dimension to mean 0 and variance 1 on train",
        factory="latentbench.latents.transform:Standardize",
    )
    yield TransformSpec(
        name="pca",
        summary="the first principal components of train, whitened or not",
        factory="latentbench.latents.transform:Pca",
        options=PcaOptions,
    )
    yield TransformSpec(
        name="shuffled-frames",
        summary="control: the frames of every utterance in random order",
        factory="latentbench.latents.transform:ShuffledFrames",
        options=ShuffledFramesOptions,
    )
