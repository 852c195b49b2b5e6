"""Fits the transforms of a run once, on train only, and gives them to every cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.config import build_options
from latentbench.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from latentbench.config import ComponentConfig, RunConfig
    from latentbench.latents.reader import Latents
    from latentbench.latents.transform import Transform
    from latentbench.plugins import Registry

RUN_AGAIN = "Give the same 'latentbench run' command again: it is fitted again."

__all__ = ["fit_transforms", "restore_transforms"]


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
    for component, file in zip(config.transforms, files, strict=True):
        transform = _create(component, registry)
        transform.restore(load_tensors(file, RUN_AGAIN))
        latents = transform.apply(latents)
    return latents


def _create(component: ComponentConfig, registry: Registry) -> Transform:
    options = build_options(component, "transform", registry)
    transform: Transform = registry.get("transform", component.name).create(options)
    return transform
