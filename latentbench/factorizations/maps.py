"""Maps that latent-variable models are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.distributions import Normal

if TYPE_CHECKING:
    import torch

__all__ = ["GaussianMap", "ResidualMap"]

LEAST_LOG, MOST_LOG = -6.0, 2.0  # of standard deviations


class ResidualMap(nn.Module):
    """A linear map and a correction by one hidden layer that starts at 0."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.straight = nn.Linear(inputs, outputs)
        last = nn.Linear(width, outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.bent = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), last)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[..., inputs] to [..., outputs]."""
        found: torch.Tensor = self.straight(inputs) + self.bent(inputs)
        return found


class GaussianMap(ResidualMap):
    """A diagonal Gaussian of `outputs` dimensions given its inputs."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__(inputs, 2 * outputs, width)

    def forward(self, inputs: torch.Tensor) -> Normal:  # type: ignore[override] # a density
        """The density given [..., inputs]."""
        mean, scale = super().forward(inputs).chunk(2, -1)
        # Bounded softly, so that gradients pass everywhere.
        half, middle = (MOST_LOG - LEAST_LOG) / 2, (MOST_LOG + LEAST_LOG) / 2
        scale = middle + half * ((scale - middle) / half).tanh()
        return Normal(mean, scale.exp(), validate_args=False)

    def middle(self, inputs: torch.Tensor) -> torch.Tensor:
        """The mean alone."""
        return super().forward(inputs).chunk(2, -1)[0]
