"""The mixture density network fed no context: what ΔNLL owes to the network alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.predictors.mdn import MixtureDensityNetwork
from latentbench.predictors.mixture import DiagonalGaussianMixture

if TYPE_CHECKING:
    import torch

__all__ = ["UnconditionalNetwork"]


class UnconditionalNetwork(MixtureDensityNetwork):
    """The same network, trained in the same way, with zeros in place of every context.

    Its NLL minus that of `marginal` is the capacity part of ΔNLL: what a mixture gains over one
    Gaussian. The NLL of `mdn` minus this one is the context part.

    All rows have the same density, so the network is evaluated for one of them.

    Args:
        options: of the plugin, those of `mdn`.
        context_frames: W.
        dim: D.
    """

    def forward(self, context: torch.Tensor) -> DiagonalGaussianMixture:
        """The one mixture, with the batch shape of `context` [B, W, D]."""
        one = super().forward(context.new_zeros(1, self.context_frames, self.dim))
        shape = (*context.shape[:-2], self.components)
        return DiagonalGaussianMixture(
            one.logits.expand(shape),
            one.component_means.expand(*shape, self.dim),
            one.component_log_sigmas.expand(*shape, self.dim),
        )
