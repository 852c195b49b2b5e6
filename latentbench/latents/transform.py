"""Transforms of latents: the contract, the built-in ones, and their fitting on train."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.config import build_options
from latentbench.errors import UsageError
from latentbench.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from latentbench.config import ComponentConfig, RunConfig
    from latentbench.latents.latents import Latents
    from latentbench.latents.plugin import PcaOptions, ShuffledFramesOptions
    from latentbench.plugins import Registry
    from latentbench.specs import NoOptions

__all__ = [
    "Pca",
    "ShuffledFrames",
    "Standardize",
    "Transform",
    "fit_transforms",
    "leads_back",
    "moments",
    "principal_axes",
    "restore_transforms",
    "undo_transforms",
]

RUN_AGAIN = "Give the same 'latentbench run' command again: it is fitted again."
CHUNK = 65_536


class Transform(ABC):
    """Latents to latents; made by `factory(options)`, then fitted or given its state.

    Nothing is written again: a transform is applied to the rows a batch gathers.
    """

    @abstractmethod
    def fit(self, latents: Latents, train: Sequence[int]) -> None:
        """Learn from the train utterances (indices into `latents.utterances`) only.

        Raises:
            UsageError: the latents do not allow it, e.g. more components than dimensions.
        """

    @abstractmethod
    def apply(self, latents: Latents) -> Latents:
        """The transformed latents of every utterance; rows keep their number and order."""

    def undo(self, frames: torch.Tensor) -> torch.Tensor:
        """Transformed frames [N, d] as they were before, [N, D]; optional.

        What the transform dropped is at its mean.

        Raises:
            UsageError: there is no way back.
        """
        del frames
        raise UsageError(
            f"The transform {type(self).__name__} has no way back to the latents.",
            "Leave it out of a run that is to be heard, or write its `undo`.",
        )

    @abstractmethod
    def state(self) -> Mapping[str, torch.Tensor]:
        """All that `fit` learned, as it is saved with the run."""

    @abstractmethod
    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take what `state` gave."""


def fit_transforms(
    latents: Latents,
    sides: Mapping[str, Sequence[int]],
    config: RunConfig,
    registry: Registry,
    folder: Path,
) -> tuple[Path, ...]:
    """Fit each transform on the train latents as the ones before it leave them, and save it.

    Returns:
        The files, `transform-0-standardize.safetensors` and so on; those that are there already
        are read, not fitted again.

    Raises:
        UsageError: the latents do not allow a transform.
    """
    files = []
    for number, component in enumerate(config.transforms):
        transform = _create(component, registry)
        file = folder / f"transform-{number}-{component.name}.safetensors"
        if file.exists():
            transform.restore(load_tensors(file, RUN_AGAIN))
        else:
            transform.fit(latents, sides["train"])
            save_tensors(file, transform.state())
        latents = transform.apply(latents)
        files.append(file)
    return tuple(files)


def restore_transforms(
    latents: Latents, config: RunConfig, registry: Registry, files: Sequence[Path]
) -> Latents:
    """The latents as the fitted transforms of a run leave them."""
    for transform in _restored(config, registry, files):
        latents = transform.apply(latents)
    return latents


def leads_back(config: RunConfig, registry: Registry) -> bool:
    """Whether every transform of a run has a way back."""
    made = [_create(one, registry) for one in config.transforms]
    return all(type(one).undo is not Transform.undo for one in made)


def undo_transforms(
    frames: torch.Tensor, config: RunConfig, registry: Registry, files: Sequence[Path]
) -> torch.Tensor:
    """Frames [N, d] as they were before the fitted transforms of a run, [N, D].

    Raises:
        UsageError: one has no way back.
    """
    for transform in reversed(list(_restored(config, registry, files))):
        frames = transform.undo(frames)
    return frames


def _restored(config: RunConfig, registry: Registry, files: Sequence[Path]) -> Iterator[Transform]:
    for component, file in zip(config.transforms, files, strict=True):
        transform = _create(component, registry)
        transform.restore(load_tensors(file, RUN_AGAIN))
        yield transform


class _Affine(Transform):
    """x -> (x - mean) @ matrix, or (x - mean) * matrix where the matrix is one row."""

    mean: torch.Tensor
    matrix: torch.Tensor

    def apply(self, latents: Latents) -> Latents:
        """The latents seen through the map."""
        dim = self.matrix.shape[-1]
        return latents.mapped(self._map, dim)

    def undo(self, frames: torch.Tensor) -> torch.Tensor:
        """By the (pseudo)inverse of the map."""
        if self.matrix.ndim == 1:
            return frames / self.matrix + self.mean
        back = torch.linalg.pinv(self.matrix.double())
        undone: torch.Tensor = frames.double() @ back + self.mean
        return undone.to(frames.dtype)

    def state(self) -> Mapping[str, torch.Tensor]:
        """`mean` [D] and `matrix`, [D] or [D, n]."""
        return {"mean": self.mean, "matrix": self.matrix}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take what `state` gave."""
        self.mean, self.matrix = state["mean"], state["matrix"]

    def _map(self, rows: torch.Tensor) -> torch.Tensor:
        centred = rows - self.mean
        return centred * self.matrix if self.matrix.ndim == 1 else centred @ self.matrix


class Standardize(_Affine):
    """Every dimension to mean 0 and variance 1 on train; constant dimensions stay constant."""

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def fit(self, latents: Latents, train: Sequence[int]) -> None:
        """Learn mean and standard deviation."""
        mean, covariance = moments(latents, train)
        deviation = np.sqrt(np.diag(covariance))
        scale = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1), 1)
        self.mean, self.matrix = _float32(mean), _float32(scale)


class Pca(_Affine):
    """The first principal components of train, of unit variance where `whiten`."""

    def __init__(self, options: PcaOptions) -> None:
        self.options = options

    def fit(self, latents: Latents, train: Sequence[int]) -> None:
        """Learn the directions.

        Raises:
            UsageError: there are fewer directions of any variance than components, or none.
        """
        mean, values, vectors = principal_axes(latents, train, self.options.keep)
        usable = len(values)
        if not usable:
            raise UsageError(
                "The train latents do not vary, so pca finds no direction.",
                "Look at the encoder, or at the factorisation: its state stands still.",
            )
        wanted = self.options.components or usable
        if wanted > usable:
            raise UsageError(
                f"pca:{wanted} was asked for, but the train latents have {usable} of "
                f"{latents.dim} directions with more than {self.options.keep:g} of the largest "
                "variance.",
                f"Use at most pca:{usable}.",
            )
        matrix = vectors[:, :wanted]
        if self.options.whiten:
            matrix = matrix / np.sqrt(values[:wanted])
        self.mean, self.matrix = _float32(mean), _float32(matrix)


class ShuffledFrames(Transform):
    """A control: the frames of every utterance in random order, all else as it was.

    What is left of a score is not temporal structure.
    """

    def __init__(self, options: ShuffledFramesOptions) -> None:
        self.options = options

    def fit(self, latents: Latents, train: Sequence[int]) -> None:
        """Learn nothing."""
        del latents, train

    def apply(self, latents: Latents) -> Latents:
        """The latents with the frames of each utterance permuted."""
        order = np.arange(len(latents.energy), dtype=np.int64)
        rng = np.random.default_rng(self.options.seed)
        for one in sorted(latents.utterances, key=lambda one: (one.id, one.segment)):
            order[one.start : one.start + one.frames] = one.start + rng.permutation(one.frames)
        return latents.reordered(order)

    def state(self) -> Mapping[str, torch.Tensor]:
        """The seed."""
        return {"seed": torch.tensor(self.options.seed)}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take nothing: the seed is an option."""
        del state


def principal_axes(
    latents: Latents, utterances: Sequence[int], keep: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean [D], variances [K] and principal axes [D, K] of all frames, by variance.

    The axes are those of more than `keep` of the largest variance. The largest entry of each is
    positive: an eigenvector has no sign of its own.

    Raises:
        UsageError: there are fewer than two frames.
    """
    mean, covariance = moments(latents, utterances)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    usable = values > keep * values[0]
    values, vectors = values[usable], vectors[:, usable]
    largest = np.abs(vectors).argmax(0)
    return mean, values, vectors * np.sign(vectors[largest, np.arange(len(largest))])


def moments(
    latents: Latents, utterances: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean [D] and covariance [D, D] (n - 1) of all frames, accumulated in float64.

    Chunks are centred on the first one, so a large offset costs no digits.

    Raises:
        UsageError: there are fewer than two frames.
    """
    total = np.zeros(latents.dim)
    products = np.zeros((latents.dim, latents.dim))
    count = 0
    offset: NDArray[np.float64] | None = None
    for rows in _chunks(latents, utterances):
        chunk = latents.gather(rows).numpy().astype(np.float64)
        offset = chunk.mean(0) if offset is None else offset
        chunk -= offset
        total += chunk.sum(0)
        products += chunk.T @ chunk
        count += len(chunk)
    if offset is None or count <= 1:
        raise UsageError(
            f"A transform is fitted on the frames of train; there are {count}.",
            "Use more or longer utterances.",
        )
    mean = total / count
    covariance = (products - count * np.outer(mean, mean)) / (count - 1)
    return offset + mean, covariance


def _create(component: ComponentConfig, registry: Registry) -> Transform:
    options = build_options(component, "transform", registry)
    transform: Transform = registry.get("transform", component.name).create(options)
    return transform


def _chunks(latents: Latents, utterances: Sequence[int]) -> Iterator[NDArray[np.int64]]:
    rows = [
        np.arange(one.start, one.start + one.frames)
        for one in (latents.utterances[index] for index in utterances)
    ]
    if rows:
        everything = np.concatenate(rows).astype(np.int64)
        for start in range(0, len(everything), CHUNK):
            yield everything[start : start + CHUNK]


def _float32(values: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).float()
