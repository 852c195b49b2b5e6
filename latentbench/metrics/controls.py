"""Control models that split ΔNLL into capacity and context (docs/metrics.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from latentbench.metrics.metric import Prediction
from latentbench.predictors import Predictor
from latentbench.predictors.densities import FrameDensity, most_likely_component
from latentbench.predictors.one_row import Repeated, one_row_will_do

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch.distributions import Distribution

    from latentbench.predictors import Training
    from latentbench.predictors.densities import Shape
    from latentbench.tasks import TaskFrames

__all__ = ["Controls", "Shifted", "ShiftedToX", "iid_floor"]

LN_2 = 0.6931471805599453


def iid_floor(frames: TaskFrames) -> float:
    """ΔNLL of a perfect model of white Gaussian latents, nats per frame: -½ ln 2 · D or 0.

    Δ_t contains -x_{t-m}; a context that holds x_{t-m} predicts that half of its variance
    though the latents have no temporal structure at all.
    """
    held = frames.target == "delta" and frames.sees_previous
    return -0.5 * LN_2 * frames.dim if held else 0.0


@dataclass(frozen=True)
class Controls:
    """The control models of a cell; each None where it was not asked for.

    Attributes:
        unconditional: the same predictor fitted on zeros for a context.
        x: the same predictor fitted on x_t for a target; None where it would be the predictor
            itself, whose target is x_t, or shifted by x_{t-m}, because the context holds that
            frame.
        x_baseline: the baseline fitted on x_t.
        one_row: the density without a context is computed once and holds for all frames.
    """

    unconditional: Predictor | None = None
    x: Predictor | None = None
    x_baseline: Predictor | None = None
    one_row: bool = False

    def sharing(self, frames: TaskFrames, device: torch.device) -> Controls:
        """The same, with one density for all frames without context where that is what it is.

        Args:
            frames: that are to be scored.
            device: of the models.
        """
        model = self.unconditional
        if model is None or model.density == "samples" or not len(frames):
            return self
        shares = one_row_will_do(model, frames.without_context(), device, _log_densities)
        return replace(self, one_row=shares)

    def by_role(self) -> dict[str, Predictor]:
        """The fitted controls, by the names under which a run saves them."""
        roles = {
            "unconditional": self.unconditional,
            "x_target": self.x,
            "x_baseline": self.x_baseline,
        }
        return {role: one for role, one in roles.items() if one is not None}

    def beside(
        self,
        prediction: Prediction,
        context: torch.Tensor,
        frames: TaskFrames,
        which: NDArray[np.int64],
    ) -> Prediction:
        """Add the controls' densities to the prediction of the frames numbered `which`."""
        if self.unconditional is not None:
            nothing = context.new_zeros(context.shape)
            blind = (
                Repeated(self.unconditional(nothing[:1]), len(nothing))
                if self.one_row
                else self.unconditional.densities(frames.without_context(), which, nothing)
            )
            prediction = replace(prediction, unconditional=blind)
        if self.x_baseline is not None:
            model = self._of_x(prediction.model, context, frames, which)
            of_x = frames.with_target("x")
            target = of_x.targets(which).to(context.device)
            shown = Prediction(model, self.x_baseline.densities(of_x, which, context), target)
            prediction = replace(prediction, x=shown)
        return prediction

    def _of_x(
        self,
        model: Distribution,
        context: torch.Tensor,
        frames: TaskFrames,
        which: NDArray[np.int64],
    ) -> Distribution:
        """The densities of x_t: the control's, the own, or those of a change moved by x_{t-m}."""
        if self.x is not None:
            return self.x.densities(frames, which, context)
        if frames.target == "x":
            return model
        return Shifted(model, frames.previous(which).to(context.device))


def _log_densities(
    predictor: Predictor, context: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    found: torch.Tensor = predictor(context).log_prob(target)
    return found


class Shifted(FrameDensity):
    """The density of X + shift.

    Args:
        base: of X, batch [B], event [D].
        shift: [B, D].
    """

    def __init__(self, base: Distribution, shift: torch.Tensor) -> None:
        self.base = base
        self.shift = shift
        super().__init__(base.batch_shape, base.event_shape)

    @property
    def mean(self) -> torch.Tensor:
        """Of X, plus the shift."""
        return self.base.mean + self.shift

    @property
    def mode_component(self) -> torch.Tensor:
        """That of X, plus the shift."""
        return most_likely_component(self.base) + self.shift

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """That of X at `value` - shift."""
        return self.base.log_prob(value - self.shift)

    def sample(self, sample_shape: Shape = ()) -> torch.Tensor:
        """Of X, plus the shift."""
        return self.base.sample(torch.Size(sample_shape)) + self.shift


class ShiftedToX(Predictor):
    """A predictor of x_t - x_{t-m} as one of x_t, where the context holds x_{t-m}.

    Args:
        delta: fitted on the change.
        frames: whose context holds the frame subtracted.

    Raises:
        ValueError: it does not.
    """

    def __init__(self, delta: Predictor, frames: TaskFrames) -> None:
        super().__init__(context_frames=delta.context_frames, dim=delta.dim)
        if not frames.sees_previous:
            raise ValueError("x_{t-m} is not in the context")
        self.density = delta.density
        self.delta = delta
        self.place = frames.horizon - frames.step - 1

    def fit(self, train: TaskFrames, training: Training) -> None:
        """Fit the predictor of the change."""
        self.delta.fit(train.with_target("delta"), training)

    def forward(self, context: torch.Tensor) -> Shifted:
        """The density of x_t given a context [B, W, D]."""
        return Shifted(self.delta(context), context[:, self.place])
