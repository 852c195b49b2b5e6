"""Digests of audio, and utterances that are copies of others.

A copy would be scored as if it were new, or, on the other side of the split, as if it were
another voice.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from latentbench.corpora.corpus import Utterance
    from latentbench.progress import Progress

__all__ = ["audio_digests", "copies"]

READERS = 2


def audio_digests(utterances: Sequence[Utterance], progress: Progress) -> dict[str, str]:
    """The digest of every utterance's audio by id; empty where it cannot be had."""
    digests = {}
    with (
        progress.task("checking audio", len(utterances), "utterances") as meter,
        ThreadPoolExecutor(READERS) as pool,
    ):
        for one, digest in zip(utterances, pool.map(_digest, utterances), strict=True):
            digests[one.id] = digest
            meter.advance()
    return digests


def copies(utterances: Iterable[Utterance], progress: Progress) -> dict[str, str]:
    """Id of every utterance whose content came before -> id of the first that has it.

    Only those of equal length, rate and size are looked into.
    """
    alike: dict[object, list[Utterance]] = defaultdict(list)
    for one in utterances:
        alike[one.seconds, one.sample_rate, one.source.size].append(one)
    doubtful = [one for group in alike.values() if len(group) > 1 for one in group]
    if not doubtful:
        return {}
    digests = audio_digests(doubtful, progress)
    first: dict[str, str] = {}
    found = {}
    for one in doubtful:
        digest = digests[one.id]
        if digest and first.setdefault(digest, one.id) != one.id:
            found[one.id] = first[digest]
    return found


def _digest(utterance: Utterance) -> str:
    try:
        return utterance.source.digest()
    except Exception:  # noqa: BLE001 - decoding gives the reason, and skips by it
        return ""
