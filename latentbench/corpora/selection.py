"""Choice of the audio of a run: which utterances it uses, on which side, and why not others."""

from __future__ import annotations

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal, NamedTuple

from latentbench.corpora.split import SpeakerSplit, split_speakers
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from latentbench.config import SplitConfig, UtteranceConfig
    from latentbench.corpora.corpus import Corpus, Utterance
    from latentbench.progress import Progress

__all__ = [
    "NEITHER",
    "Audio",
    "Counts",
    "LeftOut",
    "audio_digests",
    "choose_audio",
    "copies",
    "count_utterances",
    "leave_out",
    "left_out",
    "require_same_audio",
]

NEITHER = "neither"
READERS = 2
MIN_SPEAKERS = 2


class LeftOut(NamedTuple):
    """Reason why a run does not use an utterance.

    An option dropped it (`dropped`), or it cannot be used (`skipped`).

    What stands before a colon in the reason is common to many.
    """

    how: Literal["dropped", "skipped"]
    reason: str


@dataclass(frozen=True)
class Counts:
    """The utterances of one side; those dropped and skipped by reason."""

    listed: int = 0
    used: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Audio:
    """The utterances of a run and its speaker split.

    Attributes:
        corpus: where the utterances are from.
        listed: all of them.
        left_out: utterance id -> why it is not used.
        split: which speakers are on which side, of those with an utterance that is used.
    """

    corpus: Corpus
    listed: tuple[Utterance, ...]
    left_out: Mapping[str, LeftOut]
    split: SpeakerSplit

    @property
    def utterances(self) -> list[Utterance]:
        """Those that are used, in the order of streaming."""
        return [one for one in self.listed if one.id not in self.left_out]

    @property
    def counts(self) -> dict[str, Counts]:
        """The utterances of each side: listed, used, dropped and skipped."""
        return count_utterances(self.listed, self.split, self.left_out)

    @property
    def sides(self) -> dict[str, list[Utterance]]:
        """Split -> the utterances that are used."""
        used = self.utterances
        return {
            side: [one for one in used if self.split.side(one.speaker) == side]
            for side in self.split.sides
        }

    def digests(self, progress: Progress) -> dict[str, str]:
        """Id -> digest of the audio of every utterance that is used; see `audio_digests`."""
        return audio_digests(self.utterances, progress)


def choose_audio(
    corpus: Corpus, utterances: UtteranceConfig, split: SplitConfig, progress: Progress
) -> Audio:
    """The utterances of a run and the sides of their speakers; decodes nothing.

    The sides are of speakers with an utterance that is used, as far as listing knows. Where the
    split is by file, every utterance has its own id for a speaker from here on.

    Raises:
        UsageError: the corpus is not there, or fewer than two speakers are left.
    """
    listed = tuple(corpus.utterances())
    if split.by == "file":
        listed = tuple(replace(one, speaker=one.id) for one in listed)
    out = leave_out(
        listed, min_seconds=utterances.min_seconds, limit=utterances.limit, progress=progress
    )
    speakers = [one.speaker for one in listed if one.id not in out]
    if len(set(speakers)) < MIN_SPEAKERS:
        raise UsageError(
            f"{len(speakers)} of {len(listed)} utterances can be used, of {len(set(speakers))} "
            f"speaker(s); a split by speaker needs at least two.{_most_common(out)}",
            "Lower utterances.min_seconds, raise the limit, or tell the 'folder' corpus where the "
            "speakers are (corpus.speaker_pattern or corpus.speakers_csv). For one voice: --set "
            "split.by=file.",
        )
    sides = split_speakers(speakers, **split.model_dump(exclude={"by"}))
    return Audio(corpus, listed, out, sides)


def leave_out(
    utterances: Sequence[Utterance], *, min_seconds: float, limit: int | None, progress: Progress
) -> dict[str, LeftOut]:
    """Find the utterances that a run cannot or must not use, as far as listing knows: id -> why.

    Those that cannot be read, those shorter than `min_seconds`, copies of others, and those
    beyond `limit`, which takes from every speaker in turn.
    """
    out: dict[str, LeftOut] = {}
    for one in utterances:
        if one.problem or not one.seconds:
            out[one.id] = LeftOut("skipped", one.problem or "no samples")
        elif one.seconds < min_seconds:
            out[one.id] = LeftOut("dropped", f"shorter than {min_seconds:g} s")
    for copy, first in copies((one for one in utterances if one.id not in out), progress).items():
        out[copy] = LeftOut("skipped", f"a copy: the same audio as {first}")
    if limit is not None:
        left = [one for one in utterances if one.id not in out]
        beyond = LeftOut("dropped", f"beyond the limit of {limit} utterances")
        out.update(dict.fromkeys(_in_turn(left)[limit:], beyond))
    return out


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
    """Find utterances that are copies of others: id -> id of the first with that content.

    It would be scored as if it were new, or, on the other side of the split, as another voice.
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


def require_same_audio(
    folder: Path, then: set[tuple[str, str, str]], now: set[tuple[str, str, str]]
) -> None:
    """Refuse to go on with a run that was begun with other audio.

    Args:
        folder: of the run.
        then: utterance, speaker and digest of the audio it was begun with.
        now: the same of what is there.

    Raises:
        UsageError: names how many utterances changed, and one.
    """
    if changed := {utterance for utterance, _, _ in then ^ now}:
        raise UsageError(
            f"The run folder '{folder}' was begun with other audio: {len(changed)} utterances "
            f"changed since, e.g. '{min(changed)}'.",
            "Choose another --out, or remove the folder.",
        )


def count_utterances(
    utterances: Sequence[Utterance], split: SpeakerSplit, left_out: Mapping[str, LeftOut]
) -> dict[str, Counts]:
    """The counts of each side and, if there are such, of `neither`.

    Of neither side are speakers of whom no utterance can be used.
    """
    groups: dict[str, list[Utterance]] = {side: [] for side in split.sides}
    for one in utterances:
        groups.setdefault(split.side(one.speaker) or NEITHER, []).append(one)
    return {side: _count([left_out.get(one.id) for one in group]) for side, group in groups.items()}


def left_out(counts: Mapping[str, Counts]) -> Iterator[str]:
    """A line for each side of which utterances are left out: how many, and why."""
    for side, found in counts.items():
        if found.used < found.listed:
            why = ", ".join(
                f"{count:,} {how} ({reason})"
                for how, reasons in (("dropped", found.dropped), ("skipped", found.skipped))
                for reason, count in reasons.items()
            )
            name = "speakers on neither side" if side == NEITHER else side
            yield f"{name}: {found.used:,} of {found.listed:,} utterances are used; {why}"


def _most_common(left_out: Mapping[str, LeftOut]) -> str:
    """The most common reason, with an example."""
    reasons = Counter(one.reason.partition(":")[0] for one in left_out.values())
    if not reasons:
        return ""
    reason, count = reasons.most_common(1)[0]
    example = next(one for one, why in left_out.items() if why.reason.startswith(reason))
    return f" Left out: {count:,} {reason}, e.g. '{example}'."


def _in_turn(utterances: Sequence[Utterance]) -> list[str]:
    """Ids, one of each speaker in turn."""
    by_speaker: dict[str, list[str]] = defaultdict(list)
    for one in utterances:
        by_speaker[one.speaker].append(one.id)
    return [id_ for turn in zip_longest(*by_speaker.values()) for id_ in turn if id_ is not None]


def _count(fates: Sequence[LeftOut | None]) -> Counts:
    reasons: dict[str, Counter[str]] = {"dropped": Counter(), "skipped": Counter()}
    for fate in fates:
        if fate is not None:
            reasons[fate.how][fate.reason.partition(":")[0]] += 1
    used = sum(fate is None for fate in fates)
    return Counts(len(fates), used, dict(reasons["dropped"]), dict(reasons["skipped"]))


def _digest(utterance: Utterance) -> str:
    try:
        return utterance.source.digest()
    except Exception:  # noqa: BLE001 - decoding gives the reason, and skips by it
        return ""
