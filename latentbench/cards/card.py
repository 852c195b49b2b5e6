"""What is said of an encoder: the records of its card."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads it
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - with the rest

from pydantic import TypeAdapter, ValidationError

from latentbench.errors import UsageError
from latentbench.latents.degeneracy import LatentFacts  # noqa: TC001 - pydantic reads it

__all__ = [
    "CARD",
    "Card",
    "Decoded",
    "Heard",
    "Lag",
    "LevelChange",
    "Predictable",
    "Statistics",
    "card_in",
]

CARD = "card.json"  # in a run folder


@dataclass(frozen=True)
class Lag:
    """Correlation of frames that are `frames` apart.

    Attributes:
        frames: of the lag.
        ms: the same in milliseconds.
        correlation: trace of the covariance at this lag over the variance; None where the latents
            do not vary or no two frames are so far apart.
    """

    frames: int
    ms: float
    correlation: float | None


@dataclass(frozen=True)
class Statistics:
    """Moments of a sample of the frames.

    Attributes:
        utterances: looked at.
        speakers: of them.
        frames: of them.
        seconds: of them.
        mean: of all values.
        std: of all values about it.
        low: the smallest value.
        high: the largest.
        dim_mean: mean of each dimension, [D].
        dim_std: standard deviation of each, [D].
        dim_kurtosis: excess kurtosis of each, 0 where Gaussian; None of a constant one.
        spectrum: share of each principal direction in the variance, largest first, [D].
        effective_rank: exp of the entropy of the spectrum; None where nothing varies.
        participation_ratio: 1 / sum of the squares of the spectrum; likewise.
        norm: mean norm of a frame.
        norm_std: its standard deviation.
        move: mean norm of the change from one frame to the next; None without two frames.
        move_share: root mean square of that change over that of the deviation from the mean:
            sqrt 2 where white; likewise.
        autocorrelation: by lag, up to about a second.
        speaker_share: variance between speakers over all variance, from the means of utterances
            (one-way random effects; Searle, Casella & McCulloch, Variance Components, ch. 3);
            None without two speakers, one of them of two utterances.
    """

    utterances: int
    speakers: int
    frames: int
    seconds: float
    mean: float
    std: float
    low: float
    high: float
    dim_mean: tuple[float, ...]
    dim_std: tuple[float, ...]
    dim_kurtosis: tuple[float | None, ...]
    spectrum: tuple[float, ...]
    effective_rank: float | None
    participation_ratio: float | None
    norm: float
    norm_std: float
    move: float | None
    move_share: float | None
    autocorrelation: tuple[Lag, ...]
    speaker_share: float | None


@dataclass(frozen=True)
class Predictable:
    """What a linear prediction gains at one staleness, on speakers it was not fitted on.

    Attributes:
        frames: k.
        ms: the same in milliseconds.
        context: frames that it sees.
        gain: nats a frame that it gains on a Gaussian of the same latents without a context.
        directions: the gain of each predictable component, largest first; their sum is `gain`.
        low: of `gain`, lower bound of the 95 % interval over eval speakers; None where these are
            too few for one.
        high: upper bound; likewise.
        speakers: of eval, that it was measured on.
    """

    frames: int
    ms: float
    context: int
    gain: float
    directions: tuple[float, ...]
    low: float | None = None
    high: float | None = None
    speakers: int = 0


@dataclass(frozen=True)
class LevelChange:
    """How frames change when audio is made louder or quieter.

    Attributes:
        decibels: by how much.
        change: root mean square of the change over that of the deviation of frames from their
            mean.
        constant: share of the squared change that is one vector, the same for every frame.
    """

    decibels: float
    change: float
    constant: float


@dataclass(frozen=True)
class Decoded:
    """What is lost from audio to latents and back.

    Attributes:
        distance: log-spectral distance in dB (Gray & Markel, IEEE ASSP 1976), over windows of
            25 ms, parts more than 60 dB below the loudest left out.
        level: of the decoded audio against the original, dB.
    """

    distance: float
    level: float


@dataclass(frozen=True)
class Heard:
    """What was found by giving the encoder other audio, on the CPU.

    Attributes:
        look_ahead: frames after its own hop that a frame sees, as measured.
        start: frames at the start until they are, to 1 %, what they would be after earlier audio;
            None where they were not so far as was looked.
        start_tried: how far that was, in frames.
        levels: at -6 and +6 dB.
        decoded: None where there is no decoder at hand.
        times_real_time: seconds of audio that a second of encoding takes.
    """

    look_ahead: int
    start: int | None
    start_tried: int
    levels: tuple[LevelChange, ...]
    decoded: Decoded | None
    times_real_time: float


@dataclass(frozen=True)
class Card:
    """All that is said of one encoder on one corpus.

    Attributes:
        encoder: its name.
        corpus: likewise.
        options: of the encoder, that are not its defaults.
        stamps: what is to be known of it, e.g. random weights.
        fingerprint: all that changes its latents.
        sample_rate: of the audio it takes, Hz.
        channels: likewise.
        hop: samples from one frame to the next.
        dim: D.
        frame_rate: frames a second.
        look_ahead: as it declares it, in frames.
        sees_all: whether it declares to see the whole utterance.
        statistics: of a sample of the frames.
        facts: what may make a likelihood meaningless; None where no utterance has two frames.
        warnings: the same in sentences.
        predictable: by staleness; empty where there are too few frames.
        heard: None where the encoder takes latents.
        sampled: what `speakers` are: these, or the `files` of one voice.
    """

    encoder: str
    corpus: str
    options: Mapping[str, str]
    stamps: tuple[str, ...]
    fingerprint: Mapping[str, str]
    sample_rate: float
    channels: int
    hop: int
    dim: int
    frame_rate: float
    look_ahead: int
    sees_all: bool
    statistics: Statistics
    facts: LatentFacts | None
    warnings: tuple[str, ...]
    predictable: tuple[Predictable, ...]
    heard: Heard | None
    sampled: str = "speakers"

    def to_json(self) -> str:
        """Indented JSON, which `card_in` reads back."""
        return TypeAdapter(Card).dump_json(self, indent=2).decode() + "\n"


def card_in(folder: Path) -> Card | None:
    """The card that lies in a run folder; None where there is none.

    Raises:
        UsageError: the file is no card, or cannot be read.
    """
    file = folder / CARD
    if not file.exists():
        return None
    try:
        return TypeAdapter(Card).validate_json(file.read_bytes())
    except (OSError, ValidationError):
        raise UsageError(
            f"'{file}' is no card of an encoder.",
            f"Write it again: latentbench card ENCODER --out {file}",
        ) from None
