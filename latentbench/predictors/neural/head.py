"""The contract of a head: from the backbone's state to a density of the standardised target."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import torch
from torch import nn

from latentbench.errors import UsageError
from latentbench.predictors.densities import FrameDensity
from latentbench.predictors.neural.options import DENSITIES
from latentbench.tensors import hashed_rows

if TYPE_CHECKING:
    from torch.distributions import Distribution

    from latentbench.predictors.densities import Shape
    from latentbench.predictors.neural.options import NeuralOptions

__all__ = [
    "ROWS",
    "GenerativeDensity",
    "GenerativeHead",
    "Head",
    "Noise",
    "RandomTable",
    "soft_clamp",
]

Noise: TypeAlias = Callable[[], torch.Tensor]

MEAN_SAMPLES = 64
MEAN_SEED = 64_064
ROW_BITS = 12
ROWS = 1 << ROW_BITS  # of a table of random numbers
BLOCK_VALUES = 1 << 24  # 64 MiB of a network's activations


class Head(nn.Module, ABC):
    """A density of the standardised target z given the backbone's state.

    Args:
        options: of the plugin.
        width: of the state.
        dim: D.
    """

    by_likelihood: ClassVar[bool] = True

    def __init__(self, options: NeuralOptions, *, width: int, dim: int) -> None:
        super().__init__()
        self.options = options
        self.width = width
        self.dim = dim

    @abstractmethod
    def forward(self, states: torch.Tensor) -> Distribution:
        """The density of z, batch [...], event [D], for states float32 [..., width]."""

    def loss(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """What training minimises, a scalar: the mean NLL unless `by_likelihood` is false.

        Args:
            states: float32 [N, width].
            target: z, float32 [N, D].
        """
        density: Distribution = self(states)
        return -density.log_prob(target).mean()

    def remark(self, states: torch.Tensor, target: torch.Tensor) -> str:  # noqa: ARG002 - of those that have something to say
        """What the user is told of a fitted head, from some training frames; mostly nothing."""
        return ""


class GenerativeHead(Head):
    """A head that makes samples out of noise."""

    @abstractmethod
    def generate(self, states: torch.Tensor, noise: Noise) -> torch.Tensor:
        """Samples of z, [S, N, D], for states [N, width].

        Args:
            states: [N, width].
            noise: gives standard normal values [S, N, D], others at every call.
        """

    def log_density(
        self,
        states: torch.Tensor,  # noqa: ARG002 - of those that have one
        target: torch.Tensor,  # noqa: ARG002 - likewise
    ) -> torch.Tensor:
        """Nats per frame, [N], of z [N, D] given states [N, width].

        Raises:
            UsageError: the head has no density.
        """
        name = self.options.head
        exact = ", ".join(head for head, gives in DENSITIES.items() if gives == "exact")
        raise UsageError(
            f"The head '{name}' of neural gives samples and no density, so it has no likelihood.",
            f"Score it by what needs samples alone, or take a head with a density: {exact}.",
        )

    def forward(self, states: torch.Tensor) -> GenerativeDensity:
        """The density of z, by its samples."""
        return GenerativeDensity(self, states)


class GenerativeDensity(FrameDensity):
    """What a head generates from one state each.

    The mean is the average of 64 samples. Their noise is fixed, the same for every element of
    the batch, and comes in pairs of opposite sign, so that the mean of one context does not
    depend on the others beside it and is exact where samples are linear in the noise.

    Args:
        head: of the samples.
        states: [..., width].
    """

    def __init__(self, head: GenerativeHead, states: torch.Tensor) -> None:
        self.head = head
        self.states = states
        super().__init__(states.shape[:-1], torch.Size([head.dim]))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Nats per frame, [..., B] for values [..., B, D].

        Raises:
            UsageError: the head has no density.
        """
        batch = torch.broadcast_shapes(  # type: ignore[no-untyped-call]  # torch leaves it untyped
            value.shape[:-1], self.batch_shape
        )
        states = self.states.expand(*batch, -1)
        value = value.to(states.dtype).expand(*batch, -1)
        found = self.head.log_density(states.flatten(0, -2), value.flatten(0, -2))
        return found.reshape(batch)

    def sample(self, sample_shape: Shape = ()) -> torch.Tensor:
        """Draws, [*sample_shape, B, D]."""
        states = self.states.reshape(-1, self.states.shape[-1])
        count = math.prod(sample_shape)
        most = max(1, BLOCK_VALUES // max(1, len(states) * self._per_sample))
        blocks = [min(most, count - start) for start in range(0, count, most)]
        with torch.no_grad():
            drawn = [self.head.generate(states, self._normal(one, states)) for one in blocks]
        return torch.cat(drawn).reshape(*sample_shape, *self.batch_shape, self.head.dim)

    @cached_property
    def mean(self) -> torch.Tensor:
        """The average of 64 samples, [B, D]."""
        states = self.states.reshape(-1, self.states.shape[-1])
        rows = max(1, BLOCK_VALUES // (MEAN_SAMPLES * self._per_sample))
        found = [self._mean(some) for some in torch.split(states, rows)]
        return torch.cat(found).reshape(*self.batch_shape, self.head.dim)

    @property
    def _per_sample(self) -> int:
        return max(self.head.options.head_width, self.head.dim)

    def _mean(self, states: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(MEAN_SEED)

        def noise() -> torch.Tensor:
            half = torch.randn(MEAN_SAMPLES // 2, 1, self.head.dim, generator=generator)
            both = torch.cat([half, -half]).to(states.device)
            return both.expand(-1, len(states), -1)

        return self.head.generate(states, noise).mean(0)

    def _normal(self, count: int, states: torch.Tensor) -> Noise:
        return lambda: torch.randn(count, len(states), self.head.dim, device=states.device)


def soft_clamp(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    r"""Values kept within (low, high) by :math:`m + r\,u / (1 + |u|)`, u = (values - m) / r.

    m is the middle and r half the width of the interval. The slope falls as 1/u^2, so a gradient
    comes through from any start, where a hard clamp would pass none.
    """
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    return middle + half * nn.functional.softsign((values - middle) / half)


class RandomTable(nn.Module):
    """Rows of random numbers, shared by all frames, of which the target of a frame tells its own.

    So no score depends on the frames beside it, and the noise of different frames is independent.

    Args:
        rows: [ROWS, D].
    """

    rows: torch.Tensor

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, target: torch.Tensor, count: int) -> torch.Tensor:
        """So many rows for each of N frames, [count, N, D]."""
        first = hashed_rows(target, ROW_BITS)
        steps = torch.arange(count, device=target.device)
        return self.rows[(first + steps[:, None]) % ROWS]
