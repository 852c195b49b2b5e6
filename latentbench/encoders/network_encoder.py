"""The base of encoders that are torch networks: weights, device, exact arithmetic, fingerprint."""

from __future__ import annotations

from abc import abstractmethod
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch

from latentbench.digest import file_digest
from latentbench.encoders.codec_options import RANDOM
from latentbench.encoders.encoder import Encoder, exact_float32
from latentbench.encoders.state_dicts import INDEX, WeightsMismatchError, fill, weights_digest
from latentbench.errors import UsageError, some
from latentbench.workspace import expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from latentbench.encoders.weights import Published
    from latentbench.workspace import Workspace

__all__ = ["NetworkEncoder", "NetworkOptions"]

SHOWN = 6  # files of a folder that an error names
OTHERWISE = "; or take --set encoder.weights=random, a control with the same architecture"


class NetworkOptions(Protocol):
    """The options every such encoder has."""

    @property
    def weights(self) -> str:
        """The published weights by their name, a local file, or `random`."""

    @property
    def weights_seed(self) -> int:
        """Of random weights."""


class NetworkEncoder(Encoder):
    """Base of codecs, of Mimi and its relatives, and of models of a library.

    Attributes:
        name: of its spec, for messages and the fingerprint.
        distribution: the one it comes in, whose version is in the fingerprint; empty where that
            is latentbench or a single file.
        libraries: distributions beside torch that compute the latents; their versions are in
            the fingerprint.
        published_weights: what the option `weights` calls the published ones.
        suffixes: how the names of local files of weights end.
        gpu_batch_seconds: `max_batch_seconds` off the CPU; 0 leaves it as it is.
        options: as the user gave them.
        workspace: where downloads may go and are shown.
    """

    name: ClassVar[str]
    distribution: ClassVar[str] = ""
    libraries: ClassVar[tuple[str, ...]] = ()
    published_weights: ClassVar[str] = "pretrained"
    suffixes: ClassVar[tuple[str, ...]] = ("",)
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
    def published(self) -> Published:
        """The weights its authors published."""

    @abstractmethod
    def tensors(self, file: Path, network: nn.Module) -> Mapping[str, torch.Tensor]:
        """The weights in a file, by the network's names.

        Raises:
            UsageError: the file is damaged.
            WeightsMismatchError: they cannot be brought to the network's names.
        """

    def settings(self) -> Mapping[str, str]:
        """The options that change the latents, beside the weights."""
        return {}

    def random_weights(self, network: nn.Module) -> str:  # noqa: ARG002 - a subclass may look
        """What the fingerprint calls weights that stay as `build` drew them."""
        return f"random, seed {self.options.weights_seed}"

    def local_file(self) -> Path | None:
        """The weights that the user names; None where they are published or `random`.

        Raises:
            UsageError: there are none.
        """
        weights, published = self.options.weights, self.published()
        if weights in {self.published_weights, RANDOM}:
            return None
        path = expanded(weights)
        for file in published.within(path) if path.is_dir() and weights.strip() else [path]:
            if file.name.endswith(self.suffixes) and file.is_file():
                return file
        kind = f"{self.suffixes[0]} file".lstrip()
        raise UsageError(
            f"encoder.weights={weights}: '{path}' {_found(path, published.name, kind)}.",
            f"Known: {self.published_weights}, {RANDOM}, a folder with {published.name}, or a "
            f"{kind}: {published}.",
        )

    def weights_at_hand(self) -> bool:
        """Whether `load` would need no download."""
        return self.options.weights != self.published_weights or self.published().is_here()

    def load(self, device: torch.device) -> None:
        """Build the network and bring its weights to `device`; missing ones are found first.

        Raises:
            UsageError: the weights cannot be had or are another model's; says how to go on.
        """
        file, network = self.weights_here(), self.drawn(self.build)
        if file is None:
            self._origin = self.random_weights(network)
        else:
            self._origin = f"sha256:{self.fill(network, file)}"
        self._network = network.eval().to(device)
        self._device = device
        if device.type != "cpu" and self.gpu_batch_seconds:
            self.max_batch_seconds = self.gpu_batch_seconds

    def fill(self, network: nn.Module, file: Path) -> str:
        """Give the network the weights in `file`; returns their sha256.

        Raises:
            UsageError: the file is damaged, or of another model.
        """
        try:
            fill(network, self.tensors(file, network))
        except WeightsMismatchError as error:
            raise UsageError(
                f"'{file}' is no checkpoint of {self.name}: {error}.",
                f"{self.name} takes {self.published()}.",
            ) from None
        return weights_digest(network) if file.name.endswith(INDEX) else file_digest(file)

    def weights_here(self) -> Path | None:
        """The file of weights, downloaded where it must be; None for `random`.

        Raises:
            UsageError: the weights cannot be had; says how to go on.
        """
        if self.options.weights == self.published_weights:
            return self.published().fetch(self.workspace.progress, OTHERWISE)
        return self.local_file()

    def drawn(self, build: Callable[[], nn.Module]) -> nn.Module:
        """What `build` makes, its weights drawn by `weights_seed`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.options.weights_seed)
            return build()

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


def _found(path: Path, name: str, kind: str) -> str:
    """Say what is at a place where weights were looked for."""
    if not path.is_dir():
        return f"is no folder and no {kind}" if path.exists() else "is not there"
    held = sorted(file.name + "/" * file.is_dir() for file in path.iterdir())
    return f"holds no {name}, but {some(held, SHOWN) or 'nothing'}"
