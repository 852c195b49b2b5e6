"""An encoder whose weights were published on the hub: a causal network on whole utterances."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch

from latentbench.digest import file_digest
from latentbench.encoders.checkpoint import INDEX, read_tensors, tensor_names
from latentbench.encoders.hub import is_cached
from latentbench.encoders.network_encoder import NetworkEncoder, NetworkOptions
from latentbench.encoders.weights import WeightsMismatchError, fill, of_parts, weights_digest
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from latentbench.encoders.published import Published
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

    @abstractmethod
    def network(self) -> nn.Module:
        """The network of `self._architecture`, by the rules of `NetworkEncoder.build`."""

    def build(self) -> nn.Module:
        """The network; one of another architecture than the published one is tried on a hop.

        Raises:
            UsageError: there is no such network; names what the config.json changes.
        """
        try:
            network = self.network()
            if self._changed:
                network(torch.zeros(1, self.hop))
        except Exception as error:
            if not self._changed:
                raise
            changed = ", ".join(f"{key}={value}" for key, value in self._changed.items())
            raise UsageError(
                f"There is no {self.published.title} with {changed}, "
                f"as the config.json beside '{self._local}' has it: "
                f"{type(error).__name__}: {error}",
                "Take the config.json that belongs to the weights.",
            ) from error
        return network

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
        """The encoder's weights in the file, by the network's names, and what is beside them."""
        names = of_parts(tensor_names(file), network)
        return read_tensors(file, (name for name in names if not self.leaves_out(name)))

    def leaves_out(self, name: str) -> bool:  # noqa: ARG002 - a subclass may look
        """Whether a tensor of a part that the network has is none of the encoder's."""
        return False

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
        if file.name.endswith(INDEX):
            return weights_digest(network)
        return self.published.file.sha256 if self._local is None else file_digest(file)

    def random_weights(self, network: nn.Module) -> str:
        """A digest: what transformers draws from a seed may change with its version."""
        return f"sha256:{weights_digest(network)}"

    def settings(self) -> Mapping[str, str]:
        """The architecture, and whether a partial frame is kept."""
        return {
            "architecture": str(self._changed or "published"),
            "partial_frame": self.options.partial_frame,
        }

    @property
    def _changed(self) -> Mapping[str, Any]:
        """What is not as published."""
        published = self.published.architecture
        return {key: value for key, value in self._architecture.items() if value != published[key]}

    def latents(
        self,
        network: nn.Module,
        waves: torch.Tensor,
        samples: Sequence[int],  # noqa: ARG002 - causal: what is padded changes nothing before it
    ) -> torch.Tensor:
        """The whole batch at once; see `NetworkEncoder.latents`."""
        latents: torch.Tensor = network(waves[:, 0])
        return latents
