"""What latentbench needs to be run on worlds: corpora, an encoder, the exact predictor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le, Lt

from latentbench.hookspecs import hookimpl
from latentbench.specs import CorpusSpec, EncoderSpec, PredictorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "WORLD_OPTIONS",
    "Ar1Options",
    "ExactOptions",
    "IidOptions",
    "ScaleMixtureOptions",
    "SignSymmetricOptions",
    "StateSpaceOptions",
    "SwitchingOptions",
    "VarOptions",
    "WorldOptions",
    "latentbench_corpora",
    "latentbench_encoders",
    "latentbench_predictors",
]


@dataclass(frozen=True)
class WorldOptions:
    """Options of every world."""

    dim: Annotated[int, Gt(0), Le(4096), "dimensions of a frame, D"] = 8
    speakers: Annotated[int, Ge(2), Le(10_000), "independent sources of utterances"] = 48
    utterances: Annotated[int, Gt(0), Le(10_000), "utterances of each speaker"] = 4
    frames: Annotated[int, Gt(0), Le(100_000), "frames of each utterance"] = 100
    seed: Annotated[int, Ge(0), "of the draws"] = 0


@dataclass(frozen=True)
class IidOptions(WorldOptions):
    """Options of `world:iid`."""

    dim: Annotated[int, Gt(0), Le(4096), "dimensions of a frame, D"] = 512


@dataclass(frozen=True)
class Ar1Options(WorldOptions):
    """Options of `world:ar1`."""

    dim: Annotated[int, Gt(0), Le(4096), "dimensions of a frame, D"] = 32
    rho: Annotated[float, Gt(-1), Lt(1), "autocorrelation of each dimension"] = 0.64


@dataclass(frozen=True)
class VarOptions(WorldOptions):
    """Options of `world:var`."""

    fastest: Annotated[float, Gt(-1), Lt(1), "smallest eigenvalue of A"] = 0.1
    slowest: Annotated[float, Gt(-1), Lt(1), "largest eigenvalue of A"] = 0.95
    rotation_seed: Annotated[int, Ge(0), "of the rotations of A and of the noise"] = 1


@dataclass(frozen=True)
class StateSpaceOptions(WorldOptions):
    """Options of `world:state-space`."""

    rho: Annotated[float, Gt(-1), Lt(1), "autocorrelation of the slowest state"] = 0.95
    noise: Annotated[float, Gt(0), "standard deviation of the observation noise"] = 0.5
    rotation_seed: Annotated[int, Ge(0), "of the mixing of the states"] = 1


@dataclass(frozen=True)
class ScaleMixtureOptions(WorldOptions):
    """Options of `world:scale-mixture`."""

    ratio: Annotated[float, Gt(1), "standard deviation of the wide frames over the narrow"] = 4.0
    wide: Annotated[float, Gt(0), Lt(1), "share of the wide frames"] = 0.3


@dataclass(frozen=True)
class SwitchingOptions(WorldOptions):
    """Options of `world:switching`."""

    ratio: Annotated[float, Gt(1), "standard deviation of the wide frames over the narrow"] = 4.0
    stay: Annotated[float, Gt(0), Lt(1), "probability that the next frame's scale is the same"] = (
        0.9
    )


@dataclass(frozen=True)
class SignSymmetricOptions(WorldOptions):
    """Options of `world:sign-symmetric`."""

    distance: Annotated[float, Gt(0), "of either peak from the origin, in its deviations"] = 4.0


@dataclass(frozen=True)
class ExactOptions:
    """Options of `exact`."""

    world: Annotated[str, "the world's name without 'world:', e.g. ar1"] = ""
    parameters: Annotated[
        dict[str, float], "options of that world that are not its defaults, e.g. {rho: 0.9}"
    ] = field(default_factory=dict)


# World -> its options and one line of what it shows.
WORLD_OPTIONS: dict[str, tuple[type[WorldOptions], str]] = {
    "iid": (IidOptions, "White noise: what no context can tell, and ΔNLL(1) claims"),
    "ar1": (Ar1Options, "Independent AR(1) dimensions: all in closed form"),
    "var": (VarOptions, "VAR(1) along rotated axes: what diagonal families miss"),
    "state-space": (StateSpaceOptions, "Hidden states in noise: every context frame counts"),
    "scale-mixture": (ScaleMixtureOptions, "Loud and quiet frames at random: capacity alone"),
    "switching": (SwitchingOptions, "Loud and quiet spells: context without direction"),
    "sign-symmetric": (SignSymmetricOptions, "Two peaks: ΔNLL where the mean says nothing"),
}


@hookimpl
def latentbench_corpora() -> Iterator[CorpusSpec]:
    """Yield a corpus of latents for every world."""
    for name, (options, shows) in WORLD_OPTIONS.items():
        yield CorpusSpec(
            name=f"world:{name}",
            summary=shows,
            factory="latentbench.corpora.world:WorldCorpus",
            options=options,
            licence="CC0-1.0",
        )


@hookimpl
def latentbench_encoders() -> Iterator[EncoderSpec]:
    """Yield the encoder of corpora that hold latents already."""
    yield EncoderSpec(
        name="latents",
        summary="Passes frames through: for corpora that hold latents already",
        factory="latentbench.encoders.latents:LatentsEncoder",
    )


@hookimpl
def latentbench_predictors() -> Iterator[PredictorSpec]:
    """Yield the optimal predictor of a world."""
    yield PredictorSpec(
        name="exact",
        summary="the exact conditional density of a world; learns nothing",
        factory="latentbench.worlds.exact:exact",
        options=ExactOptions,
    )
