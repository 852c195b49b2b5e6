"""A mixture density network that no context can make infinitely wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F

from latentbench.predictors.anchored import AnchoredDensity, AnchoredLayers
from latentbench.predictors.linear import RecyclingLinear
from latentbench.predictors.standardised import StandardisedPredictor
from latentbench.predictors.training import train

if TYPE_CHECKING:
    import torch

    from latentbench.predictors.plugin import MdnRobustOptions
    from latentbench.predictors.training import Training
    from latentbench.tasks import TaskFrames

__all__ = ["RobustNetwork"]


class RobustNetwork(StandardisedPredictor, AnchoredLayers):
    r"""The network of `mdn` on standardised frames, anchored to the fitted marginal.

    Contexts and targets are standardised by the means and standard deviations of the training
    frames (those of the targets as `marginal` fits them), the density with its exact Jacobian.
    Contexts are clipped to +-`clip`; values that are not finite are taken as the mean (nan) or
    the bound (infinite). The learned mixture has sigma >= `sigma_floor` of the marginal's, and
    `AnchoredDensity` adds the marginal itself with a learned weight of at least
    `marginal_weight`: every frame scores at most -ln `marginal_weight` nats (6.9) worse than
    under `marginal`, whatever its context.

    `tails=student-t` makes the learned components multivariate Student-t with one learned
    nu >= 2 each. `context_noise` is the standard deviation of Gaussian noise on standardised
    contexts, in training only.

    Args:
        options: of the plugin.
        context_frames: W.
        dim: D.
    """

    def __init__(self, options: MdnRobustOptions, *, context_frames: int, dim: int) -> None:
        super().__init__(options, context_frames=context_frames, dim=dim)
        self.options = options
        self.hidden1 = RecyclingLinear(context_frames * dim, options.width)
        self.hidden2 = RecyclingLinear(options.width, options.width)
        self.add_layers(
            options.width,
            dim,
            components=options.components,
            tails=options.tails,
            sigma_floor=options.sigma_floor,
            marginal_weight=options.marginal_weight,
        )

    def fit(self, train_frames: TaskFrames, training: Training) -> None:
        """Standardise by the training frames, then minimise their mean NLL.

        Raises:
            LatentbenchError: fewer than two frames, frames that are not finite, or training
                diverged.
        """
        self.standardise_by(train_frames, "mdn-robust")
        train(self, train_frames, training)

    def forward(self, context: torch.Tensor) -> AnchoredDensity:
        """The density of each context, [B, W, D]."""
        hidden = F.gelu(self.hidden1(self.standardised(context).flatten(-2)))
        hidden = F.gelu(self.hidden2(hidden))
        return self.anchored(hidden, mean=self.target_mean, scale=self.target_scale)

    def extra_repr(self) -> str:
        """What the layers do not show; part of what a checkpoint must match."""
        return str(self.options)
