"""An encoder whose weights were published on the hub: a causal network on whole utterances."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from latentbench.digest import file_digest
from latentbench.encoders.hub import is_cached
from latentbench.encoders.network_encoder import NetworkEncoder, NetworkOptions
from latentbench.encoders.published import Published, read_tensors
from latentbench.encoders.weights import WeightsMismatchError, fill, weights_digest
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch
    from torch import nn

    from latentbench.workspace import Workspace

__all__ = ["PublishedEncoder", "PublishedOptions"]


class PublishedOptions(NetworkOptions, Protocol):
    """The options every such encoder has."""

    @property
    def partial_frame(self) -> str:
        """Whether the last frame counts where the audio ends inside it: `keep` or `drop`."""


class PublishedEncoder(NetworkEncoder):
    """A causal encoder of whole utterances in float32.

    Every part is causal, so frame t sees audio up to its own end, and padding on the right
    changes no frame before it.

    Raises:
        UsageError: local weights that are not there or are of another model.
    """

    published: ClassVar[Published]
    options: PublishedOptions
    libraries = ("transformers",)
    max_batch_seconds = 16.0  # more only leaves the caches: 8 x 14 s take longer than one by one
    gpu_batch_seconds = 120.0

    def __init__(self, options: PublishedOptions, workspace: Workspace) -> None:
        super().__init__(options, workspace)
        self._local = self.published.local_file(options.weights)
        self._architecture = self.published.architecture_of(self._local)

    def frame_count(self, samples: int) -> int:
        """Frames of `samples` samples: a partial last one counts unless it is dropped."""
        if self.options.partial_frame == "drop":
            return samples // self.hop
        return super().frame_count(samples)

    def is_fetched(self) -> bool:
        """Whether the hub's cache holds the published weights."""
        return is_cached(self.published.file)

    def fetch(self) -> Path:
        """The published weights; see `Published.fetch`."""
        return self.published.fetch(self.workspace.progress)

    def local_file(self) -> Path | None:
        """The file that was found when the encoder was made."""
        return self._local

    def read(self, file: Path, network: nn.Module) -> Mapping[str, torch.Tensor]:
        """The network's weights in the file, by the network's names."""
        return read_tensors(file, network.state_dict())

    def fill(self, network: nn.Module, file: Path) -> str:
        """Load a safetensors file; see `NetworkEncoder.fill`."""
        try:
            fill(network, self.read(file, network))
        except WeightsMismatchError as error:
            names = " and ".join((*self.published.beside, self.published.file.name))
            raise UsageError(
                f"The weights '{file}' do not fit the encoder of the {self.published.title}: "
                f"{error}.",
                f"Use {names} of {self.published.file.repo}, or what transformers saved of it, "
                "with the config.json that belongs to it.",
            ) from None
        return self.published.file.sha256 if self._local is None else file_digest(file)

    def random_weights(self, network: nn.Module) -> str:
        """A digest: what transformers draws from a seed may change with its version."""
        return f"sha256:{weights_digest(network)}"

    def settings(self) -> Mapping[str, str]:
        """The architecture, and whether a partial frame is kept."""
        published = self.published.architecture
        changed = {
            key: value for key, value in self._architecture.items() if value != published[key]
        }
        return {
            "architecture": str(changed or "published"),
            "partial_frame": self.options.partial_frame,
        }

    def latents(
        self,
        network: nn.Module,
        waves: torch.Tensor,
        samples: Sequence[int],  # noqa: ARG002 - causal: what is padded changes nothing before it
    ) -> torch.Tensor:
        """The whole batch at once; see `NetworkEncoder.latents`."""
        latents: torch.Tensor = network(waves[:, 0])
        return latents
