import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentbench.config import TrainingConfig
from latentbench.predictors.sampling import StreamSampling, UniformSampling, sampling

sizes = st.integers(1, 40)
seeds = st.integers(0, 2**32)


def take(batches, count):
    return np.concatenate(list(itertools.islice(batches, count)))


def naive_stream(frames, count, buffer, slots):
    """The definition, one draw at a time."""
    waiting = [position % frames for position in range(buffer)]
    drawn = []
    for j, slot in enumerate(slots[:count]):
        drawn.append(waiting[slot])
        waiting[slot] = (buffer + j) % frames
    return drawn, waiting


@given(frames=sizes, batch=sizes, buffer=sizes, seed=seeds, count=st.integers(1, 6))
def test_stream_is_the_shuffle_buffer_of_its_definition(frames, batch, buffer, seed, count):
    stream = StreamSampling(frames, batch, buffer=buffer, seed=seed)
    random = np.random.default_rng(seed)
    slots = np.concatenate([random.integers(0, buffer, size=batch) for _ in range(count)])
    expected, waiting = naive_stream(frames, batch * count, buffer, slots)
    assert take(stream, count).tolist() == expected
    assert stream.buffered.tolist() == waiting


@given(frames=sizes, batch=sizes, buffer=sizes, seed=seeds, count=st.integers(1, 6))
def test_stream_loses_no_frame_and_never_runs_ahead(frames, batch, buffer, seed, count):
    stream = StreamSampling(frames, batch, buffer=buffer, seed=seed)
    drawn = take(stream, count)
    entered = np.arange(len(drawn) + buffer) % frames
    held = np.concatenate([drawn, stream.buffered])
    assert sorted(held) == sorted(entered)
    if frames > len(drawn) + buffer:
        assert (drawn < buffer + np.arange(len(drawn))).all()


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
    drawn, continued = (sampling(config, frames, seed) for _ in range(2))
    for _ in range(skipped):
        next(drawn)
    continued.skip(skipped)
    assert take(drawn, 4).tolist() == take(continued, 4).tolist()


@pytest.mark.parametrize("mode", ["stream", "uniform"])
def test_seed_decides_the_order(mode):
    config = TrainingConfig(sampling=mode)
    first, again, other = (take(sampling(config, 20_000, seed), 2) for seed in (3, 3, 4))
    assert first.dtype == np.int64
    assert len(first) == 2 * config.batch_size
    assert (first == again).all()
    assert (first != other).any()
