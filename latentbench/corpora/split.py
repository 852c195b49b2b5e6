"""The split by speaker, by the rule of the original experiment."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from latentbench.errors import UsageError, counted

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SpeakerSplit", "split_speakers"]

Side: TypeAlias = Literal["train", "eval"]

MIN_SPEAKERS = 2


@dataclass(frozen=True)
class SpeakerSplit:
    """Disjoint speaker ids, in the order the shuffle left them."""

    train: tuple[str, ...]
    eval: tuple[str, ...]

    @property
    def sides(self) -> dict[Side, tuple[str, ...]]:
        """Side -> its speakers."""
        return {"train": self.train, "eval": self.eval}

    def side(self, speaker: str) -> Side | Literal[""]:
        """Where a speaker is; empty where on neither side."""
        return self._side_of.get(speaker, "")

    @cached_property
    def _side_of(self) -> dict[str, Side]:
        return {speaker: side for side, of_side in self.sides.items() for speaker in of_side}


def split_speakers(speakers: Iterable[str], *, eval_fraction: float, seed: int) -> SpeakerSplit:
    """Sort the ids, shuffle them by `random.Random(seed)`, take the last ones as eval.

    Ids are sorted as integers where all are integers (`01` and `1` are two speakers, and stand
    in the order of their text), as text otherwise. The number of eval
    speakers is `eval_fraction` of all, rounded up: 251 speakers at 0.2 give 200 and 51, which
    with seed 42 is the split of the original experiment on train-clean-100.

    Raises:
        UsageError: fewer than two speakers, or a side would be empty.
    """
    ids = set(speakers)
    numeric = all(name.isdecimal() for name in ids)
    ordered = sorted(ids, key=lambda name: (int(name), name)) if numeric else sorted(ids)
    if len(ordered) < MIN_SPEAKERS:
        raise UsageError(
            f"The corpus has {len(ordered)} speaker(s) with audio that can be used; a split by "
            "speaker needs at least two.",
            "Use a corpus with more speakers, or tell the 'folder' corpus how to find them "
            "(corpus.speaker_pattern or corpus.speakers_csv).",
        )
    n_eval = math.ceil(Fraction(str(eval_fraction)) * len(ordered))
    if not 0 < n_eval < len(ordered):
        raise UsageError(
            f"split.eval_fraction={eval_fraction} of {counted(len(ordered), 'speaker')} leaves "
            f"{len(ordered) - n_eval} to train and {n_eval} to evaluate.",
            "Choose a fraction that leaves at least one speaker on each side.",
        )
    random.Random(seed).shuffle(ordered)  # noqa: S311 - the published split, no secret
    n_train = len(ordered) - n_eval
    return SpeakerSplit(train=tuple(ordered[:n_train]), eval=tuple(ordered[n_train:]))
