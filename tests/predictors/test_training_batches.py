import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentbench.config import TrainingConfig
from latentbench.predictors.training_batches import StreamSampling, UniformSampling, sampling

sizes = st.integers(1, 40)
seeds = st.integers(0, 2**32)


def take(batches, count):
    return np.concatenate(list(itertools.islice(batches, count)))


def published(frames, batch, buffer, seed, epochs):
    """The published rule, one frame at a time: a list as buffer, refilled, then drained."""
    random = np.random.default_rng(seed)
    batches = []
    for _ in range(epochs):
        waiting, drawn = [], []
        for frame in range(frames):
            if len(waiting) < buffer:
                waiting.append(frame)
                continue
            slot = int(random.integers(0, len(waiting)))
            drawn.append(waiting[slot])
            waiting[slot] = frame
        random.shuffle(waiting)
        drawn += waiting
        batches += [drawn[start : start + batch] for start in range(0, frames, batch)]
    return batches


@given(frames=sizes, batch=sizes, buffer=sizes, seed=seeds)
def test_stream_is_the_published_order(frames, batch, buffer, seed):
    expected = published(frames, batch, buffer, seed, epochs=3)
    stream = StreamSampling(frames, batch, buffer=buffer, seed=seed)
    assert [next(stream).tolist() for _ in expected] == expected


@pytest.mark.parametrize("k", [1, 8])
def test_phase1_streams_by_the_published_seed_at_its_own_size(k):
    expected = published(20_000, 256, 8_192, seed=42 + 10_000 + k, epochs=2)
    stream = sampling(TrainingConfig(), 20_000, 42, k)
    assert [next(stream).tolist() for _ in expected] == expected
    assert {len(batch) for batch in expected} == {256, 20_000 % 256}


def test_stream_blends_neighbours_only():
    drawn = take(StreamSampling(100_000, 256, buffer=1_000, seed=1), 100)
    lag = np.arange(len(drawn)) + 1_000 - drawn
    assert lag.min() >= 1
    assert lag.mean() == pytest.approx(1_000, rel=0.1)  # geometric with mean `buffer`


@given(frames=sizes, batch=sizes, seed=seeds)
def test_uniform_is_a_permutation_per_epoch(frames, batch, seed):
    drawn = take(UniformSampling(frames, batch, seed=seed), 3 * frames // batch + 1)
    for epoch in range(len(drawn) // frames):
        part = drawn[epoch * frames : (epoch + 1) * frames]
        assert sorted(part) == list(range(frames))


def test_uniform_epochs_differ():
    drawn = take(UniformSampling(1_000, 1_000, seed=0), 2)
    assert (drawn[:1_000] != drawn[1_000:]).any()


@pytest.mark.parametrize("mode", ["stream", "uniform"])
@given(frames=sizes, batch=sizes, seed=seeds, skipped=st.integers(0, 9))
def test_skipping_is_as_good_as_drawing(mode, frames, batch, seed, skipped):
    config = TrainingConfig(sampling=mode, batch_size=batch, shuffle_buffer=7)
    drawn, continued = (sampling(config, frames, seed, 1) for _ in range(2))
    for _ in range(skipped):
        next(drawn)
    continued.skip(skipped)
    assert take(drawn, 4).tolist() == take(continued, 4).tolist()


@pytest.mark.parametrize("mode", ["stream", "uniform"])
def test_seed_decides_the_order(mode):
    config = TrainingConfig(sampling=mode)
    first, again, other = (take(sampling(config, 20_000, seed, 1), 2) for seed in (3, 3, 4))
    assert first.dtype == np.int64
    assert len(first) == 2 * config.batch_size
    assert (first == again).all()
    assert (first != other).any()
