"""The encoder `pocket-tts`: the VAE of Kyutai's Pocket TTS, 32 dimensions at 12.5 Hz."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.encoders.pocket_tts_weights import POCKET_TTS, read_weights
from latentbench.encoders.published_encoder import PublishedEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from latentbench.encoders.plugin import PocketTTSOptions
    from latentbench.encoders.seanet import SeanetNetwork
    from latentbench.workspace import Workspace

__all__ = ["PocketTTSEncoder"]

CPU_BATCH_SECONDS = 16.0


class PocketTTSEncoder(PublishedEncoder):
    """The mean of the VAE's latent: deterministic, whole utterances in float32.

    Nothing is sampled, as in Pocket TTS itself, which conditions on the same mean.

    Source: Rouard et al., "Continuous Audio Language Models", arXiv 2509.06926.
    """

    published = POCKET_TTS
    sample_rate = 24_000
    hop = 1_920
    max_batch_seconds = CPU_BATCH_SECONDS

    def __init__(self, options: PocketTTSOptions, workspace: Workspace) -> None:
        super().__init__(options, workspace)
        self.dim = int(self._architecture["latent_dim"])

    def _build(self) -> SeanetNetwork:
        from latentbench.encoders.pocket_tts_network import PocketTTSNetwork  # noqa: PLC0415 - seconds of import, only once there are weights

        return PocketTTSNetwork(self._architecture, self._seed)

    def _read(self, file: Path, network: SeanetNetwork) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - the names in the file decide
        return read_weights(file, int(self._architecture["head_dim"]))
