"""The encoder `mimi`: Kyutai's codec before its quantizer, 512 dimensions at 12.5 Hz."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch

from latentbench.encoders.encoder import Encoder
from latentbench.encoders.hub import is_cached, sha256_of
from latentbench.encoders.mimi_weights import (
    ARCHITECTURE,
    PINNED,
    RANDOM,
    architecture_of,
    local_file,
    pinned_file,
    read_tensors,
)
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from latentbench.encoders.mimi_network import MimiNetwork
    from latentbench.encoders.plugin import MimiOptions
    from latentbench.workspace import Workspace

__all__ = ["MimiEncoder"]

CPU_BATCH_SECONDS = 16.0  # more only leaves the caches: 8 x 14 s take longer than one by one
GPU_BATCH_SECONDS = 120.0


class MimiEncoder(Encoder):
    """Mimi's continuous latents, whole utterances in float32; nothing is ever quantized.

    Source: Défossez et al., "Moshi", arXiv 2410.00037, section 3.3. Every part is causal, so
    frame t sees audio up to its own end; padding on the right changes no frame before it.

    Raises:
        UsageError: local weights that are not there or are of another model.
    """

    sample_rate = 24_000
    hop = 1_920
    max_batch_seconds = CPU_BATCH_SECONDS

    def __init__(self, options: MimiOptions, workspace: Workspace) -> None:
        self._options = options
        self._workspace = workspace
        self._file = local_file(options.weights)
        self._architecture = architecture_of(self._file)
        self.dim = int(self._architecture["hidden_size"])
        self.stamps = ("random weights",) if options.weights == RANDOM else ()
        self._network: MimiNetwork | None = None
        self._device = torch.device("cpu")
        self._digest = ""

    def frame_count(self, samples: int) -> int:
        """Frames of `samples` samples: a partial last one counts unless it is dropped."""
        if self._options.partial_frame == "drop":
            return samples // self.hop
        return super().frame_count(samples)

    def weights_at_hand(self) -> bool:
        """Whether `load` would need no download."""
        return self._options.weights != PINNED.repo or is_cached(PINNED)

    def load(self, device: torch.device) -> None:
        """Bring the weights to `device`; downloads them once where `weights` is kyutai/mimi.

        Raises:
            UsageError: the weights cannot be had, are damaged, or lack a part.
        """
        file = self._file
        known_digest = ""
        if self._options.weights == PINNED.repo:
            file = pinned_file(self._workspace.progress)
            known_digest = PINNED.sha256
        from latentbench.encoders.mimi_network import MimiNetwork  # noqa: PLC0415 - seconds of import, only once there are weights

        network = MimiNetwork(self._architecture, self._options.weights_seed)
        if file is None:
            self._digest = network.digest()
        else:
            _fill(network, file)
            self._digest = known_digest or sha256_of(file)
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
        with _exact_float32(self._device):
            return self._network(samples, self._options.view), frames

    def fingerprint(self) -> Mapping[str, str]:
        """The weights' digest, the architecture, the options, and what computes it."""
        changed = {
            key: value for key, value in self._architecture.items() if value != ARCHITECTURE[key]
        }
        return {
            "encoder": "mimi",
            "weights": f"sha256:{self._digest}",
            "architecture": str(changed or "published"),
            "view": self._options.view,
            "partial_frame": self._options.partial_frame,
            "precision": "float32",
            "transformers": version("transformers"),
            "torch": torch.__version__,
            "device": self._device.type,
        }


def _fill(network: MimiNetwork, file: Path) -> None:
    from latentbench.encoders.mimi_network import WeightsMismatchError  # noqa: PLC0415 - as in load

    try:
        network.load(read_tensors(file, network.state_dict()))
    except WeightsMismatchError as error:
        raise UsageError(
            f"The weights '{file}' do not fit Mimi's encoder: {error}.",
            f"Use the transformers checkpoint of {PINNED.repo} (its {PINNED.name}), "
            "and the config.json that belongs to it.",
        ) from None


@contextmanager
def _exact_float32(device: torch.device) -> Iterator[None]:
    """Full float32 products (no TF32, no bf16, no autocast), as the original; then as before."""
    products = torch.get_float32_matmul_precision()
    convolutions = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
