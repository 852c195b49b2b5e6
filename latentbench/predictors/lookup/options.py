"""Options of `lookup` and `memory`, and how many keys there are by default; loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

__all__ = ["KEYS", "LookupOptions", "MemoryOptions"]

# Phase 0's counts for its two keys; of rvq for each level.
KEYS: dict[str, int] = {"pca-kmeans": 256, "flat-kmeans": 256, "rvq": 32}
USUAL_KEYS = 64

Key = Literal["last-kmeans", "mean-kmeans", "flat-kmeans", "pca-kmeans", "pca-quartile", "rvq"]


@dataclass(frozen=True)
class LookupOptions:
    """Options of `lookup`."""

    key: Annotated[Key, "what is looked up: how a context becomes one of a few keys"] = (
        "last-kmeans"
    )
    keys: Annotated[
        int | None,
        Gt(0),
        "clusters of k-means; by default 64, 256 of pca-kmeans and flat-kmeans, 32 a level of rvq",
    ] = None
    pca: Annotated[
        int, Gt(0), Le(31), "components of the flattened window, of pca-kmeans and pca-quartile"
    ] = 8
    levels: Annotated[int, Gt(0), Le(8), "levels of rvq, each on what the one before left"] = 2
    target_codes: Annotated[
        int, Gt(0), "clusters of the targets: 1 = one Gaussian per key, more = their mixture"
    ] = 1
    shrinkage: Annotated[
        float, Ge(0), "frames of the marginal that every key is given beside its own"
    ] = 10.0
    floor: Annotated[float, Gt(0), "smallest variance of a dimension"] = 1e-6
    least_frames: Annotated[
        int, Gt(0), "training frames that a key must have; one of fewer is given the marginal"
    ] = 1
    permuted: Annotated[
        bool, "a control: keys as frequent as those found, dealt out by a hash of the frame's bits"
    ] = False

    @property
    def clusters(self) -> int:
        """Of k-means; of rvq in each level."""
        return self.keys or KEYS.get(self.key, USUAL_KEYS)


@dataclass(frozen=True)
class MemoryOptions:
    """Options of `memory`; the counts are those of the original's Phase 4."""

    kind: Annotated[
        Literal["memory", "param", "hybrid", "residual"],
        "memory alone, the network alone, a gate between both, or a memory of what the network "
        "leaves",
    ] = "memory"
    keys: Annotated[int, Gt(0), "clusters of the newest frames"] = 2_048
    pairs: Annotated[int, Gt(0), "training frames that the clusters are fitted on, at most"] = (
        300_000
    )
    nearest: Annotated[int, Gt(0), "keys that answer, those closest to the newest frame"] = 8
    temperature: Annotated[
        float, Gt(0), "T of their weights, softmax(-d^2 / T), d in units of the latents"
    ] = 1.0
    shrinkage: Annotated[
        float, Ge(0), "frames that every key is given beside its own, as in lookup"
    ] = 10.0
    width: Annotated[int, Gt(0), "units of each of the network's two layers"] = 512
    gate_width: Annotated[int, Gt(0), "units of the gate of hybrid"] = 128
    floor: Annotated[float, Gt(0), "smallest variance of a dimension"] = 1e-6
    clip: Annotated[float, Gt(0), "bound of the standardised context of the network"] = 5.0
    context_noise: Annotated[
        float, Ge(0), "noise on standardised contexts in training, standard deviation"
    ] = 0.0
