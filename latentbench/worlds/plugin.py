"""The worlds by name, and what latentbench needs to be run on them.

Imports no numerics, so that specs are listed without.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Lt

from latentbench.errors import UsageError, nearest
from latentbench.hookspecs import hookimpl
from latentbench.specs import CorpusSpec, EncoderSpec, PredictorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentbench.worlds.world import World

__all__ = [
    "DRAWN",
    "WORLDS",
    "Ar1Options",
    "ExactOptions",
    "FactoredOptions",
    "IidOptions",
    "MarkovOptions",
    "ScaleMixtureOptions",
    "SignSymmetricOptions",
    "StateSpaceOptions",
    "SwitchingOptions",
    "VarOptions",
    "WorldOptions",
    "build_world",
    "latentbench_corpora",
    "latentbench_encoders",
    "latentbench_predictors",
    "world_options",
]

# The options that say how much of a world is drawn, not which world it is.
DRAWN = frozenset({"speakers", "utterances", "frames", "seed"})


@dataclass(frozen=True)
class WorldOptions:
    """Options of every world; the docstring of a subclass says what its world shows."""

    world: ClassVar[str]  # its name, after "world:" of a corpus
    maker: ClassVar[str]  # called with the options that are not in `DRAWN`

    dim: Annotated[int, Gt(0), Le(4096), "dimensions of a frame, D"] = 8
    speakers: Annotated[int, Ge(2), Le(10_000), "independent sources of utterances"] = 48
    utterances: Annotated[int, Gt(0), Le(10_000), "utterances of each speaker"] = 4
    frames: Annotated[int, Gt(0), Le(100_000), "frames of each utterance"] = 100
    seed: Annotated[int, Ge(0), "of the draws"] = 0


@dataclass(frozen=True)
class IidOptions(WorldOptions):
    """White noise: what no context can tell, and ΔNLL(1) claims."""

    world = "iid"
    maker = "gaussian:white_noise"

    dim: Annotated[int, Gt(0), Le(4096), "dimensions of a frame, D"] = 512


@dataclass(frozen=True)
class Ar1Options(WorldOptions):
    """Independent AR(1) dimensions: all in closed form."""

    world = "ar1"
    maker = "gaussian:ar1"

    dim: Annotated[int, Gt(0), Le(4096), "dimensions of a frame, D"] = 32
    rho: Annotated[float, Gt(-1), Lt(1), "autocorrelation of each dimension"] = 0.64


@dataclass(frozen=True)
class VarOptions(WorldOptions):
    """VAR(1) along rotated axes: what diagonal families miss."""

    world = "var"
    maker = "gaussian:var"

    fastest: Annotated[float, Gt(-1), Lt(1), "smallest eigenvalue of A"] = 0.1
    slowest: Annotated[float, Gt(-1), Lt(1), "largest eigenvalue of A"] = 0.95
    rotation_seed: Annotated[int, Ge(0), "of the rotations of A and of the noise"] = 1


@dataclass(frozen=True)
class StateSpaceOptions(WorldOptions):
    """Hidden states in noise: every context frame counts."""

    world = "state-space"
    maker = "gaussian:state_space"

    rho: Annotated[float, Gt(-1), Lt(1), "autocorrelation of the slowest state"] = 0.95
    noise: Annotated[float, Gt(0), "standard deviation of the observation noise"] = 0.5
    rotation_seed: Annotated[int, Ge(0), "of the mixing of the states"] = 1


@dataclass(frozen=True)
class ScaleMixtureOptions(WorldOptions):
    """Loud and quiet frames at random: capacity alone."""

    world = "scale-mixture"
    maker = "scales:scale_mixture"

    ratio: Annotated[float, Gt(1), "standard deviation of the wide frames over the narrow"] = 4.0
    wide: Annotated[float, Gt(0), Lt(1), "share of the wide frames"] = 0.3


@dataclass(frozen=True)
class SwitchingOptions(WorldOptions):
    """Loud and quiet spells: context without direction."""

    world = "switching"
    maker = "scales:switching"

    ratio: Annotated[float, Gt(1), "standard deviation of the wide frames over the narrow"] = 4.0
    stay: Annotated[float, Gt(0), Lt(1), "probability that the next scale is the same"] = 0.9


@dataclass(frozen=True)
class SignSymmetricOptions(WorldOptions):
    """Two peaks: ΔNLL where the mean says nothing."""

    world = "sign-symmetric"
    maker = "hidden:sign_symmetric"

    distance: Annotated[float, Gt(0), "of either peak from the origin, in its deviations"] = 4.0


@dataclass(frozen=True)
class MarkovOptions(WorldOptions):
    """States of a slow chain: what a lookup of as many keys can get."""

    world = "markov"
    maker = "markov:markov"

    dim: Annotated[int, Gt(0), "dimensions of a frame, D"] = 16
    states: Annotated[int, Ge(2), "number of states, C"] = 8
    sigma: Annotated[float, Gt(0), "standard deviation of the noise; the means have 1"] = 0.05
    stay: Annotated[float, Ge(0), Lt(1), "share a of P = a I + (1 - a) Dirichlet rows"] = 0.9
    chain_seed: Annotated[int, Ge(0), "of the means and of P"] = 1


@dataclass(frozen=True)
class FactoredOptions(WorldOptions):
    """A predictable state beside innovation: what a factorisation can find."""

    world = "factored"
    maker = "gaussian:factored"

    dim: Annotated[int, Gt(1), "dimensions of a frame, D"] = 16
    predictable: Annotated[int, Gt(0), "dimensions of the state, d"] = 4
    rho: Annotated[float, Gt(-1), Lt(1), "autocorrelation of the state"] = 0.9
    tau: Annotated[float, Gt(0), "standard deviation of the innovation; the state has 1"] = 1.0
    rotation_seed: Annotated[int, Ge(0), "of the mixing"] = 1


@dataclass(frozen=True)
class ExactOptions:
    """Options of `exact`."""

    world: Annotated[str, "the world's name without 'world:', e.g. ar1"] = ""
    parameters: Annotated[
        dict[str, float], "options of that world that are not its defaults, e.g. {rho: 0.9}"
    ] = field(default_factory=dict)


WORLDS: dict[str, type[WorldOptions]] = {
    options.world: options
    for options in (
        IidOptions,
        Ar1Options,
        VarOptions,
        StateSpaceOptions,
        ScaleMixtureOptions,
        SwitchingOptions,
        SignSymmetricOptions,
        MarkovOptions,
        FactoredOptions,
    )
}


def world_options(name: str) -> type[WorldOptions]:
    """The options of the world of that name.

    Raises:
        UsageError: there is no such world; names the nearest.
    """
    if name not in WORLDS:
        raise UsageError(f"There is no world called '{name}'.", nearest(name, WORLDS))
    return WORLDS[name]


def build_world(options: WorldOptions) -> World:
    """The world that its options describe."""
    module, _, maker = options.maker.partition(":")
    which = {name: value for name, value in asdict(options).items() if name not in DRAWN}
    world: World = getattr(import_module(f"latentbench.worlds.{module}"), maker)(**which)
    return world


@hookimpl
def latentbench_corpora() -> Iterator[CorpusSpec]:
    """Yield a corpus of latents for every world."""
    for name, options in WORLDS.items():
        yield CorpusSpec(
            name=f"world:{name}",
            summary=str(options.__doc__).rstrip("."),
            factory="latentbench.worlds.world_corpus:WorldCorpus",
            options=options,
            licence="CC0-1.0",
        )


@hookimpl
def latentbench_encoders() -> Iterator[EncoderSpec]:
    """Yield the encoder of corpora that hold latents already."""
    yield EncoderSpec(
        name="latents",
        summary="Passes frames through: for corpora that hold latents already",
        factory="latentbench.encoders.passthrough:LatentsEncoder",
    )


@hookimpl
def latentbench_predictors() -> Iterator[PredictorSpec]:
    """Yield the optimal predictor of a world."""
    yield PredictorSpec(
        name="exact",
        summary="the exact conditional density of a world; learns nothing",
        factory="latentbench.predictors.exact:exact",
        options=ExactOptions,
    )
