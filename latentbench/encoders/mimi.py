"""The encoder `mimi`: Kyutai's codec before its quantizer, 512 dimensions at 12.5 Hz."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentbench.encoders.mimi_weights import MIMI
from latentbench.encoders.published_encoder import PublishedEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from latentbench.encoders.plugin import MimiOptions
    from latentbench.workspace import Workspace

__all__ = ["MimiEncoder"]


class MimiEncoder(PublishedEncoder):
    """Mimi's continuous latents, whole utterances in float32; nothing is ever quantized.

    Source: Défossez et al., "Moshi", arXiv 2410.00037, section 3.3.
    """

    name = MIMI.encoder
    published = MIMI
    options: MimiOptions
    published_weights = MIMI.file.repo
    sample_rate = 24_000
    hop = 1_920

    def __init__(self, options: MimiOptions, workspace: Workspace) -> None:
        super().__init__(options, workspace)
        self.dim = int(self._architecture["hidden_size"])

    def network(self) -> nn.Module:
        """Mimi's encoder half."""
        from latentbench.encoders.mimi_network import MimiNetwork  # noqa: PLC0415 - seconds of import, only once there are weights

        return MimiNetwork(self._architecture, self.options.view)

    def leaves_out(self, name: str) -> bool:
        """The codebooks; see `PublishedEncoder.leaves_out`."""
        return name.startswith("quantizer.") and ".layers." in name

    def settings(self) -> Mapping[str, str]:
        """The view, and what all such encoders have."""
        return {"view": self.options.view, **super().settings()}
