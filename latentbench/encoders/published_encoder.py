"""An encoder whose weights were published on the hub: loading, batches, exactness, fingerprint."""

from __future__ import annotations

from abc import abstractmethod
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch

from latentbench.digest import file_digest
from latentbench.encoders.encoder import Encoder
from latentbench.encoders.hub import is_cached
from latentbench.encoders.precision import exact_float32
from latentbench.encoders.published import RANDOM, Published, read_tensors
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from latentbench.encoders.seanet import SeanetNetwork
    from latentbench.workspace import Workspace

__all__ = ["PublishedEncoder", "PublishedOptions"]

GPU_BATCH_SECONDS = 120.0


class PublishedOptions(Protocol):
    """The options every such encoder has."""

    @property
    def weights(self) -> str:
        """The repository of the published weights, a local folder or file, or `random`."""

    @property
    def weights_seed(self) -> int:
        """Of random weights."""

    @property
    def partial_frame(self) -> str:
        """Whether the last frame counts where the audio ends inside it: `keep` or `drop`."""


class PublishedEncoder(Encoder):
    """A causal encoder of whole utterances in float32.

    Every part is causal, so frame t sees audio up to its own end, and padding on the right
    changes no frame before it.

    Raises:
        UsageError: local weights that are not there or are of another model.
    """

    published: ClassVar[Published]

    def __init__(self, options: PublishedOptions, workspace: Workspace) -> None:
        self._weights = options.weights
        self._seed = options.weights_seed
        self._partial_frame = options.partial_frame
        self._workspace = workspace
        self._file = self.published.local_file(options.weights)
        self._architecture = self.published.architecture_of(self._file)
        self.stamps = ("random weights",) if options.weights == RANDOM else ()
        self._network: SeanetNetwork | None = None
        self._device = torch.device("cpu")
        self._digest = ""

    def frame_count(self, samples: int) -> int:
        """Frames of `samples` samples: a partial last one counts unless it is dropped."""
        if self._partial_frame == "drop":
            return samples // self.hop
        return super().frame_count(samples)

    def weights_at_hand(self) -> bool:
        """Whether `load` would need no download."""
        return self._weights != self.published.file.repo or is_cached(self.published.file)

    def load(self, device: torch.device) -> None:
        """Bring the weights to `device`; downloads the published ones once.

        Raises:
            UsageError: the weights cannot be had, are damaged, or lack a part.
        """
        file = self._file
        known_digest = ""
        if self._weights == self.published.file.repo:
            file = self.published.fetch(self._workspace.progress)
            known_digest = self.published.file.sha256
        network = self._build()
        if file is None:
            self._digest = network.digest()
        else:
            self._fill(network, file)
            self._digest = known_digest or file_digest(file)
        self._network = network.to(device)
        self._device = device
        if device.type != "cpu":
            self.max_batch_seconds = GPU_BATCH_SECONDS

    @torch.inference_mode()
    def encode(
        self, audio: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode [B, T] or [B, 1, T]; see `Encoder.encode`.

        Raises:
            ValueError: T is no multiple of the hop: the last frame would be another one.
        """
        if self._network is None:
            raise RuntimeError("encode before load")
        samples = audio.reshape(audio.shape[0], audio.shape[-1]).float()
        if samples.shape[1] % self.hop:
            raise ValueError(f"{samples.shape[1]} samples are no whole number of {self.hop}")
        frames = torch.tensor([self.frame_count(int(n)) for n in lengths], dtype=torch.int64)
        if samples.numel() == 0:
            return samples.new_empty(samples.shape[0], 0, self.dim), frames
        with exact_float32(self._device):
            return self._latents(self._network, samples), frames

    def fingerprint(self) -> Mapping[str, str]:
        """The weights' digest, the architecture, the options, and what computes it."""
        published = self.published.architecture
        changed = {
            key: value for key, value in self._architecture.items() if value != published[key]
        }
        return {
            "encoder": self.published.encoder,
            "weights": f"sha256:{self._digest}",
            "architecture": str(changed or "published"),
            **self._own_fingerprint(),
            "partial_frame": self._partial_frame,
            "precision": "float32",
            "transformers": version("transformers"),
            "torch": torch.__version__,
            "device": self._device.type,
        }

    @abstractmethod
    def _build(self) -> SeanetNetwork:
        """The network with random weights; imports transformers, which takes seconds."""

    def _latents(self, network: Any, audio: torch.Tensor) -> torch.Tensor:
        latents: torch.Tensor = network(audio)
        return latents

    def _read(self, file: Path, network: SeanetNetwork) -> Mapping[str, torch.Tensor]:
        return read_tensors(file, network.state_dict())

    def _own_fingerprint(self) -> Mapping[str, str]:
        return {}

    def _fill(self, network: SeanetNetwork, file: Path) -> None:
        from latentbench.encoders.seanet import WeightsMismatchError  # noqa: PLC0415 - as in _build

        try:
            network.load(self._read(file, network))
        except WeightsMismatchError as error:
            names = " and ".join((*self.published.beside, self.published.file.name))
            raise UsageError(
                f"The weights '{file}' do not fit the encoder of the {self.published.title}: "
                f"{error}.",
                f"Use {names} of {self.published.file.repo}, or what transformers saved of it, "
                "with the config.json that belongs to it.",
            ) from None
