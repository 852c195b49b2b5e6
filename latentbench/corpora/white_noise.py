"""The corpus `white-noise`: audio without any temporal structure, a control."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from latentbench.corpora.corpus import AudioSource, Corpus, Utterance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from latentbench.corpora.plugin import WhiteNoiseOptions
    from latentbench.workspace import Workspace

__all__ = ["NoiseSource", "WhiteNoise"]

PROBE = 64  # samples drawn for a digest: another version of the generator would show in them


class NoiseSource(AudioSource):
    """One stretch of Gaussian white noise, drawn anew at every reading.

    Args:
        samples: how many.
        level: its standard deviation; full scale is 1.
        seed: of the draw.
        label: what a user would call it.
    """

    def __init__(self, samples: int, level: float, seed: tuple[int, ...], label: str) -> None:
        self._samples = samples
        self._level = level
        self._seed = seed
        self._label = label

    def __repr__(self) -> str:
        return f"NoiseSource({self._label!r})"

    def read(self) -> NDArray[np.float32]:
        """All samples, float32 [1, samples]."""
        return self._draw(self._samples)[None]

    def digest(self) -> str:
        """The sha256 of length, level, seed and the first samples, as hex."""
        decides = repr((self._samples, self._level, self._seed)).encode()
        first = self._draw(min(PROBE, self._samples)).tobytes()
        return hashlib.sha256(decides + first).hexdigest()

    def describe(self) -> str:
        """Speaker and number of the utterance."""
        return self._label

    def _draw(self, count: int) -> NDArray[np.float32]:
        drawn = np.random.default_rng(self._seed).standard_normal(count, dtype=np.float32)
        drawn *= self._level
        return drawn


class WhiteNoise(Corpus):
    """White noise by speakers who differ in nothing; made in memory, without files.

    The seed of an utterance is (seed, speaker, utterance): more speakers or utterances leave
    those there were as they are.
    """

    name = "white-noise"

    def __init__(self, options: WhiteNoiseOptions, workspace: Workspace) -> None:  # noqa: ARG002 - the contract's signature; there is nothing to keep or report
        self._options = options

    @property
    def identity(self) -> Mapping[str, str]:
        """Every option."""
        options = {name: str(value) for name, value in asdict(self._options).items()}
        return {"corpus": self.name, **options}

    def utterances(self) -> Sequence[Utterance]:
        """Speaker by speaker; draws nothing."""
        options = self._options
        samples = max(1, round(options.seconds * options.sample_rate))
        return [
            Utterance(
                id=f"noise-{speaker:03d}-{number:03d}",
                speaker=f"noise-{speaker:03d}",
                source=NoiseSource(
                    samples,
                    options.level,
                    (options.seed, speaker, number),
                    f"white noise, speaker {speaker}, utterance {number}",
                ),
                sample_rate=options.sample_rate,
                seconds=samples / options.sample_rate,
            )
            for speaker in range(options.speakers)
            for number in range(options.utterances)
        ]
