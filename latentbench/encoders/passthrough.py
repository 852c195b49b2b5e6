"""The encoder of corpora that hold latents already: it passes them through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.encoders.encoder import Encoder
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from latentbench.corpora import Corpus
    from latentbench.specs import NoOptions
    from latentbench.workspace import Workspace

__all__ = ["LatentsEncoder"]


class LatentsEncoder(Encoder):
    """Frames in, the same frames out; size and rate are the corpus's."""

    hop = 1
    max_batch_seconds = 600.0

    def __init__(self, options: NoOptions, workspace: Workspace) -> None:
        """Take no options; nothing is fetched or reported."""

    def bind(self, corpus: Corpus) -> None:
        """Take D and the frame rate from the corpus.

        Raises:
            UsageError: the corpus holds audio.
        """
        if corpus.latents is None:
            raise UsageError(
                f"The corpus '{corpus.name}' holds audio; the encoder 'latents' takes latents.",
                "Choose an encoder of audio, e.g. --encoder logmel.",
            )
        self.dim = self.channels = corpus.latents.dim
        self.sample_rate = corpus.latents.frame_rate

    def load(self, device: torch.device) -> None:
        """There are no weights."""

    def encode(
        self, audio: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """From [B, D, F] to [B, F, D], or from [B, F] where D is 1."""
        frames = audio.unsqueeze(1) if self.channels == 1 else audio
        return frames.transpose(1, 2), lengths

    def fingerprint(self) -> Mapping[str, str]:
        """Nothing but the name changes the latents."""
        return {"encoder": "latents"}
