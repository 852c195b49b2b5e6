"""The corpus contract: a corpus lists utterances and decodes none before it is asked to."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "MOST_SAMPLES",
    "AudioError",
    "AudioSource",
    "Corpus",
    "LatentFormat",
    "PassingTroubleError",
    "Recording",
    "Utterance",
    "of_the_machine",
]

# Of one utterance, all channels together: 2 GiB of float32, or nine hours of mono at 16 kHz.
MOST_SAMPLES = 2**29


class AudioError(Exception):
    """Audio that cannot be used; the text says why in a few words, e.g. `not finite`."""


class PassingTroubleError(LatentbenchError):
    """The machine kept audio from being read: for want of memory, or with too many open files."""


PASSING = frozenset(
    getattr(errno, name)
    for name in ("EAGAIN", "EINTR", "EIO", "EMFILE", "ENFILE", "ENOMEM", "ESTALE", "ETIMEDOUT")
    if hasattr(errno, name)
)


@contextmanager
def of_the_machine(what: Path | str) -> Iterator[None]:
    """Tell trouble of the machine from what is wrong with the audio: that may be sound.

    Raises:
        PassingTroubleError: there was no memory, or the system could not read. All else is raised
            as it is.
    """
    try:
        yield
    except (MemoryError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in PASSING:
            raise
        reason = getattr(error, "strerror", None) or "not enough memory"
        raise PassingTroubleError(
            f"'{what}' could not be read: {reason}.",
            "It may be sound. The same command goes on where this one ended; take the file out of "
            "the corpus where it fails again.",
        ) from error


class Recording(NamedTuple):
    """Samples as they were read, float32 [channels, samples] at `sample_rate` Hz.

    `digest` is of the very content they were made of.
    """

    samples: NDArray[np.float32]
    sample_rate: float
    digest: str


class AudioSource(ABC):
    """Place of the samples of one utterance.

    Attributes:
        size: of the content, such as the bytes of a file: sources of different size are not
            copies of one another. None where that says nothing.
    """

    size: int | None = None

    @property
    def decoder(self) -> str:
        """What decodes it, with its version, where a result must say so; else empty."""
        return ""

    @abstractmethod
    def read(self) -> NDArray[np.float32]:
        """All samples, float32 [channels, samples], at the utterance's sample rate.

        Raises:
            AudioError: the samples cannot be decoded.
        """

    @abstractmethod
    def digest(self) -> str:
        """A hex digest of the content: equal exactly where the samples are the same file.

        Where another version of what decodes it may give other samples, that is digested too:
        latents are found by this digest.
        """

    def record(self, sample_rate: float) -> Recording:
        """Read the samples, with the digest of the content they were made of.

        Args:
            sample_rate: of the utterance.

        Raises:
            AudioError: as `read`, or the content changed meanwhile.
        """
        digest = self.digest()
        samples = self.read()
        if self.digest() != digest:
            raise AudioError("changed while it was read")
        return Recording(samples, sample_rate, digest)

    @abstractmethod
    def describe(self) -> str:
        """What a user would call it, e.g. the path."""


@dataclass(frozen=True)
class Utterance:
    """One stretch of audio by one speaker.

    Attributes:
        id: unique within the corpus, stable across machines.
        speaker: the speaker's id; splits never part a speaker.
        source: where the samples are.
        sample_rate: in Hz.
        seconds: length; 0.0 where it is not known, and the utterance cannot be used.
        attributes: what else is known, e.g. `{"sex": "F", "subset": "train-clean-100"}`.
        problem: why it cannot be used, as far as listing knows; it is then not read.
    """

    id: str
    speaker: str
    source: AudioSource
    sample_rate: float
    seconds: float
    attributes: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


class LatentFormat(NamedTuple):
    """D and frames per second of a corpus that holds latents."""

    dim: int
    frame_rate: float


class Corpus(ABC):
    """A source of utterances; made by `factory(options, workspace)`, which opens nothing yet.

    Attributes:
        name: what the result calls it, e.g. `librispeech train-clean-100`.
        identity: all options that decide which utterances there are (not their content);
            two corpora of equal identity share a latent store.
        latents: where the utterances are not audio but latents: each source then gives D
            channels at the frame rate. None for audio.
    """

    name: str
    latents: LatentFormat | None = None

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, str]:
        """What tells this corpus from another, as plain strings."""

    def is_at_hand(self) -> bool:
        """Whether `utterances` would need no download.

        Raises:
            UsageError: the options name what cannot be had.
        """
        return True

    @abstractmethod
    def utterances(self) -> Sequence[Utterance]:
        """Every utterance in a fixed order (the order of streaming); decodes nothing.

        Raises:
            UsageError: the corpus is not there or is not what it should be.
        """
