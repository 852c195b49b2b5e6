"""An encoder that is a torch network: weights, device, exact arithmetic, fingerprint."""

from __future__ import annotations

from abc import abstractmethod
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch

from latentbench.encoders.encoder import Encoder
from latentbench.encoders.options import RANDOM
from latentbench.encoders.precision import exact_float32

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from latentbench.workspace import Workspace

__all__ = ["NetworkEncoder", "NetworkOptions"]


class NetworkOptions(Protocol):
    """The options every such encoder has."""

    @property
    def weights(self) -> str:
        """The published weights by their name, a local file, or `random`."""

    @property
    def weights_seed(self) -> int:
        """Of random weights."""


class NetworkEncoder(Encoder):
    """What is the same for `CodecEncoder` and `PublishedEncoder`; derive from one of these.

    Attributes:
        name: of its spec, for messages and the fingerprint.
        distribution: the one it comes in, whose version is in the fingerprint; empty where that
            is latentbench or a single file.
        libraries: distributions beside torch that compute the latents; their versions are in
            the fingerprint.
        published_weights: what the option `weights` calls the published ones.
        gpu_batch_seconds: `max_batch_seconds` off the CPU; 0 leaves it as it is.
        options: as the user gave them.
        workspace: where downloads may go and are shown.
    """

    name: ClassVar[str]
    distribution: ClassVar[str] = ""
    libraries: ClassVar[tuple[str, ...]] = ()
    published_weights: ClassVar[str] = "pretrained"
    gpu_batch_seconds: ClassVar[float] = 0.0
    options: NetworkOptions
    workspace: Workspace

    def __init__(self, options: NetworkOptions, workspace: Workspace) -> None:
        self.options = options
        self.workspace = workspace
        self._network: nn.Module | None = None
        self._origin = ""
        self._device = torch.device("cpu")
        self.stamps = ("random weights",) if options.weights == RANDOM else ()

    @abstractmethod
    def build(self) -> nn.Module:
        """The network on the CPU with its initial weights, drawn from torch's generator.

        `load` seeds that with `weights_seed` before and leaves it as it was. What takes seconds
        to import is imported here.
        """

    @abstractmethod
    def latents(
        self, network: nn.Module, waves: torch.Tensor, samples: Sequence[int]
    ) -> torch.Tensor:
        """Float32 [B, F, D] of [B, channels, T]; row i holds `samples[i]` samples, then zeros."""

    @abstractmethod
    def fetch(self) -> Path:
        """The published weights, downloaded if they are not here.

        Raises:
            UsageError: they cannot be had; says how to go on.
        """

    @abstractmethod
    def is_fetched(self) -> bool:
        """Whether `fetch` would download nothing."""

    @abstractmethod
    def local_file(self) -> Path | None:
        """The weights that the user names; None where they are `random`.

        Raises:
            UsageError: there is no such file.
        """

    @abstractmethod
    def fill(self, network: nn.Module, file: Path) -> str:
        """Give the network the weights in `file`; returns the file's sha256.

        Raises:
            UsageError: the file is damaged, or of another model.
        """

    def random_weights(self, network: nn.Module) -> str:  # noqa: ARG002 - a subclass may look
        """What the fingerprint calls weights that stay as `build` drew them."""
        return f"random, seed {self.options.weights_seed}"

    def settings(self) -> Mapping[str, str]:
        """The options that change the latents, beside the weights."""
        return {}

    def weights_at_hand(self) -> bool:
        """Whether `load` would need no download."""
        return self.options.weights != self.published_weights or self.is_fetched()

    def load(self, device: torch.device) -> None:
        """Build the network and bring its weights to `device`; missing ones are found first.

        Raises:
            UsageError: the weights cannot be had or are another model's; says how to go on.
        """
        published = self.options.weights == self.published_weights
        file = self.fetch() if published else self.local_file()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.options.weights_seed)
            network = self.build()
        if file is None:
            self._origin = self.random_weights(network)
        else:
            self._origin = f"sha256:{self.fill(network, file)}"
        self._network = network.eval().to(device)
        self._device = device
        if device.type != "cpu" and self.gpu_batch_seconds:
            self.max_batch_seconds = self.gpu_batch_seconds

    @torch.inference_mode()
    def encode(
        self, audio: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Encoder.encode`; mono audio fills all channels of a model that takes more.

        Raises:
            ValueError: audio with more channels than the model takes, or of a length that is no
                multiple of the hop: the last frame would be another one.
        """
        if self._network is None:
            raise RuntimeError("load() comes before encode()")
        waves = audio[:, None] if audio.ndim == 2 else audio  # noqa: PLR2004 - [B, T]
        batch, channels, length = waves.shape
        if channels not in {1, self.channels}:
            raise ValueError(f"{self.name} takes {self.channels} channel(s), not {channels}")
        if length % self.hop:
            raise ValueError(f"{length} samples are no whole number of {self.hop}")
        samples = [int(count) for count in lengths]
        frames = torch.tensor([self.frame_count(count) for count in samples], dtype=torch.int64)
        if not waves.numel():
            return waves.new_empty(batch, 0, self.dim), frames
        waves = waves.expand(-1, self.channels, -1).float()
        with exact_float32(self._device):
            return self.latents(self._network, waves, samples), frames

    def fingerprint(self) -> Mapping[str, str]:
        """Weights, settings, libraries, and what computes them."""
        origin = (self.distribution, version(self.distribution)) if self.distribution else ()
        return {
            "encoder": " ".join((*origin, self.name)),
            "weights": self._origin,
            **self.settings(),
            "precision": "float32",
            **{library: version(library) for library in self.libraries},
            "torch": torch.__version__,
            "device": self._device.type,
        }
