"""The predictors that come with latentbench: what they are called and which options they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Lt

from latentbench.hookspecs import hookimpl
from latentbench.predictors.engram.options import CONTROLS, EngramOptions
from latentbench.predictors.lookup.options import LookupOptions, MemoryOptions
from latentbench.predictors.neural.options import DENSITIES, Head, NeuralOptions
from latentbench.specs import DensityBy, PredictorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "LinearOptions",
    "MarginalFullOptions",
    "MarginalOptions",
    "MdnOptions",
    "MdnRobustOptions",
    "PersistenceOptions",
    "RssmOptions",
    "ShuffledContextOptions",
    "latentbench_predictors",
]


@dataclass(frozen=True)
class MdnOptions:
    """Options of `mdn`; the defaults are Phase 1's."""

    components: Annotated[int, Gt(0), "diagonal Gaussians in the mixture, K"] = 8
    width: Annotated[int, Gt(0), "units of each of the two hidden layers"] = 1024
    log_sigma_min: Annotated[float, "lower clamp of log sigma"] = -7.0
    log_sigma_max: Annotated[float, "upper clamp of log sigma"] = 2.0


@dataclass(frozen=True)
class MarginalOptions:
    """Options of `marginal`."""

    floor: Annotated[float, Gt(0), "smallest variance of a dimension"] = 1e-6


@dataclass(frozen=True)
class MarginalFullOptions(MarginalOptions):
    """Options of `marginal-full`."""

    eigenvalue_floor: Annotated[
        float, Gt(0), Lt(1), "smallest eigenvalue of the correlations, relative to the largest"
    ] = 1e-6


@dataclass(frozen=True)
class PersistenceOptions(MarginalOptions):
    """Options of `persistence`."""

    gain: Annotated[
        Literal["one", "fitted"],
        "one = the last observed value itself, fitted = a regression of each dimension on its own",
    ] = "one"


@dataclass(frozen=True)
class LinearOptions(MarginalFullOptions):
    """Options of `linear`; `eigenvalue_floor` is that of the full residual covariance."""

    covariance: Annotated[Literal["diagonal", "full"], "of the Gaussian residuals"] = "diagonal"
    ridge: Annotated[
        float, Ge(0), "added to the variance of each feature, relative to it; raised if need be"
    ] = 1e-9


@dataclass(frozen=True)
class ShuffledContextOptions(MdnOptions):
    """Options of `shuffled-context`."""

    reservoir: Annotated[int, Gt(0), "training contexts that are kept to be shown"] = 1024


@dataclass(frozen=True)
class MdnRobustOptions(MarginalOptions):
    """Options of `mdn-robust`; `floor` is that of the marginal inside."""

    components: Annotated[int, Gt(0), "learned components of the mixture, K"] = 8
    width: Annotated[int, Gt(0), "units of each of the two hidden layers"] = 1024
    tails: Annotated[Literal["gaussian", "student-t"], "of the learned components"] = "gaussian"
    sigma_floor: Annotated[float, Gt(0), Lt(1), "smallest sigma, relative to the marginal's"] = 0.01
    clip: Annotated[float, Gt(0), "bound of the standardised context"] = 5.0
    marginal_weight: Annotated[float, Gt(0), Lt(1), "smallest weight of the marginal"] = 1e-3
    context_noise: Annotated[
        float, Ge(0), "noise on standardised contexts in training, standard deviation"
    ] = 0.0


@dataclass(frozen=True)
class RssmOptions(NeuralOptions):
    """Options of `rssm`: those of `neural`, of another backbone and head."""

    backbone: Annotated[
        Literal["mlp", "gru", "transformer"], "what reads the context: its window, or utterances"
    ] = "gru"
    head: Annotated[Head, "what gives the density"] = "latent"


@hookimpl
def latentbench_predictors() -> Iterator[PredictorSpec]:
    """Yield the ladder, from the baselines to the mixture density networks."""
    yield PredictorSpec(
        name="mdn",
        summary="mixture density network: flattened context, two GELU layers, K Gaussians",
        factory="latentbench.predictors.mdn:MixtureDensityNetwork",
        options=MdnOptions,
    )
    yield PredictorSpec(
        name="marginal",
        summary="one diagonal Gaussian fitted on all training targets; ignores the context",
        factory="latentbench.predictors.marginal:Marginal",
        options=MarginalOptions,
    )
    yield PredictorSpec(
        name="marginal-full",
        summary="one Gaussian of full covariance on all training targets; ignores the context",
        factory="latentbench.predictors.marginal:FullMarginal",
        options=MarginalFullOptions,
    )
    yield PredictorSpec(
        name="marginal-mdn",
        summary="the network of mdn fed no context: the capacity part of ΔNLL",
        factory="latentbench.predictors.mdn:UnconditionalNetwork",
        options=MdnOptions,
    )
    yield PredictorSpec(
        name="shuffled-context",
        summary="the network of mdn fed contexts of other frames: a control",
        factory="latentbench.predictors.mdn:ShuffledContextNetwork",
        options=ShuffledContextOptions,
    )
    yield PredictorSpec(
        name="persistence",
        summary="a diagonal Gaussian around the last observed value of the target",
        factory="latentbench.predictors.persistence:Persistence",
        options=PersistenceOptions,
    )
    yield PredictorSpec(
        name="linear",
        summary="exact least squares on the whole window with Gaussian residuals",
        factory="latentbench.predictors.linear:LinearPredictor",
        options=LinearOptions,
    )
    yield PredictorSpec(
        name="mdn-robust",
        summary="mdn on standardised, clipped contexts with the marginal always in the mixture",
        factory="latentbench.predictors.robust:RobustNetwork",
        options=MdnRobustOptions,
    )
    yield PredictorSpec(
        name="neural",
        summary="a backbone (window or whole utterance) and a head (densities or samples)",
        factory="latentbench.predictors.neural.network:neural",
        options=NeuralOptions,
        density=DensityBy("head", DENSITIES),
    )
    yield PredictorSpec(
        name="rssm",
        summary="a recurrent state told by the past, and a latent innovation: a bound of the NLL",
        factory="latentbench.predictors.neural.network:neural",
        options=RssmOptions,
        density=DensityBy("head", DENSITIES),
    )
    yield PredictorSpec(
        name="lookup",
        summary="a Gaussian for each of a few keys that contexts are clustered into",
        factory="latentbench.predictors.lookup.predictor:Lookup",
        options=LookupOptions,
    )
    yield PredictorSpec(
        name="memory",
        summary="what followed the nearest of 2,048 keys, a network, or both by gate or residual",
        factory="latentbench.predictors.lookup.memory:MemoryPredictor",
        options=MemoryOptions,
    )
    yield PredictorSpec(
        name="engram",
        summary="neural's window network with hashed tables of n-grams; compared with 3 controls",
        factory="latentbench.predictors.engram.predictor:EngramPredictor",
        options=EngramOptions,
        density=DensityBy("head", DENSITIES),
        controls=CONTROLS,
    )
