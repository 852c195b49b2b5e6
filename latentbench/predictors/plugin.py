"""The predictors that come with latentbench: what they are called and which options they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from latentbench.hookspecs import hookimpl
from latentbench.specs import PredictorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MarginalOptions", "MdnOptions", "latentbench_predictors"]


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


@hookimpl
def latentbench_predictors() -> Iterator[PredictorSpec]:
    """Yield the mixture density network and the marginal baseline."""
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
