"""Maps that latent-variable models are made of."""

from __future__ import annotations

import torch
from torch import nn
from torch.distributions import Normal

__all__ = ["GaussianMap", "ResidualMap"]

LEAST_LOG, MOST_LOG = -6.0, 2.0  # of standard deviations
HALF, MIDDLE = (MOST_LOG - LEAST_LOG) / 2, (MOST_LOG + LEAST_LOG) / 2


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

    @torch.no_grad()
    def start(self, weight: torch.Tensor) -> None:
        """Start from this linear map of the last inputs, [outputs, n], and of no other."""
        unseen = self.straight.in_features - weight.shape[1]
        self.straight.weight.copy_(nn.functional.pad(weight, (unseen, 0)))
        self.straight.bias.zero_()


class GaussianMap(ResidualMap):
    """A diagonal Gaussian of `outputs` dimensions given its inputs."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__(inputs, 2 * outputs, width)

    def forward(self, inputs: torch.Tensor) -> Normal:  # type: ignore[override] # a density
        """The density given [..., inputs]."""
        mean, scale = super().forward(inputs).chunk(2, -1)
        # Bounded softly, so that gradients pass everywhere.
        scale = MIDDLE + HALF * ((scale - MIDDLE) / HALF).tanh()
        return Normal(mean, scale.exp(), validate_args=False)

    def middle(self, inputs: torch.Tensor) -> torch.Tensor:
        """The mean alone."""
        return super().forward(inputs).chunk(2, -1)[0]

    @torch.no_grad()
    def start_from(self, weight: torch.Tensor, scale: torch.Tensor) -> None:
        """Start from this mean and these standard deviations [outputs], between the bounds."""
        self.start(torch.cat([weight, torch.zeros_like(weight)]))
        bias = MIDDLE + HALF * ((scale.log() - MIDDLE) / HALF).atanh()
        self.straight.bias[len(weight) :] = bias
