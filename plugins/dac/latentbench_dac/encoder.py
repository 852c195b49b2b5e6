"""The encoders `dac-16k`, `dac-24k` and `dac-44k`: DAC's latents before or after its quantizer.

Source: Kumar et al., High-Fidelity Audio Compression with Improved RVQGAN, arXiv 2306.06546.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn.utils.rnn import pad_sequence

from latentbench.encoders import Encoder, codebooks_summed, exact_float32
from latentbench_dac.architecture import DAC_16K, DAC_24K, DAC_44K, DIM, Architecture
from latentbench_dac.weights import fill, pretrained_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latentbench.workspace import Workspace
    from latentbench_dac.network import DacNetwork
    from latentbench_dac.plugin import DacOptions

__all__ = ["Dac16k", "Dac24k", "Dac44k"]

PRETRAINED = "pretrained"
RANDOM = "random"


class _Dac(Encoder):
    """What the three models share: all but figures.

    Convolutions see both ways: frame t sees audio up to the end of frame t + 8, and zeros on
    the right change the last 8 frames. So each utterance is encoded alone, at its own length.
    Loudness is left as it is, and nothing is cut into chunks (the package's `compress` does both).

    Raises:
        UsageError: the view is not known, or asks for more codebooks than there are.
    """

    dim = DIM
    look_ahead = 8
    max_batch_seconds = 0.0
    name: ClassVar[str]
    architecture: ClassVar[Architecture]

    def __init__(self, options: DacOptions, workspace: Workspace) -> None:
        self._options = options
        self._workspace = workspace
        self._codebooks = codebooks_summed(options.view, self.architecture.codebooks, "DAC")
        self._network: DacNetwork | None = None
        self._weights = ""
        self._device = torch.device("cpu")
        self.stamps = ("random weights",) if options.weights == RANDOM else ()

    def load(self, device: torch.device) -> None:
        """Build the encoder and bring its weights to `device`.

        Raises:
            UsageError: the weights cannot be had or are another model's; says how to go on.
        """
        file = self._file()
        from latentbench_dac.network import DacNetwork  # noqa: PLC0415 - seconds of import, only once there are weights

        seed = self._options.weights_seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = DacNetwork(self.architecture)
        if file is None:
            self._weights = f"random, seed {seed}"
        else:
            self._weights = "sha256:" + fill(network, self.architecture, file)
        self._network = network.to(device)
        self._device = device

    @torch.inference_mode()
    def encode(
        self, audio: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Encoder.encode`.

        Raises:
            ValueError: audio with more than one channel.
        """
        if self._network is None:
            raise RuntimeError("load() comes before encode()")
        waves = audio[:, None] if audio.ndim == 2 else audio  # noqa: PLR2004 - [B, T]
        if waves.shape[1] != self.channels:
            raise ValueError(f"{self.name} takes {self.channels} channel(s), not {waves.shape[1]}")
        frames = [self.frame_count(int(samples)) for samples in lengths]
        with exact_float32(self._device):
            latents = [
                self._network(wave[None, :, : count * self.hop].float(), self._codebooks)[0]
                for wave, count in zip(waves, frames, strict=True)
            ]
        return pad_sequence(latents, batch_first=True), torch.tensor(frames, dtype=torch.int64)

    def fingerprint(self) -> Mapping[str, str]:
        """Weights, view, libraries, and what computes them."""
        return {
            "encoder": f"latentbench-dac {version('latentbench-dac')} {self.name}",
            "weights": self._weights,
            "view": self._options.view,
            "precision": "float32",
            "descript-audio-codec": version("descript-audio-codec"),
            "torch": torch.__version__,
            "device": self._device.type,
        }

    def _file(self) -> Path | None:
        if self._options.weights == RANDOM:
            return None
        if self._options.weights == PRETRAINED:
            return pretrained_file(self.architecture, self._workspace.progress)
        return Path(self._options.weights).expanduser()


class Dac16k(_Dac):
    """The 16 kHz model: 50 Hz."""

    name = "dac-16k"
    architecture = DAC_16K
    sample_rate = DAC_16K.sample_rate
    hop = 320


class Dac24k(_Dac):
    """The 24 kHz model: 75 Hz."""

    name = "dac-24k"
    architecture = DAC_24K
    sample_rate = DAC_24K.sample_rate
    hop = 320


class Dac44k(_Dac):
    """The 44.1 kHz model: 86.13 Hz."""

    name = "dac-44k"
    architecture = DAC_44K
    sample_rate = DAC_44K.sample_rate
    hop = 512
