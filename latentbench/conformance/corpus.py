"""The checks of corpora; the contract is `latentbench.corpora.Corpus`."""

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

from latentbench.conformance.check import Doubt, Kit, Subject, require
from latentbench.corpora.corpus import AudioSource, Corpus, Utterance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["KIT"]

TRIED = 3  # utterances that are read, spread over the corpus
HEX = re.compile(r"[0-9a-f]{16,}")
LENGTH_TOLERANCE = 0.01


class CorpusSubject(Subject):
    """A corpus, listed once."""

    contract = Corpus

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


def lists(subject: CorpusSubject) -> str:
    """utterances() are Utterances, at least one."""
    found = subject.utterances
    strangers = [one for one in found if not isinstance(one, Utterance)]
    require(not strangers, "Utterances", f"{strangers[:1]}")
    require(len(found), "at least one utterance", "none")
    return f"{len(found)} utterances, {sum(one.seconds for one in found) / 3600:.2f} h"


def ids(subject: CorpusSubject) -> None:
    """Utterance ids are texts, not empty, and unique."""
    names = [one.id for one in subject.utterances]
    odd = [name for name in names if not _is_text(name)]
    require(not odd, "ids that are texts, not empty", f"{odd[:3]}")
    twice = [name for name, count in Counter(names).items() if count > 1]
    require(not twice, "unique ids", f"{len(twice)} that come twice, e.g. '{twice[:1]}'")


def describes(subject: CorpusSubject) -> str:
    """Every utterance has a speaker, a rate, a length, and attributes of text to text.

    A split by speaker needs at least two speakers.
    """
    for one in subject.utterances:
        whose = f"of utterance '{one.id}'"
        require(_is_text(one.speaker), f"a speaker {whose}", repr(one.speaker))
        require(one.seconds >= 0, f"seconds {whose} >= 0", f"{one.seconds}")
        has_rate = one.sample_rate > 0 or not one.seconds
        require(has_rate, f"a sample rate {whose}", f"{one.sample_rate}")
        texts = all(isinstance(text, str) for pair in one.attributes.items() for text in pair)
        require(texts, f"attributes {whose} of text to text", f"{dict(one.attributes)}")
    speakers = {one.speaker for one in subject.utterances}
    if len(speakers) == 1:
        return Doubt("a single speaker: no run can split it into train and eval")
    return f"{len(speakers)} speakers"


def stable(subject: CorpusSubject) -> None:
    """Another instance lists the same utterances in the same order, with the same identity."""
    corpus, other = subject.corpus, subject.make()
    mine, its = (
        [(one.id, one.speaker, one.seconds) for one in listed]
        for listed in (subject.utterances, other.utterances())
    )
    differing = [a for a, b in zip(mine, its, strict=False) if a != b]
    wanted = f"the same {len(mine)} utterances from another instance"
    came = f"{len(its)}, the first that differs: {differing[:1]}"
    require(mine == its, wanted, came)
    same = (other.identity, other.name) == (corpus.identity, corpus.name)
    wanted = f"identity {dict(corpus.identity)} from another instance"
    require(same, wanted, f"{dict(other.identity)}")


def listing_decodes_nothing(subject: CorpusSubject) -> None:
    """utterances() reads no audio: no source's read() and no soundfile read is called."""
    subject.utterances  # noqa: B018 - what is made once is made before
    with _reads() as calls:
        subject.make().utterances()
    require(not calls, "a listing that reads no audio", f"{len(calls)} calls of {calls[:1]}")


def identity(subject: CorpusSubject) -> str:
    """A corpus has a name, and an identity of text to text that is not empty."""
    name, found = subject.corpus.name, subject.corpus.identity
    require(_is_text(name), "a name", repr(name))
    pairs = list(found.items()) if isinstance(found, Mapping) else []
    texts = pairs and all(isinstance(text, str) for pair in pairs for text in pair)
    require(texts, "an identity of text to text, not empty", repr(found))
    return f"{name}: {dict(found)}"


def digests(subject: CorpusSubject) -> str:
    """The digest of an utterance is lower-case hex and the same from another instance."""
    others = {one.id: one for one in subject.make().utterances()}
    for one in subject.tried:
        found = one.source.digest()
        require(HEX.fullmatch(found), f"a hex digest of utterance '{one.id}'", f"{found!r}")
        again = others[one.id].source.digest()
        require(found == again, f"digest {found[:12]}... of '{one.id}' again", f"{again[:12]}...")
    return f"{len(subject.tried)} looked at"


def audio(subject: CorpusSubject) -> str:
    """Samples are finite float32 [channels, samples], as long as said, the same each time."""
    for one in subject.tried:
        samples = one.source.read()
        what = f"the audio of '{one.id}' ({one.source.describe()})"
        dtype = str(getattr(samples, "dtype", type(samples).__name__))
        is_float = isinstance(samples, np.ndarray) and samples.dtype == np.float32
        require(is_float, f"{what} in float32", dtype)
        shape = samples.shape
        fits = len(shape) == 2 and _channels_fit(subject.corpus, *shape)  # noqa: PLR2004 - [C, T]
        require(fits, f"{what} of shape [channels, samples]", f"{list(shape)}")
        require(np.isfinite(samples).all(), f"{what} finite", "infinite or nan")
        seconds = shape[1] / one.sample_rate
        near = abs(seconds - one.seconds) <= LENGTH_TOLERANCE * one.seconds
        wanted = f"{what} of {one.seconds:.3f} s at {one.sample_rate} Hz"
        require(near or not one.seconds, wanted, f"{seconds:.3f} s")
        again = np.array_equal(samples, one.source.read())
        require(again, f"{what} again at the second read()", "other samples")
    return f"{len(subject.tried)} read"


KIT = Kit(
    CorpusSubject,
    gates=(lists,),
    checks=(ids, describes, stable, listing_decodes_nothing, identity, digests, audio),
)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _channels_fit(corpus: Corpus, channels: int, samples: int) -> bool:
    """D channels of latents; of audio, fewer than samples."""
    return channels <= samples if corpus.latents is None else channels == corpus.latents.dim


@contextmanager
def _reads() -> Iterator[list[str]]:
    """Collect who is asked for samples meanwhile."""
    calls: list[str] = []

    def note(owner: type) -> mock._patch[object]:
        original = owner.read  # type: ignore[attr-defined]

        def noted(self: object, *args: object, **kwargs: object) -> object:
            calls.append(f"{owner.__name__}.read")
            return original(self, *args, **kwargs)

        return mock.patch.object(owner, "read", noted)

    readers = [one for one in _all_subclasses(AudioSource) if "read" in vars(one)]
    with ExitStack() as stack:
        for owner in (soundfile.SoundFile, *readers):
            stack.enter_context(note(owner))
        yield calls


def _all_subclasses(base: type) -> Iterator[type]:
    found: list[type] = base.__subclasses__()
    for subclass in found:
        yield subclass
        yield from _all_subclasses(subclass)
