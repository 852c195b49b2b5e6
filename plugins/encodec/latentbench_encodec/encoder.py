"""The encoders `encodec-24k` and `encodec-48k`: EnCodec's latents before or after its quantizer.

Source: Défossez et al., High Fidelity Neural Audio Compression, arXiv 2210.13438.
"""

from __future__ import annotations

from abc import abstractmethod
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn.utils.rnn import pad_sequence

from latentbench.encoders import Encoder, Segment, codebooks_summed, exact_float32
from latentbench_encodec.architecture import MONO_24K, STEREO_48K, Architecture, EncodecNetwork
from latentbench_encodec.weights import fill, pretrained_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latentbench.workspace import Workspace
    from latentbench_encodec.plugin import EncodecOptions

__all__ = ["Encodec24k", "Encodec48k", "normalised"]

PRETRAINED = "pretrained"
RANDOM = "random"


class _Encodec(Encoder):
    """What both models share: options, weights, and the exactness of float32.

    Raises:
        UsageError: the view is not known, or asks for more codebooks than there are.
    """

    hop = 320
    dim = 128
    name: ClassVar[str]
    architecture: ClassVar[Architecture]

    def __init__(self, options: EncodecOptions, workspace: Workspace) -> None:
        self._options = options
        self._workspace = workspace
        self._codebooks = codebooks_summed(options.view, self.architecture.codebooks, "EnCodec")
        self._network: EncodecNetwork | None = None
        self._weights = ""
        self._device = torch.device("cpu")
        self.stamps = ("random weights",) if options.weights == RANDOM else ()

    def load(self, device: torch.device) -> None:
        """Build the encoder and bring its weights to `device`.

        Raises:
            UsageError: the weights cannot be had or are another model's; says how to go on.
        """
        seed = self._options.weights_seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = EncodecNetwork(self.architecture)
        if self._options.weights == RANDOM:
            if self._codebooks is not None:
                network.draw_codebooks(seed)
            self._weights = f"random, seed {seed}"
        else:
            self._weights = "sha256:" + fill(network, self._file())
        self._network = network.to(device)
        self._device = device

    @torch.inference_mode()
    def encode(
        self, audio: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Encoder.encode`; audio with fewer channels than the model's is repeated in each.

        Raises:
            ValueError: audio with more channels than the model takes.
        """
        waves = audio[:, None] if audio.ndim == 2 else audio  # noqa: PLR2004 - [B, T]
        if waves.shape[1] not in {1, self.channels}:
            raise ValueError(f"{self.name} takes {self.channels} channel(s), not {waves.shape[1]}")
        waves = waves.expand(-1, self.channels, -1).float()
        counts = [int(samples) for samples in lengths]
        with exact_float32(self._device):
            latents = pad_sequence(self._rows(waves, counts), batch_first=True)
        frames = [self.frame_count(samples) for samples in counts]
        return latents, torch.tensor(frames, dtype=torch.int64)

    def fingerprint(self) -> Mapping[str, str]:
        """Weights, view, libraries, and what computes them."""
        return {
            "encoder": f"latentbench-encodec {version('latentbench-encodec')} {self.name}",
            "weights": self._weights,
            "view": self._options.view,
            "precision": "float32",
            "encodec": version("encodec"),
            "torch": torch.__version__,
            "device": self._device.type,
        }

    @abstractmethod
    def _rows(self, waves: torch.Tensor, counts: Sequence[int]) -> list[torch.Tensor]:
        """The frames of each utterance, [F, D], from [B, channels, T] and its samples."""

    def _apply(self, waves: torch.Tensor) -> torch.Tensor:
        if self._network is None:
            raise RuntimeError("load() comes before encode()")
        latents: torch.Tensor = self._network(waves, self._codebooks)
        return latents

    def _file(self) -> Path:
        if self._options.weights == PRETRAINED:
            return pretrained_file(self.architecture.checkpoint, self._workspace.progress)
        return Path(self._options.weights).expanduser()


class Encodec24k(_Encodec):
    """EnCodec at 24 kHz: causal, so zeros on the right change no frame before them.

    Frames 0 to 5 are the exception to `look_ahead = 0`: convolutions pad on the left by
    reflection, so these see audio up to the end of frame 6. No frame sees beyond max(t, 6).
    """

    name = "encodec-24k"
    architecture = MONO_24K
    sample_rate = MONO_24K.sample_rate
    channels = MONO_24K.channels
    look_ahead = 0
    max_batch_seconds = 16.0  # more leaves a processor's cache: 34 s at once take 1.7 times as long

    _gpu_batch_seconds = 60.0
    _reflected = 6  # frames the last convolution, of kernel 7, reflects at the start

    def load(self, device: torch.device) -> None:
        """See `_Encodec.load`; a GPU takes larger batches."""
        super().load(device)
        if device.type != "cpu":
            self.max_batch_seconds = self._gpu_batch_seconds

    def _rows(self, waves: torch.Tensor, counts: Sequence[int]) -> list[torch.Tensor]:
        """All rows at once, but for those shorter than the reflection, which would see padding."""
        frames = [self.frame_count(samples) for samples in counts]
        long = [i for i, count in enumerate(frames) if count > self._reflected]
        rows: dict[int, torch.Tensor] = {}
        if long:
            rows = dict(zip(long, self._apply(waves[long]), strict=True))
        for i in set(range(len(frames))) - set(long):
            rows[i] = self._apply(waves[i : i + 1, :, : frames[i] * self.hop])[0]
        return [rows[i][:count] for i, count in enumerate(frames)]


class Encodec48k(_Encodec):
    """EnCodec at 48 kHz, stereo, in chunks of 1 s that overlap by 1 %, as the package does.

    Each chunk is divided by its RMS, and group normalisation lets every frame see all of its
    chunk. The chunk stride, 47,520 samples, is 148.5 frames: frames of two chunks lie on
    different grids, and `segments` keeps windows and differences inside one chunk. Chunks are
    cut from the samples before padding, and nothing is padded to a common length.
    """

    name = "encodec-48k"
    architecture = STEREO_48K
    sample_rate = STEREO_48K.sample_rate
    channels = STEREO_48K.channels
    look_ahead = 149
    max_batch_seconds = 30.0

    chunk: ClassVar[int] = 48_000
    stride: ClassVar[int] = 47_520

    _chunks_at_once = 8  # more of them do not fit a processor's cache

    def segments(self, samples: int) -> tuple[Segment, ...]:
        """One stretch of frames per chunk; the last chunk may be short."""
        return tuple(
            Segment(start, -(-min(self.chunk, samples - start) // self.hop))
            for start in range(0, samples, self.stride)
        )

    def frame_count(self, samples: int) -> int:
        """The frames of all chunks; the overlap is counted in both."""
        return sum(segment.frames for segment in self.segments(samples))

    def _rows(self, waves: torch.Tensor, counts: Sequence[int]) -> list[torch.Tensor]:
        pieces = [
            wave[:, start : min(start + self.chunk, samples)]
            for wave, samples in zip(waves, counts, strict=True)
            for start in range(0, samples, self.stride)
        ]
        chunks = iter(self._chunks(pieces))
        empty = waves.new_empty(0, self.dim)
        return [
            torch.cat([empty, *(next(chunks) for _ in self.segments(samples))])
            for samples in counts
        ]

    def _chunks(self, pieces: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The frames of each piece [2, T]; whole chunks go together, others alone."""
        whole = [i for i, piece in enumerate(pieces) if piece.shape[-1] == self.chunk]
        groups = [
            whole[at : at + self._chunks_at_once]
            for at in range(0, len(whole), self._chunks_at_once)
        ]
        groups += [[i] for i, piece in enumerate(pieces) if piece.shape[-1] < self.chunk]
        frames: dict[int, torch.Tensor] = {}
        for group in groups:
            audio, _ = normalised(torch.stack([pieces[i] for i in group]))
            frames.update(zip(group, self._apply(audio), strict=True))
        return [frames[i] for i in range(len(pieces))]


def normalised(chunks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Chunks at an RMS of 1, and the scale that the 48 kHz model's decoder multiplies back.

    Args:
        chunks: float32 [B, 2, T].

    Returns:
        Float32 [B, 2, T] and the scales [B], 1e-8 plus the RMS of the mean over channels
        (arXiv 2210.13438, section 3.1).
    """
    mono = chunks.mean(dim=1, keepdim=True)
    scale = mono.square().mean(dim=2, keepdim=True).sqrt() + 1e-8
    return chunks / scale, scale.flatten()
