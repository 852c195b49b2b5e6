"""What Mimi and its relatives have in common: convolutions, a transformer, a strided convolution.

Source: Défossez et al., "Moshi", arXiv 2410.00037, section 3.3.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SeanetNetwork", "WeightsMismatchError"]


class WeightsMismatchError(Exception):
    """Weights that do not fit the network; the text names the first ones."""


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

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take all weights from `tensors`.

        Raises:
            WeightsMismatchError: a weight is missing or has another shape.
        """
        own = self.state_dict()
        if missing := [name for name in own if name not in tensors]:
            raise WeightsMismatchError(f"{len(missing)} of {len(own)} missing: {_some(missing)}")
        wrong = [name for name in own if tensors[name].shape != own[name].shape]
        if wrong:
            shapes = [
                f"{name} {list(tensors[name].shape)} instead of {list(own[name].shape)}"
                for name in wrong
            ]
            raise WeightsMismatchError(f"{len(wrong)} of another shape: {_some(shapes)}")
        self.load_state_dict({name: tensors[name] for name in own})

    def digest(self) -> str:
        """A hex digest of all weights, names included."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def encoded(self, audio: torch.Tensor) -> torch.Tensor:
        """The encoder's output for [B, T], T a whole number of hops: [B, D, T / hop]."""
        hidden = self.encoder(audio[:, None]).transpose(1, 2)
        hidden = self.encoder_transformer(hidden)[0].transpose(1, 2)
        latents: torch.Tensor = self.downsample(hidden)
        return latents


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")  # noqa: PLR2004
