"""Options of `lookup`, and how many keys it has by default; loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

__all__ = ["KEYS", "LookupOptions"]

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
