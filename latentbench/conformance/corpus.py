"""The conformance kit of corpora; the contract is `latentbench.corpora.Corpus`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import soundfile

from latentbench.conformance.check import Check, Doubt, Kit, Subject, require
from latentbench.corpora.corpus import AudioSource, Corpus, Utterance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from latentbench.conformance.check import Verdict

__all__ = ["KIT"]

TRIED = 3  # utterances that are read, spread over the corpus
HEX = re.compile(r"[0-9a-f]{16,}")
LENGTH_TOLERANCE = 0.01


class CorpusSubject(Subject):
    """A corpus, listed once."""

    def make(self) -> Corpus:
        """A new instance."""
        corpus: Corpus = self.component.create(self.options, self.workspace)
        return corpus

    @cached_property
    def corpus(self) -> Corpus:
        """The one instance that most checks look at."""
        return self.make()

    @cached_property
    def utterances(self) -> Sequence[Utterance]:
        """As listed the first time."""
        return self.corpus.utterances()

    @property
    def tried(self) -> list[Utterance]:
        """A few utterances from the first to the last, of those without a problem."""
        sound = [one for one in self.utterances if not one.problem]
        at = np.linspace(0, len(sound) - 1, min(TRIED, len(sound))).astype(int)
        return [sound[index] for index in dict.fromkeys(at.tolist())]


def lists(subject: CorpusSubject) -> Verdict:
    """The factory gives a Corpus whose utterances() are Utterances, at least one."""
    require(
        isinstance(subject.corpus, Corpus),
        f"{subject.component.spec.factory} to give a latentbench.corpora.Corpus",
        type(subject.corpus).__name__,
    )
    found = subject.utterances
    strangers = [one for one in found if not isinstance(one, Utterance)]
    require(not strangers, "Utterances", f"{strangers[:1]}")
    require(len(found), "at least one utterance", "none")
    return f"{len(found)} utterances, {sum(one.seconds for one in found) / 3600:.2f} h"


def ids(subject: CorpusSubject) -> Verdict:
    """Utterance ids are texts, not empty, and unique."""
    names = [one.id for one in subject.utterances]
    odd = [name for name in names if not isinstance(name, str) or not name]
    require(not odd, "ids that are texts, not empty", f"{odd[:3]}")
    twice = [name for name, count in Counter(names).items() if count > 1]
    require(not twice, "unique ids", f"{len(twice)} that come twice, e.g. '{twice[:1]}'")
    return None


def describes(subject: CorpusSubject) -> Verdict:
    """Every utterance has a speaker, a rate, a length, and attributes of text to text.

    A split by speaker needs at least two speakers.
    """
    for one in subject.utterances:
        require(
            isinstance(one.speaker, str) and one.speaker,
            f"a speaker of utterance '{one.id}'",
            repr(one.speaker),
        )
        require(one.seconds >= 0, f"seconds of utterance '{one.id}' >= 0", f"{one.seconds}")
        require(
            one.sample_rate > 0 or not one.seconds,
            f"a sample rate of utterance '{one.id}'",
            f"{one.sample_rate}",
        )
        texts = [*one.attributes.keys(), *one.attributes.values()]
        require(
            all(isinstance(text, str) for text in texts),
            f"attributes of utterance '{one.id}' of text to text",
            f"{dict(one.attributes)}",
        )
    speakers = {one.speaker for one in subject.utterances}
    if len(speakers) == 1:
        return Doubt("a single speaker: no run can split it into train and eval")
    return f"{len(speakers)} speakers"


def stable(subject: CorpusSubject) -> Verdict:
    """Another instance lists the same utterances in the same order, with the same identity."""
    other = subject.make()
    mine, its = (
        [(one.id, one.speaker, one.seconds) for one in listed]
        for listed in (subject.utterances, other.utterances())
    )
    differing = [a for a, b in zip(mine, its, strict=False) if a != b]
    require(
        len(mine) == len(its) and not differing,
        f"the same {len(mine)} utterances from another instance",
        f"{len(its)}, the first that differs: {differing[:1]}",
    )
    require(
        other.identity == subject.corpus.identity and other.name == subject.corpus.name,
        f"identity {dict(subject.corpus.identity)} from another instance",
        f"{dict(other.identity)}",
    )
    return None


def listing_decodes_nothing(subject: CorpusSubject) -> Verdict:
    """utterances() reads no audio: no source's read() and no soundfile read is called."""
    subject.utterances  # noqa: B018 - what is made once is made before
    with _reads() as calls:
        subject.make().utterances()
    require(not calls, "a listing that reads no audio", f"{len(calls)} calls of {calls[:1]}")
    return None


def identity(subject: CorpusSubject) -> Verdict:
    """A corpus has a name, and an identity of text to text that is not empty."""
    corpus = subject.corpus
    require(isinstance(corpus.name, str) and corpus.name, "a name", repr(corpus.name))
    found = corpus.identity
    require(
        isinstance(found, Mapping)
        and found
        and all(isinstance(text, str) for pair in found.items() for text in pair),
        "an identity of text to text, not empty",
        repr(found),
    )
    return f"{corpus.name}: {dict(found)}"


def digests(subject: CorpusSubject) -> Verdict:
    """The digest of an utterance is lower-case hex and the same from another instance."""
    others = {one.id: one for one in subject.make().utterances()}
    for one in subject.tried:
        found = one.source.digest()
        require(HEX.fullmatch(found), f"a hex digest of utterance '{one.id}'", f"{found!r}")
        again = others[one.id].source.digest()
        require(found == again, f"digest {found[:12]}... of '{one.id}' again", f"{again[:12]}...")
    return f"{len(subject.tried)} looked at"


def audio(subject: CorpusSubject) -> Verdict:
    """Samples are finite float32 [channels, samples], as long as said, the same each time."""
    for one in subject.tried:
        samples = one.source.read()
        what = f"the audio of '{one.id}' ({one.source.describe()})"
        require(
            isinstance(samples, np.ndarray) and samples.dtype == np.float32,
            f"{what} in float32",
            str(getattr(samples, "dtype", type(samples).__name__)),
        )
        require(
            samples.ndim == 2 and _channels_fit(subject.corpus, samples),  # noqa: PLR2004 - [C, T]
            f"{what} of shape [channels, samples]",
            f"{list(samples.shape)}",
        )
        require(np.isfinite(samples).all(), f"{what} finite", "infinite or nan")
        seconds = samples.shape[1] / one.sample_rate
        require(
            not one.seconds or abs(seconds - one.seconds) <= LENGTH_TOLERANCE * one.seconds,
            f"{what} of {one.seconds:.3f} s at {one.sample_rate} Hz",
            f"{seconds:.3f} s",
        )
        again = np.array_equal(samples, one.source.read())
        require(again, f"{what} again at the second read()", "other samples")
    return f"{len(subject.tried)} read"


KIT: Kit[CorpusSubject] = Kit(
    "corpus",
    CorpusSubject,
    (
        Check(lists, gate=True),
        Check(ids),
        Check(describes),
        Check(stable),
        Check(listing_decodes_nothing),
        Check(identity),
        Check(digests),
        Check(audio),
    ),
)


def _channels_fit(corpus: Corpus, samples: NDArray[np.float32]) -> bool:
    """D channels of latents; of audio, fewer than samples."""
    if corpus.latents is not None:
        return bool(samples.shape[0] == corpus.latents.dim)
    return bool(samples.shape[0] <= samples.shape[1])


@contextmanager
def _reads() -> Iterator[list[str]]:
    """Collect who is asked for samples meanwhile."""
    calls: list[str] = []

    def note(owner: type, name: str) -> mock._patch[object]:
        original = getattr(owner, name)

        def noted(self: object, *args: object, **kwargs: object) -> object:
            calls.append(f"{owner.__name__}.{name}")
            return original(self, *args, **kwargs)

        return mock.patch.object(owner, name, noted)

    with ExitStack() as stack:
        stack.enter_context(note(soundfile.SoundFile, "read"))
        for source in _all_subclasses(AudioSource):
            if "read" in vars(source):
                stack.enter_context(note(source, "read"))
        yield calls


def _all_subclasses(base: type) -> Iterator[type]:
    found: list[type] = base.__subclasses__()
    for subclass in found:
        yield subclass
        yield from _all_subclasses(subclass)
