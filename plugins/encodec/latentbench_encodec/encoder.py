"""The encoders `encodec-24k` and `encodec-48k`: EnCodec's latents before or after its quantizer.

Source: Défossez et al., High Fidelity Neural Audio Compression, arXiv 2210.13438.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from encodec.model import ROOT_URL

from latentbench.encoders import RANDOM, Segment
from latentbench.encoders.codec import CodecEncoder
from latentbench.encoders.network_decoder import DecoderNetwork, DecodingEncoder
from latentbench.encoders.weights import WebFile
from latentbench_encodec.network import EncodecNetwork, decoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

__all__ = ["Encodec24k", "Encodec48k", "normalised"]


class _Encodec(CodecEncoder):
    """What both models share.

    Attributes:
        causal: whether convolutions see the past only.
        checkpoint: the file's name; the part after the hyphen begins its sha256.

    Raises:
        UsageError: the view is not known, or asks for more codebooks than there are.
    """

    distribution = "latentbench-encodec"
    libraries = ("encodec",)
    hop = 320
    dim = 128
    causal: ClassVar[bool]
    checkpoint: ClassVar[str]

    def build(self) -> EncodecNetwork:
        """The encodec package's network; see `NetworkEncoder.build`."""
        network = EncodecNetwork(self.channels, self.codebooks, causal=self.causal)
        if self.options.weights == RANDOM and self.summed is not None:
            network.draw_codebooks(self.options.weights_seed)
        return network

    def published(self) -> WebFile:
        """The checkpoint where the encodec package gets it and, through torch.hub, keeps it."""
        return WebFile(
            url=ROOT_URL + self.checkpoint,
            place=Path(torch.hub.get_dir()) / "checkpoints" / self.checkpoint,
            sha256=Path(self.checkpoint).stem.rpartition("-")[2],
        )


class Encodec24k(DecodingEncoder, _Encodec):
    """EnCodec at 24 kHz: causal, so zeros on the right change no frame before them.

    Frames 0 to 5 are the exception to `look_ahead = 0`: convolutions pad on the left by
    reflection, so these see audio up to the end of frame 6. No frame sees beyond max(t, 6). Nor
    does the sound of a hop depend on frames beyond that.
    """

    name = "encodec-24k"
    checkpoint = "encodec_24khz-d7cc33bc.th"
    sample_rate, channels, causal = 24_000, 1, True
    codebooks = 32
    look_ahead = 0
    gpu_batch_seconds = 60.0
    max_batch_seconds = 16.0  # more leaves a processor's cache: 34 s at once take 1.7 times as long

    _reflected = 6  # frames the last convolution, of kernel 7, reflects at the start

    def build_decoder(self) -> DecoderNetwork:
        """The encodec package's; see `DecodingEncoder.build_decoder`."""
        return DecoderNetwork(decoder(self.channels, causal=self.causal))

    def rows(
        self, network: nn.Module, waves: torch.Tensor, samples: Sequence[int]
    ) -> list[torch.Tensor]:
        """All rows at once, but for those shorter than the reflection, which would see padding."""
        frames = [self.frame_count(count) for count in samples]
        long = [i for i, count in enumerate(frames) if count > self._reflected]
        rows: dict[int, torch.Tensor] = {}
        if long:
            rows = dict(zip(long, self.in_view(network, waves[long]), strict=True))
        for i in set(range(len(frames))) - set(long):
            rows[i] = self.in_view(network, waves[i : i + 1, :, : frames[i] * self.hop])[0]
        return [rows[i][:count] for i, count in enumerate(frames)]


class Encodec48k(_Encodec):
    """EnCodec at 48 kHz, stereo, in chunks of 1 s that overlap by 1 %, as the package does.

    Each chunk is divided by its RMS, and group normalisation lets every frame see all of its
    chunk. The chunk stride, 47,520 samples, is 148.5 frames: frames of two chunks lie on
    different grids, and `segments` keeps windows and differences inside one chunk. Chunks are
    cut from the samples before padding, and nothing is padded to a common length. It does not
    decode: what scaled each chunk is no part of the latents.
    """

    name = "encodec-48k"
    checkpoint = "encodec_48khz-7e698e3e.th"
    sample_rate, channels, causal = 48_000, 2, False
    codebooks = 16
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

    def rows(
        self, network: nn.Module, waves: torch.Tensor, samples: Sequence[int]
    ) -> list[torch.Tensor]:
        """The frames of all chunks of each utterance; see `CodecEncoder.rows`."""
        pieces = [
            wave[:, start : min(start + self.chunk, count)]
            for wave, count in zip(waves, samples, strict=True)
            for start in range(0, count, self.stride)
        ]
        chunks = iter(self._chunks(network, pieces))
        empty = waves.new_empty(0, self.dim)
        return [
            torch.cat([empty, *(next(chunks) for _ in self.segments(count))]) for count in samples
        ]

    def _chunks(self, network: nn.Module, pieces: Sequence[torch.Tensor]) -> list[torch.Tensor]:
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
            frames.update(zip(group, self.in_view(network, audio), strict=True))
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
