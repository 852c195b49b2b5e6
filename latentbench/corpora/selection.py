"""Which utterances of a corpus a run uses."""

from __future__ import annotations

from collections import defaultdict
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentbench.corpora.corpus import Utterance

__all__ = ["select"]


def select(
    utterances: Sequence[Utterance], *, min_seconds: float, limit: int | None
) -> list[Utterance]:
    """The utterances of at least `min_seconds`, at most `limit` of them, in corpus order.

    An utterance of unknown or no length (0.0) is kept: decoding it gives the reason it is
    skipped for. A limit takes from every speaker in turn, so both sides of a split keep some.
    """
    long_enough = [
        index for index, one in enumerate(utterances) if not 0 < one.seconds < min_seconds
    ]
    if limit is None or limit >= len(long_enough):
        return [utterances[index] for index in long_enough]
    by_speaker: dict[str, list[int]] = defaultdict(list)
    for index in long_enough:
        by_speaker[utterances[index].speaker].append(index)
    turns = [index for turn in zip_longest(*by_speaker.values()) for index in turn]
    kept = [index for index in turns if index is not None][:limit]
    return [utterances[index] for index in sorted(kept)]
