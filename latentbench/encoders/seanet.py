"""What Mimi and its relatives have in common: convolutions, a transformer, a strided convolution.

Source: Défossez et al., "Moshi", arXiv 2410.00037, section 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    import torch

__all__ = ["SeanetNetwork"]


class SeanetNetwork(nn.Module):
    """An encoder made of transformers' modules; a subclass builds them.

    Attributes:
        encoder: SEANet convolutions, [B, 1, T] to [B, C, F].
        encoder_transformer: causal, [B, F, C] to a tuple that begins with the same shape.
        downsample: the strided convolution to the final rate, [B, C, F] to [B, D, F'].
    """

    encoder: Any
    encoder_transformer: Any
    downsample: Any

    def encoded(self, audio: torch.Tensor) -> torch.Tensor:
        """The encoder's output for [B, T], T a whole number of hops: [B, D, T / hop]."""
        hidden = self.encoder(audio[:, None]).transpose(1, 2)
        hidden = self.encoder_transformer(hidden)[0].transpose(1, 2)
        latents: torch.Tensor = self.downsample(hidden)
        return latents
