"""What is left out of a corpus, why, and how it is counted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.corpora import Utterance
from latentbench.corpora.corpus import AudioSource
from latentbench.corpora.selection import Counts, count_utterances, leave_out, left_out
from latentbench.corpora.split import split_speakers
from latentbench.progress import SILENT


class Content(AudioSource):
    def __init__(self, content, size=None):
        self.content, self.size = content, size

    def read(self):
        return np.zeros((1, 1), np.float32)

    def digest(self):
        return self.content

    def describe(self):
        return self.content


def utterance(name, seconds=5.0, content=None, problem=""):
    speaker = name.partition("/")[0]
    return Utterance(name, speaker, Content(content or name), 8000, seconds, problem=problem)


def reasons(utterances, min_seconds=3.0, limit=None):
    found = leave_out(utterances, min_seconds=min_seconds, limit=limit, progress=SILENT)
    return {name: tuple(one) for name, one in found.items()}


def test_every_utterance_left_out_has_its_reason():
    listed = [
        utterance("a/1"),
        utterance("a/2", 2.9),
        utterance("b/1", 0.0, problem="not there"),
        utterance("b/2", 0.0),
        utterance("b/3", 3.0),
    ]
    assert reasons(listed) == {
        "a/2": ("dropped", "shorter than 3 s"),
        "b/1": ("skipped", "not there"),
        "b/2": ("skipped", "no samples"),
    }


def test_copies_are_skipped_across_speakers_and_within_one():
    listed = [
        utterance("a/1", content="x"),
        utterance("a/2"),
        utterance("b/1", content="x"),
        utterance("a/3", content="x"),
        utterance("c/1", 6.0, content="x"),  # other content cannot have that digest
    ]
    assert reasons(listed) == {
        "b/1": ("skipped", "a copy: the same audio as a/1"),
        "a/3": ("skipped", "a copy: the same audio as a/1"),
    }


def test_only_audio_of_equal_size_is_looked_into():
    asked = []

    class Asked(Content):
        def digest(self):
            asked.append(self.content)
            return self.content

    listed = [
        replace(utterance(f"a/{number}"), source=Asked(f"{number}", size))
        for number, size in enumerate((10, 20, 10, 30))
    ]
    assert reasons(listed) == {}
    assert sorted(asked) == ["0", "2"]


def test_a_limit_takes_from_every_speaker_in_turn_of_what_can_be_used():
    listed = [
        *(utterance(f"a/{number}") for number in range(4)),
        utterance("b/0", problem="not there"),
        *(utterance(f"b/{number}") for number in range(1, 3)),
    ]
    kept = {one.id for one in listed} - reasons(listed, limit=3).keys()
    assert kept == {"a/0", "b/1", "a/1"}


@settings(deadline=None)  # timing says nothing here
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from((0.0, 1.0, 5.0)), st.booleans()),
        min_size=1,
    ),
    st.none() | st.integers(1, 9),
)
def test_what_is_listed_is_used_dropped_or_skipped(facts, limit):
    listed = [
        utterance(f"{speaker}/{number}", seconds, problem="bad" if bad else "")
        for number, (speaker, seconds, bad) in enumerate(facts)
    ]
    out = leave_out(listed, min_seconds=3.0, limit=limit, progress=SILENT)
    usable = {one.speaker for one in listed if one.id not in out}
    if len(usable) < 2:
        return
    counts = count_utterances(listed, split_speakers(usable, eval_fraction=0.4, seed=1), out)
    assert sum(one.listed for one in counts.values()) == len(listed)
    for side, one in counts.items():
        left = sum(one.dropped.values()) + sum(one.skipped.values())
        assert one.listed == one.used + left
        assert (one.used > 0) == (side != "neither")


def test_a_line_says_how_many_are_left_out_of_a_side_and_why():
    counts = {
        "train": Counts(3, 3),
        "eval": Counts(12, 6, {"shorter than 3 s": 5}, {"not there": 1}),
        "neither": Counts(2, 0, {}, {"cannot be decoded": 2}),
    }
    assert list(left_out(counts)) == [
        "eval: 6 of 12 utterances are used; 5 dropped (shorter than 3 s), 1 skipped (not there)",
        "speakers on neither side: 0 of 2 utterances are used; 2 skipped (cannot be decoded)",
    ]


@pytest.mark.parametrize("before", [True, False])
def test_the_published_split_is_the_same_before_and_after_short_utterances_are_dropped(
    data, before
):
    """SCIENCE: each of the 251 speakers has utterances of 3 s and more."""
    listed = (data / "LibriSpeech" / "SPEAKERS.TXT").read_text("utf-8").splitlines()
    speakers = [
        line.split("|")[0].strip()
        for line in listed
        if not line.startswith(";") and line.split("|")[2].strip() == "train-clean-100"
    ]
    utterances = [utterance(f"{one}/{n}", 1.4 + n) for one in speakers for n in range(4)]
    out = leave_out(utterances, min_seconds=3.0, limit=None, progress=SILENT)
    assert len(out) == 2 * 251
    used = [one.speaker for one in utterances if before or one.id not in out]
    published = (data / "reference" / "phase1-eval-speakers.txt").read_text().split()
    assert sorted(split_speakers(used, eval_fraction=0.2, seed=42).eval) == sorted(published)
