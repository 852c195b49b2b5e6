from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.corpora.librispeech import read_speakers
from latentbench.corpora.split import split_speakers
from latentbench.errors import UsageError


def test_train_clean_100_gives_the_published_eval_speakers(data):
    listed = (data / "LibriSpeech" / "SPEAKERS.TXT").read_text("utf-8").splitlines()
    ids = [
        line.split("|")[0].strip()
        for line in listed
        if not line.startswith(";") and line.split("|")[2].strip() == "train-clean-100"
    ]
    assert len(ids) == 251
    assert set(ids) <= set(map(str, read_speakers(data / "LibriSpeech" / "SPEAKERS.TXT")))
    published = (data / "reference" / "phase1-eval-speakers.txt").read_text().split()
    split = split_speakers(reversed(ids), eval_fraction=0.2, seed=42)
    assert sorted(split.eval) == sorted(published)
    assert len(split.train) == 200
    assert set(split.train) == set(ids) - set(published)


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.sets(st.text("ab12", min_size=1, max_size=4), min_size=2, max_size=40),
    st.floats(0.01, 0.99),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_sides_are_disjoint_complete_and_independent_of_order(ids, fraction, seed, random):
    try:
        split = split_speakers(ids, eval_fraction=fraction, seed=seed)
    except UsageError:
        assert len(ids) * (1 - fraction) < 1  # the fraction left no whole speaker to train on
        return
    assert not set(split.train) & set(split.eval)
    assert set(split.train) | set(split.eval) == ids
    assert split.train
    assert abs(len(split.eval) - fraction * len(ids)) < 1
    shuffled = sorted(ids)
    random.shuffle(shuffled)
    assert split_speakers(shuffled, eval_fraction=fraction, seed=seed) == split


def test_validation_is_cut_from_train_by_the_same_rule_and_leaves_eval_alone():
    ids = [str(one) for one in range(251)]
    plain = split_speakers(ids, eval_fraction=0.2, seed=42)
    split = split_speakers(ids, eval_fraction=0.2, seed=42, validation_fraction=0.1)
    assert split.eval == plain.eval
    assert set(split.train) | set(split.validation) == set(plain.train)
    assert len(split.validation) == 20
    again = split_speakers(plain.train, eval_fraction=0.1, seed=43)
    assert (split.train, split.validation) == (again.train, again.eval)
    assert plain.sides.keys() == {"train", "eval"}
    assert list(split.sides) == ["train", "validation", "eval"]


@pytest.mark.parametrize(("speakers", "fraction", "count"), [(12, 0.1, 2), (500, 0.2, 20)])
def test_validation_has_at_least_2_and_at_most_20_speakers(speakers, fraction, count):
    ids = map(str, range(speakers))
    split = split_speakers(ids, eval_fraction=0.25, seed=42, validation_fraction=fraction)
    assert len(split.validation) == count


def test_validation_that_leaves_none_to_train_is_refused():
    with pytest.raises(UsageError, match=r"takes 2 of 2 train speakers .*leaves none to train"):
        split_speakers("abc", eval_fraction=0.3, seed=42, validation_fraction=0.1)


def test_numbers_are_sorted_as_numbers():
    as_numbers = split_speakers(["2", "10", "1"], eval_fraction=0.5, seed=0)
    same_ranks = split_speakers(["b", "c", "a"], eval_fraction=0.5, seed=0)
    rank = {"1": "a", "2": "b", "10": "c"}
    assert tuple(rank[name] for name in as_numbers.train) == same_ranks.train


def test_speakers_whose_numbers_are_equal_are_split_alike_in_every_process():
    code = (
        "from latentbench.corpora.split import split_speakers;"
        "print(*split_speakers(['1', '01', '001', '2'], eval_fraction=0.5, seed=0).eval)"
    )
    splits = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert len(splits) == 1


@pytest.mark.parametrize(("ids", "count"), [([], 0), (["a"], 1), (["a", "a"], 1)])
def test_fewer_than_two_speakers(ids, count):
    with pytest.raises(UsageError, match=f"has {count} speaker") as error:
        split_speakers(ids, eval_fraction=0.2, seed=42)
    assert "corpus.speaker_pattern" in error.value.hint


def test_a_side_left_empty():
    with pytest.raises(UsageError, match="leaves 0 to train and 2 to evaluate") as error:
        split_speakers(["a", "b"], eval_fraction=0.9, seed=42)
    assert "at least one speaker on each side" in error.value.hint


def test_no_speaker_to_evaluate_is_refused():
    with pytest.raises(UsageError, match="leaves 2 to train and 0 to evaluate"):
        split_speakers("ab", eval_fraction=0.0, seed=42)


def test_validation_that_takes_more_than_there_are_is_refused():
    with pytest.raises(UsageError, match="takes 2 of 1 train speaker"):
        split_speakers("ab", eval_fraction=0.5, seed=42, validation_fraction=0.1)


def test_more_to_evaluate_than_there_are_is_refused():
    with pytest.raises(UsageError, match="leaves -1 to train and 3 to evaluate"):
        split_speakers("ab", eval_fraction=1.5, seed=42)
