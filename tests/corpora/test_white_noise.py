from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import stats

from latentbench.corpora.plugin import WhiteNoiseOptions
from latentbench.corpora.white_noise import WhiteNoise


@pytest.fixture
def noise(workspace):
    return lambda **options: WhiteNoise(WhiteNoiseOptions(**options), workspace)


def test_it_is_white_and_gaussian_at_the_level_asked_for(noise):
    (first, *_) = noise(seconds=4.0, level=0.05).utterances()
    (samples,) = first.source.read()
    assert samples.dtype == np.float32
    assert len(samples) == 96_000
    assert stats.kstest(samples / 0.05, "norm").pvalue > 1e-3
    shifted = [np.corrcoef(samples[:-lag], samples[lag:])[0, 1] for lag in range(1, 50)]
    assert np.abs(shifted).max() < 5 / np.sqrt(len(samples))


def test_utterances_are_as_described(noise, workspace):
    corpus = noise(speakers=3, utterances=2, seconds=0.5, sample_rate=8000)
    found = corpus.utterances()
    assert [one.speaker for one in found] == [f"noise-{i:03d}" for i in (0, 0, 1, 1, 2, 2)]
    assert {(one.sample_rate, one.seconds) for one in found} == {(8000, 0.5)}
    assert {one.source.read().shape for one in found} == {(1, 4000)}
    assert not workspace.cache.exists()


def test_no_two_utterances_share_samples(noise):
    found = noise(speakers=4, utterances=3, seconds=0.1).utterances()
    samples = np.concatenate([one.source.read() for one in found])
    assert np.abs(np.corrcoef(samples) - np.eye(12)).max() < 0.12
    assert len({one.source.digest() for one in found}) == 12


def test_the_same_samples_at_every_reading_and_in_another_process(noise):
    source = noise().utterances()[5].source
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(source.read(), copy.read())
    assert source.digest() == copy.digest() == noise().utterances()[5].source.digest()


def test_more_of_it_leaves_what_there_was(noise):
    few = {one.id: one.source.digest() for one in noise(speakers=2, utterances=2).utterances()}
    many = {one.id: one.source.digest() for one in noise(speakers=5, utterances=4).utterances()}
    assert few.items() <= many.items()


@pytest.mark.parametrize("change", [{"seed": 1}, {"level": 0.2}, {"seconds": 5.0}])
def test_other_options_are_another_corpus(noise, change):
    one, other = noise(), noise(**change)
    assert one.identity != other.identity
    digests = [corpus.utterances()[0].source.digest() for corpus in (one, other)]
    assert digests[0] != digests[1]
