"""The encoder contract: audio in, continuous latent frames out, and for some the way back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

    from latentbench.corpora import Corpus

__all__ = ["WHOLE_UTTERANCE", "Encoder", "Segment", "exact_float32", "sight_text"]

WHOLE_UTTERANCE = 2**31 - 1  # as `look_ahead`: more frames than any utterance or staleness has


def sight_text(look_ahead: int) -> str:
    """`8 frames`, or `the whole utterance`."""
    return "the whole utterance" if look_ahead == WHOLE_UTTERANCE else f"{look_ahead} frames"


class Segment(NamedTuple):
    """A stretch of consecutive frames: frame i covers samples from `start + i * hop` on."""

    start: int
    frames: int


class Encoder(ABC):
    """Audio to latents; made by `factory(options, workspace)`, which loads nothing yet.

    The core resamples, mixes to `channels` and zero-pads each utterance to a whole number of
    hops before `encode`; it calls `bind` and `load` once, then `encode` from one thread.

    Attributes:
        sample_rate: of the audio it takes, in Hz.
        hop: samples from one frame to the next.
        dim: D, size of a latent frame.
        channels: audio channels it takes: 1 or 2; D of an encoder that takes latents.
        look_ahead: how many frames after t frame x_t can see; `WHOLE_UTTERANCE` where it sees
            them all.
        max_batch_seconds: padded audio that one call of `encode` may hold; 0 where utterances
            must be encoded one at a time.
        decoder_look_ahead: how many frames after t the sound of hop t depends on, where it
            decodes; `WHOLE_UTTERANCE` where on all of them.
        stamps: what a result must carry, e.g. `("random weights",)`.
    """

    sample_rate: float
    hop: int
    dim: int
    channels: int = 1
    look_ahead: int = 0
    max_batch_seconds: float = 120.0
    decoder_look_ahead: int = 0
    stamps: tuple[str, ...] = ()

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop

    def frame_count(self, samples: int) -> int:
        """How many frames an utterance of `samples` samples (before padding) gives."""
        return -(-samples // self.hop)

    def segments(self, samples: int) -> tuple[Segment, ...]:
        """The stretches of consecutive frames an utterance gives, `frame_count` in all.

        One stretch, unless the encoder works in chunks between which frames must not be
        differenced; windows and targets never cross from one stretch to the next.
        """
        return (Segment(0, self.frame_count(samples)),)

    def bind(self, corpus: Corpus) -> None:
        """Take notice of the corpus that will be encoded; called before `load`.

        Raises:
            UsageError: the corpus holds latents already.
        """
        if corpus.latents is not None:
            raise UsageError(
                f"The corpus '{corpus.name}' holds latents already; the encoder takes audio.",
                "Pass them through with --encoder latents.",
            )

    def weights_at_hand(self) -> bool:
        """Whether `load` would need no download."""
        return True

    @abstractmethod
    def load(self, device: torch.device) -> None:
        """Bring the weights to `device`, downloading them where that is their source.

        Raises:
            UsageError: the weights cannot be had; says how to go on.
        """

    @abstractmethod
    def encode(
        self, audio: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode a batch of zero-padded utterances.

        An utterance gives the same frames alone and in a batch. Frames that are not finite
        exclude it from the run; an exception on a batch is answered by asking for each utterance
        alone, and one on a single utterance ends the run and names it, unless it is an
        `AudioError`, which only skips it.

        Args:
            audio: float32 [B, T] (mono) or [B, channels, T] on the encoder's device; T is a
                multiple of `hop`.
            lengths: int64 [B], samples of each utterance before padding.

        Returns:
            latents float32 [B, F, D] and frames int64 [B]; frames[i] is
            `frame_count(lengths[i])`, and latents beyond it are undefined.
        """

    @abstractmethod
    def fingerprint(self) -> Mapping[str, str]:
        """All that changes the latents: weights digest, library versions, options.

        Called after `load`.
        """

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """The sound of a batch of latents; optional, and declared by `EncoderSpec.decodes`.

        Called after `load`; a decoder with weights of its own brings them at the first call. Hop t
        of the sound is that of frame t: no delay, and as many samples as the frames stand for. An
        utterance sounds the same alone and in a batch.

        Args:
            latents: float32 [B, F, D] on the encoder's device, F at least 1.

        Returns:
            Audio float32 [B, F hop], or [B, channels, F hop] where the encoder takes more than one,
            at `sample_rate`.

        Raises:
            UsageError: there is no decoder, or its weights cannot be had; says how to go on.
        """
        del latents
        raise UsageError(
            f"The encoder {type(self).__name__} has no decoder: its latents cannot be heard.",
            "Encoders that have one: latentbench plugins list --kind encoder",
        )


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Full float32 products on `device` (no TF32, no bf16, no autocast); afterwards as before.

    TF32 keeps 10 bits of a factor; latents that differ by that much are other latents.
    """
    import torch  # noqa: PLC0415 - listing the encoders imports this package, and no torch

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
