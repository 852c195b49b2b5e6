"""The base of encoders whose weights hold a decoder too: the way from latents back to sound."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import nn

from latentbench.encoders.encoder import exact_float32
from latentbench.encoders.network_encoder import NetworkEncoder
from latentbench.encoders.state_dicts import WeightsMismatchError, fill
from latentbench.errors import UsageError

__all__ = ["DecoderNetwork", "DecodingEncoder"]


class DecoderNetwork(nn.Module):
    """A decoder under the name that checkpoints give it, `decoder`; takes [B, D, F]."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Audio [B, channels, T] of latents [B, F, D]."""
        sound: torch.Tensor = self.decoder(latents.mT)
        return sound


class DecodingEncoder(NetworkEncoder):
    """A `NetworkEncoder` that decodes: what is encoded is loaded without it, as runs need it not.

    Set `decodes=True` in the spec, and `decoder_look_ahead` where it sees ahead.
    """

    _decoder: nn.Module | None = None

    @abstractmethod
    def build_decoder(self) -> nn.Module:
        """The network of latents [B, F, D] to audio [B, channels, T], by the rules of `build`.

        Its names are those of the weights. T may fall short of the F hops: zeros are put behind.
        """

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Sound of the latents as they are, past any quantizer; see `Encoder.decode`.

        Raises:
            UsageError: the weights hold no decoder.
        """
        if self._decoder is None:
            self._decoder = self._ready()
        with exact_float32(self._device):
            sound: torch.Tensor = self._decoder(latents.float())
        sound = nn.functional.pad(sound, (0, latents.shape[1] * self.hop - sound.shape[-1]))
        return sound[:, 0] if self.channels == 1 else sound

    def _ready(self) -> nn.Module:
        """The decoder with its weights, on the device of the encoder."""
        file, network = self.weights_here(), self.drawn(self.build_decoder)
        if file is not None:
            try:
                fill(network, self.tensors(file, network))
            except WeightsMismatchError as error:
                raise UsageError(
                    f"'{file}' holds no decoder of {self.name}: {error}.",
                    f"To listen, {self.name} takes {self.published()}.",
                ) from None
        return network.eval().to(self._device)
