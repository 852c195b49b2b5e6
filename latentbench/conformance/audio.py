"""An encoder under test and its audio: made here, padded the way the core pads it."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from latentbench.conformance.check import NonconformityError, Subject, described, require
from latentbench.conformance.closeness import shape_text
from latentbench.corpora.corpus import Corpus, LatentFormat
from latentbench.encoders import WHOLE_UTTERANCE, Encoder
from latentbench.errors import LatentbenchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["EncoderSubject", "encode", "noise", "padded", "speechlike"]

LATENTS = LatentFormat(dim=6, frame_rate=12.5)
SECONDS = 1.0
FRAMES_BEYOND = 16  # of what the look-ahead spans twice, so that some frames are free of it

PEAK = 0.5
SYLLABLES_PER_SECOND = 4.0
HARMONICS = 20
BREATH = 0.02


class EncoderSubject(Subject):
    """An encoder, its instances and the audio they are given."""

    contract = Encoder

    def make(self, options: Any = None) -> Encoder:
        """A new instance, neither bound nor loaded."""
        chosen = self.options if options is None else options
        encoder: Encoder = self.component.create(chosen, self.workspace)
        return encoder

    def loaded(self, options: Any = None) -> Encoder:
        """A new instance, bound to a corpus and loaded on the CPU.

        Args:
            options: others than the subject's.

        Raises:
            UsageError: its weights cannot be had, or it takes neither audio nor latents.
        """
        encoder, corpus = self.make(options), mock.create_autospec(Corpus, instance=True)
        corpus.name, corpus.identity, corpus.latents = "conformance", {"corpus": "none"}, None
        try:
            encoder.bind(corpus)
        except UsageError:
            corpus.latents = LATENTS
            encoder.bind(corpus)
        encoder.load(torch.device("cpu"))
        return encoder

    @cached_property
    def encoder(self) -> Encoder:
        """The one instance that most checks look at, loaded."""
        return self.loaded()

    @property
    def samples(self) -> int:
        """The length of the audio most checks use: no whole number of hops."""
        encoder = self.encoder
        seen = 0 if encoder.look_ahead == WHOLE_UTTERANCE else encoder.look_ahead
        frames = max(math.ceil(SECONDS * encoder.frame_rate), 2 * seen)
        return (frames + FRAMES_BEYOND) * encoder.hop - encoder.hop // 3

    def audio(self, samples: int, seed: int = 0) -> torch.Tensor:
        """Speech-like audio of the encoder's format, float32 [channels, samples]."""
        encoder = self.encoder
        return speechlike(samples, rate=encoder.sample_rate, channels=encoder.channels, seed=seed)

    @cached_property
    def speech(self) -> torch.Tensor:
        """Audio of `samples` samples."""
        return self.audio(self.samples)

    @cached_property
    def latents(self) -> torch.Tensor:
        """The frames of `speech`, [frames, D]."""
        return self.encode([self.speech])[0]

    def raw(
        self, waves: Sequence[torch.Tensor], *, encoder: Encoder | None = None, more_hops: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `encode` returns for a batch, padded as the core pads it.

        Args:
            waves: float32 [channels, n] each.
            encoder: another instance than the usual one.
            more_hops: hops of zeros after the longest.

        Raises:
            NonconformityError: the encoder raised, or returned no two tensors.
        """
        encoder = encoder or self.encoder
        audio, lengths = padded(encoder, waves, more_hops=more_hops)
        given = (
            f"audio float32 {shape_text(audio)} (channels = {encoder.channels}, "
            f"hop = {encoder.hop}) of {lengths.tolist()} samples"
        )
        try:
            with torch.inference_mode():
                returned = encoder.encode(audio, lengths)
        except LatentbenchError:
            raise
        except Exception as error:
            raise NonconformityError(f"latents of {given}", described(error)) from error
        parts = returned if isinstance(returned, tuple) else (returned,)
        kinds = [type(part).__name__ for part in parts]
        two = kinds == ["Tensor", "Tensor"]
        require(two, f"two tensors, latents and frames, of {given}", ", ".join(kinds))
        return returned

    def encode(
        self, waves: Sequence[torch.Tensor], *, encoder: Encoder | None = None, more_hops: int = 0
    ) -> list[torch.Tensor]:
        """The valid frames of each utterance of a batch, [frames, D]; see `raw`."""
        return _cut(*self.raw(waves, encoder=encoder, more_hops=more_hops))


def speechlike(samples: int, *, rate: float, channels: int, seed: int) -> torch.Tensor:
    """A gliding voice in syllables over a little noise, float32 [channels, samples]."""
    time = torch.arange(samples, dtype=torch.float64) / rate
    pitch = 90.0 + 17.0 * (seed % 8)
    glide = 2 * math.pi * pitch * (time + 0.02 * torch.sin(2 * math.pi * 0.7 * time))
    orders = [order for order in range(1, HARMONICS + 1) if order * pitch * 1.1 < rate / 2]
    voices = []
    for channel in range(channels):
        voice = sum((torch.sin(n * glide + channel * n) / n for n in orders), torch.zeros(samples))
        envelope = torch.sin(math.pi * SYLLABLES_PER_SECOND * time + 0.3 * seed).square()
        voices.append(voice * envelope)
    voiced = torch.stack(voices)
    breath = BREATH * noise(samples, channels=channels, seed=seed).double()
    loudest = float(voiced.abs().max()) if samples else 1.0
    return (PEAK * voiced / max(loudest, 1e-9) + breath).float()


def noise(samples: int, *, channels: int, seed: int, level: float = 1.0) -> torch.Tensor:
    """White noise uniform in -level..level, float32 [channels, samples]."""
    generator = torch.Generator().manual_seed(seed)
    return level * (2 * torch.rand(channels, samples, generator=generator) - 1)


def padded(
    encoder: Encoder, waves: Sequence[torch.Tensor], *, more_hops: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch as the core gives it to `encode`: zero-padded to whole hops and to the longest.

    Args:
        encoder: whose hop and channels count.
        waves: float32 [channels, n] or [n] each.
        more_hops: hops of zeros after the longest.

    Returns:
        audio [B, T], or [B, channels, T] where the encoder takes more than one, and lengths [B].
    """
    samples = [wave.shape[-1] for wave in waves]
    longest = (-(-max(samples) // encoder.hop) + more_hops) * encoder.hop
    rows = [torch.nn.functional.pad(wave, (0, longest - wave.shape[-1])) for wave in waves]
    audio = torch.stack(rows)
    mono = encoder.channels == 1 and waves[0].ndim > 1
    return (audio[:, 0] if mono else audio), torch.tensor(samples)


def encode(encoder: Encoder, *waves: torch.Tensor) -> list[torch.Tensor]:
    """The frames [F, D] of each wave, [channels, n] or [n], encoded as one batch: for tests."""
    return _cut(*encoder.encode(*padded(encoder, waves)))


def _cut(latents: torch.Tensor, frames: torch.Tensor) -> list[torch.Tensor]:
    return [rows[:count] for rows, count in zip(latents, frames.tolist(), strict=True)]
