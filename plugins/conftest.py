"""What the tests of codec plugins share: loading, weights that hide no mistake, codes but for ties.

The comparison with a second implementation is what they are for.
"""

# ruff: noqa: INP001, S101 - a folder of distributions is no package; tests assert

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import torch

from latentbench.plugins import load_registry
from latentbench.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from latentbench.encoders.codec import CodecEncoder


def _loaded(kind: type[CodecEncoder], weights: str | Path, **options: Any) -> CodecEncoder:
    spec = load_registry().get("encoder", kind.name).spec
    encoder = kind(spec.options(weights=str(weights), **options), Workspace())
    encoder.load(torch.device("cpu"))
    return encoder


@pytest.fixture(scope="session")
def loaded() -> Callable[..., CodecEncoder]:
    """Make and load an encoder of a class, weights and other options."""
    return _loaded


@pytest.fixture(scope="module")
def load() -> Callable[..., CodecEncoder]:
    """The same, each once."""
    return cache(_loaded)


@pytest.fixture(scope="session")
def scatter() -> Callable[[nn.Module, float], None]:
    """Leave no parameter of a network at a value that hides its use.

    Untrained gains of the weight norm let latents fade to almost a constant: the second argument
    makes up for it.
    """

    @torch.no_grad()
    def scatter(network: nn.Module, gain: float) -> None:
        for name, parameter in network.named_parameters():
            factor = gain if name.endswith("weight_g") else 1.0
            parameter.mul_(factor * (1 + 0.2 * torch.randn_like(parameter)))
            parameter.add_(0.01 * torch.randn_like(parameter))

    return scatter


@pytest.fixture(scope="session")
def assert_same_codes() -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Agreement to 1e-4, but for a frame in a hundred.

    Random codebooks leave the odd frame between two codes by less than rounding, and which of
    them is nearer then depends on the order of a sum, as on the number of threads.
    """

    def assert_same_codes(ours: torch.Tensor, expected: torch.Tensor) -> None:
        assert ours.shape == expected.shape
        differing = ((ours - expected).abs() > 1e-4).any(dim=-1)  # noqa: PLR2004 - as above
        assert differing.float().mean() < 0.01  # noqa: PLR2004

    return assert_same_codes
