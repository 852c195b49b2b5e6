"""The networks of the snac package; importing this module takes seconds."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

with warnings.catch_warnings():
    # snac compiles its activation with torch.jit; that deprecation is its own to mend.
    for _category in (DeprecationWarning, FutureWarning):
        warnings.simplefilter("ignore", _category)
    from snac import layers  # type: ignore[import-untyped]
    from snac.vq import ResidualVectorQuantize  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from latentbench_snac.encoder import Architecture

__all__ = ["SnacDecoder", "SnacNetwork"]

_CODEBOOK_SIZE, _CODEBOOK_DIM = 4096, 8
_NOISE_SEED = 0


class SnacNetwork(nn.Module):
    """Encoder and residual vector quantizer, named as in the published checkpoints.

    Source: Siuzdak et al., SNAC: Multi-Scale Neural Audio Codec, arXiv 2410.14411.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.encoder = layers.Encoder(
            architecture.width,
            list(architecture.strides),
            depthwise=True,
            attn_window_size=architecture.attention,
        )
        self.quantizer: Any = ResidualVectorQuantize(
            architecture.dim, _CODEBOOK_SIZE, _CODEBOOK_DIM, list(architecture.vq_strides)
        )
        self._hop = math.prod(architecture.strides)
        # Attention works in whole windows, the first codebook in whole strides.
        self._frames = math.lcm(architecture.vq_strides[0], architecture.attention or 1)
        self.eval()

    def forward(self, audio: torch.Tensor, codebooks: int | None) -> torch.Tensor:
        """The latents of whole utterances.

        Args:
            audio: float32 [B, 1, T], T a multiple of the hop; zero-padded here as the package does.
            codebooks: how many are summed; None for the latents before the quantizer.

        Returns:
            float32 [B, T / hop, D].
        """
        frames = audio.shape[-1] // self._hop
        audio = nn.functional.pad(audio, (0, -audio.shape[-1] % (self._hop * self._frames)))
        latents: torch.Tensor = self.encoder(audio)
        if codebooks is not None:
            residual, latents = latents, latents.new_zeros(latents.shape)
            for quantizer in self.quantizer.quantizers[:codebooks]:
                found = quantizer(residual)[0]
                residual, latents = residual - found, latents + found
        return latents[..., :frames].transpose(1, 2)


class SnacDecoder(nn.Module):
    """The decoder, named as in the published checkpoints.

    Its blocks add noise that they scale; it is the same at every call, and for each utterance.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.decoder = layers.Decoder(
            architecture.dim,
            architecture.decoder_width,
            list(reversed(architecture.strides)),
            noise=True,
            depthwise=True,
            attn_window_size=architecture.attention,
        )
        self._window = architecture.attention or 1

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Audio [B, 1, F hop] of latents [B, F, D]; their last frame fills a window begun."""
        frames = latents.shape[1]
        whole = nn.functional.pad(latents.mT, (0, -frames % self._window), mode="replicate")
        sound = torch.cat([self._alone(one[None]) for one in whole])
        return sound[..., : frames * sound.shape[-1] // whole.shape[-1]]

    def _alone(self, latents: torch.Tensor) -> torch.Tensor:
        """The sound of one utterance [1, D, F]; torch's generators are left as they were."""
        with torch.random.fork_rng([latents.device] if latents.is_cuda else []):
            torch.manual_seed(_NOISE_SEED)
            sound: torch.Tensor = self.decoder(latents)
        return sound
