"""Models without a context: all frames share one density, so one row is computed for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.predictors.densities import FrameDensity, components_of
from latentbench.predictors.predictor import Predictor
from latentbench.predictors.sequences import SequencePredictor

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.distributions import Distribution

    from latentbench.predictors.densities import Components, Shape
    from latentbench.tasks import TaskFrames

__all__ = ["Repeated", "one_row_will_do"]

PROBED_FRAMES = 32
# Without a context both take frame by frame.
BY_FRAMES = tuple((one.units, one.densities) for one in (Predictor, SequencePredictor))
# Rounding: the same sum over rows of one value, or that value.
CLOSE = 1e-4


class Repeated(FrameDensity):
    """One density, for B rows.

    Args:
        base: batch [1], event [D].
        rows: B.
    """

    def __init__(self, base: Distribution, rows: int) -> None:
        self.base = base
        super().__init__(torch.Size([rows]), base.event_shape)

    @property
    def components(self) -> Components | None:
        """The parts of the one density, batch [1]; None where it is no known mixture."""
        return components_of(self.base)

    @property
    def mean(self) -> torch.Tensor:
        """[B, D]."""
        return self.base.mean.expand(*self.batch_shape, *self.event_shape)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Of values [..., B, D], [..., B]."""
        return self.base.log_prob(value)

    def sample(self, sample_shape: Shape = ()) -> torch.Tensor:
        """Draws, other ones for each row, [*sample_shape, B, D]."""
        drawn: torch.Tensor = self.base.sample(torch.Size([*sample_shape, *self.batch_shape]))
        return drawn.squeeze(-2)


def one_row_will_do(
    predictor: Predictor,
    frames: TaskFrames,
    device: torch.device,
    measure: Callable[[Predictor, torch.Tensor, torch.Tensor], torch.Tensor],
) -> bool:
    """Whether a measure of one context with all targets is that of as many equal contexts.

    It is not where the predictor draws (context noise, dropout, samples), has units or densities of
    its own, or does not broadcast.

    Args:
        predictor: on `device`, in the mode that is asked about.
        frames: without context.
        device: of the predictor.
        measure: of predictor, context [B or 1, W, D] and target [B, D].
    """
    kind = type(predictor)
    if not frames.blind or (kind.units, kind.densities) not in BY_FRAMES:
        return False
    batch = frames.batch(np.arange(min(len(frames), PROBED_FRAMES)))
    context, target = batch.context.to(device), batch.target.to(device)
    cuda = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=cuda):
        before = _states(device)
        whole = measure(predictor, context, target)
        if any(not torch.equal(a, b) for a, b in zip(before, _states(device), strict=True)):
            return False
        try:
            one = measure(predictor, context[:1], target)
        except (IndexError, RuntimeError, ValueError):  # shapes that it does not broadcast
            return False
    return one.shape == whole.shape and torch.allclose(one, whole, rtol=CLOSE, atol=CLOSE)


def _states(device: torch.device) -> list[torch.Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states
