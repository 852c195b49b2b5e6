"""Options of `engram`, and the controls it is always compared with; loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

from latentbench.predictors.lookup.options import Key, LookupOptions
from latentbench.predictors.neural.options import Head, NeuralOptions

__all__ = ["CONTROLS", "EngramOptions"]

Memory = Literal["tables", "zeroed", "shuffled", "dense"]

CONTROLS: dict[str, dict[str, Any]] = {
    "zeroed": {"memory": "zeroed"},
    "shuffled": {"memory": "shuffled"},
    "dense": {"memory": "dense"},
}


@dataclass(frozen=True)
class EngramOptions:
    """Options of `engram`; what the network and the head have otherwise is `neural`'s default."""

    memory: Annotated[
        Memory,
        "tables, or a control: zeroed = without them, shuffled = each n-gram looked up elsewhere "
        "anew, dense = a network of as many parameters in their place",
    ] = "tables"
    head: Annotated[Head, "what gives the density, as in neural"] = "mdn"
    width: Annotated[int, Gt(0), "units of the backbone's layers"] = 256
    codes: Annotated[int, Gt(1), "clusters of frames; of rvq in each level"] = 64
    quantiser: Annotated[
        Literal["kmeans", "rvq"], "how a frame becomes a code; rvq: two levels of clusters"
    ] = "kmeans"
    hashes: Annotated[int, Gt(0), "tables for each n, of a hash of their own"] = 8
    rows: Annotated[int, Gt(1), "rows of a table, about: the next primes"] = 1024
    row_width: Annotated[int, Gt(0), "numbers in a row"] = 64
    floor: Annotated[float, Gt(0), "smallest variance of a dimension of the targets"] = 1e-6
    clip: Annotated[float, Gt(0), "bound of the standardised context"] = 5.0
    context_noise: Annotated[
        float, Ge(0), "noise on standardised contexts in training, standard deviation"
    ] = 0.0
    sigma_floor: Annotated[float, Gt(0), Lt(1), "smallest sigma, relative to the marginal's"] = 0.01

    @property
    def network(self) -> NeuralOptions:
        """Those of the network and the head."""
        names = ("head", "width", "floor", "clip", "context_noise", "sigma_floor")
        return NeuralOptions(**{name: getattr(self, name) for name in names})

    @property
    def quantised(self) -> LookupOptions:
        """How frames become codes."""
        key: Key = "rvq" if self.quantiser == "rvq" else "last-kmeans"
        return LookupOptions(key=key, keys=self.codes)

    @property
    def distinct(self) -> int:
        """Codes there can be."""
        levels = self.quantised.levels if self.quantiser == "rvq" else 1
        return int(self.codes**levels)
