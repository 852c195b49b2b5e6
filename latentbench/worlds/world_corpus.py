"""Worlds as corpora: every speaker is an independent draw of one process of latents."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentbench.corpora.corpus import (
    AudioSource,
    Corpus,
    LatentFormat,
    Recording,
    Utterance,
)
from latentbench.worlds.plugin import build_world

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from latentbench.workspace import Workspace
    from latentbench.worlds.plugin import WorldOptions
    from latentbench.worlds.world import World

__all__ = ["FRAME_RATE", "WorldCorpus", "WorldSource"]

FRAME_RATE = 12.5  # Mimi's


@dataclass(frozen=True)
class WorldSource(AudioSource):
    """One sequence of a world, drawn anew at every reading.

    Attributes:
        world: the process.
        frames: how many.
        seed: of the draw.
        label: what a user would call it.
    """

    world: World
    frames: int
    seed: tuple[int, ...]
    label: str

    def read(self) -> NDArray[np.float32]:
        """The sequence, float32 [D, F]."""
        drawn = self.world.sample(1, self.frames, np.random.default_rng(self.seed))
        return np.ascontiguousarray(drawn[0].T, dtype=np.float32)

    def digest(self) -> str:
        """The sha256 of the frames, as hex."""
        return self.record(FRAME_RATE).digest

    def record(self, sample_rate: float) -> Recording:
        """The sequence and its digest, drawn once."""
        frames = self.read()
        return Recording(frames, sample_rate, hashlib.sha256(frames.tobytes()).hexdigest())

    def describe(self) -> str:
        """World, speaker and number of the utterance."""
        return self.label


class WorldCorpus(Corpus):
    """Utterances of a world, all of one length.

    The seed of an utterance is (seed, world, speaker, utterance): more speakers or utterances
    leave those there were as they are, and worlds do not share their draws.
    """

    def __init__(self, options: WorldOptions, workspace: Workspace) -> None:  # noqa: ARG002 - the contract's signature; there is nothing to keep or report
        self._options = options
        self.name = f"world:{options.world}"
        self.latents = LatentFormat(options.dim, FRAME_RATE)

    @property
    def identity(self) -> Mapping[str, str]:
        """The world's name and every option."""
        options = {name: str(value) for name, value in asdict(self._options).items()}
        return {"corpus": self.name, **options}

    def utterances(self) -> Sequence[Utterance]:
        """Speaker by speaker; draws nothing."""
        options, world = self._options, build_world(self._options)
        return [
            Utterance(
                id=f"s{speaker:03d}-{number:03d}",
                speaker=f"s{speaker:03d}",
                source=WorldSource(
                    world,
                    options.frames,
                    (options.seed, zlib.crc32(self.name.encode()), speaker, number),
                    f"{self.name}, speaker {speaker}, utterance {number}",
                ),
                sample_rate=FRAME_RATE,
                seconds=options.frames / FRAME_RATE,
            )
            for speaker in range(options.speakers)
            for number in range(options.utterances)
        ]
