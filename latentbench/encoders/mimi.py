"""The encoder `mimi`: Kyutai's codec before its quantizer, 512 dimensions at 12.5 Hz."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentbench.encoders.mimi_weights import MIMI
from latentbench.encoders.published_encoder import PublishedEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from latentbench.encoders.plugin import MimiOptions
    from latentbench.encoders.seanet import SeanetNetwork
    from latentbench.workspace import Workspace

__all__ = ["MimiEncoder"]

CPU_BATCH_SECONDS = 16.0  # more only leaves the caches: 8 x 14 s take longer than one by one


class MimiEncoder(PublishedEncoder):
    """Mimi's continuous latents, whole utterances in float32; nothing is ever quantized.

    Source: Défossez et al., "Moshi", arXiv 2410.00037, section 3.3.
    """

    published = MIMI
    sample_rate = 24_000
    hop = 1_920
    max_batch_seconds = CPU_BATCH_SECONDS

    def __init__(self, options: MimiOptions, workspace: Workspace) -> None:
        super().__init__(options, workspace)
        self._view = options.view
        self.dim = int(self._architecture["hidden_size"])

    def _build(self) -> SeanetNetwork:
        from latentbench.encoders.mimi_network import MimiNetwork  # noqa: PLC0415 - seconds of import, only once there are weights

        return MimiNetwork(self._architecture, self._seed)

    def _latents(self, network: Any, audio: torch.Tensor) -> torch.Tensor:
        latents: torch.Tensor = network(audio, self._view)
        return latents

    def _own_fingerprint(self) -> Mapping[str, str]:
        return {"view": self._view}
