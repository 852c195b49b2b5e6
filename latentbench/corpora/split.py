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

Side: TypeAlias = Literal["train", "validation", "eval"]

MIN_SPEAKERS = 2
# Fewer say too little of others; more would only be taken from training.
LEAST_VALIDATION, MOST_VALIDATION = 2, 20


@dataclass(frozen=True)
class SpeakerSplit:
    """Disjoint speaker ids, in the order the shuffle left them; validation may be empty."""

    train: tuple[str, ...]
    eval: tuple[str, ...]
    validation: tuple[str, ...] = ()

    @property
    def sides(self) -> dict[Side, tuple[str, ...]]:
        """Side -> its speakers; without validation where there are none of it."""
        kept_apart: dict[Side, tuple[str, ...]] = {"validation": self.validation}
        return {
            "train": self.train,
            **(kept_apart if self.validation else {}),
            "eval": self.eval,
        }

    def side(self, speaker: str) -> Side | Literal[""]:
        """Where a speaker is; empty where on neither side."""
        return self._side_of.get(speaker, "")

    @cached_property
    def _side_of(self) -> dict[str, Side]:
        return {speaker: side for side, of_side in self.sides.items() for speaker in of_side}


def split_speakers(
    speakers: Iterable[str],
    *,
    eval_fraction: float,
    seed: int,
    validation_fraction: float = 0.0,
    validation_seed: int = 43,
) -> SpeakerSplit:
    """Sort the ids, shuffle them by `random.Random(seed)`, take the last ones as eval.

    Ids are sorted as integers where all are integers (`01` and `1` are two speakers, and stand
    in the order of their text), as text otherwise. The number of eval
    speakers is `eval_fraction` of all, rounded up: 251 speakers at 0.2 give 200 and 51, which
    with seed 42 is the split of the original experiment on train-clean-100. Of the others
    `validation_fraction`, at least 2 and at most 20, are taken for validation in the same way.

    Raises:
        UsageError: fewer than two speakers, or a side would be empty.
    """
    ids = set(speakers)
    if len(ids) < MIN_SPEAKERS:
        raise UsageError(
            f"The corpus has {len(ids)} speaker(s) with audio that can be used; a split by "
            "speaker needs at least two.",
            "Use a corpus with more speakers, or tell the 'folder' corpus how to find them "
            "(corpus.speaker_pattern or corpus.speakers_csv).",
        )
    n_eval = _share(eval_fraction, len(ids))
    if not 0 < n_eval < len(ids):
        raise UsageError(
            f"split.eval_fraction={eval_fraction} of {counted(len(ids), 'speaker')} leaves "
            f"{len(ids) - n_eval} to train and {n_eval} to evaluate.",
            "Choose a fraction that leaves at least one speaker on each side.",
        )
    train, held_out = _cut(ids, n_eval, seed)
    if not validation_fraction:
        return SpeakerSplit(train=train, eval=held_out)
    wanted = _share(validation_fraction, len(train))
    n_validation = min(max(wanted, LEAST_VALIDATION), MOST_VALIDATION)
    if n_validation >= len(train):
        raise UsageError(
            f"split.validation_fraction={validation_fraction} takes {n_validation} of "
            f"{counted(len(train), 'train speaker')} (at least {LEAST_VALIDATION}), and leaves "
            "none to train.",
            "Use more speakers or a smaller split.eval_fraction, or train without validation: "
            "--set split.validation_fraction=0 --set training.select=last.",
        )
    train, validation = _cut(train, n_validation, validation_seed)
    return SpeakerSplit(train=train, eval=held_out, validation=validation)


def _share(fraction: float, of: int) -> int:
    """A fraction of so many, rounded up; in exact arithmetic, as it is written."""
    return math.ceil(Fraction(str(fraction)) * of)


def _cut(ids: Iterable[str], last: int, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sort, shuffle and cut off the last ones."""
    known = list(ids)
    numeric = all(name.isdecimal() for name in known)
    ordered = sorted(known, key=lambda name: (int(name), name)) if numeric else sorted(known)
    random.Random(seed).shuffle(ordered)  # noqa: S311 - the published split, no secret
    return tuple(ordered[:-last]), tuple(ordered[-last:])
