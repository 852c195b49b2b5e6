"""Frames of all speakers in turn, and within so many seconds of each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.latents import Latents
from latentbench.tasks import WindowTask
from latentbench.tasks.turns import in_turn, within_seconds


def frames_of(lengths, frame_rate=10.0):
    """Utterances of speakers `a`, `b`, `c` in turn; the first two frames of each have no window."""
    arrays = {str(i): np.zeros((n, 1), np.float32) for i, n in enumerate(lengths)}
    speakers = {str(i): "abc"[i % 3] for i in range(len(lengths))}
    latents = Latents.from_arrays(arrays, speakers, frame_rate=frame_rate)
    return WindowTask(2, 1, frame_set="own").frames(latents, range(len(lengths)))


def speakers_of(frames):
    return [frames.latents.utterances[index].speaker for index in frames.utterance]


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=9), st.integers(1, 100))
def test_speakers_take_turns_as_in_a_plain_loop(lengths, most):
    frames = frames_of(lengths)
    queues = {}
    for index, speaker in enumerate(speakers_of(frames)):
        queues.setdefault(speaker, []).append(index)
    order = sorted(queues)
    taken = []
    while len(taken) < most and any(queues.values()):
        for speaker in order:
            if queues[speaker] and len(taken) < most:
                taken.append(queues[speaker].pop(0))
    assert np.flatnonzero(in_turn(frames, most)).tolist() == sorted(taken)


def test_the_same_stretches_of_audio_are_meant_at_every_rate():
    slow, fast = frames_of([30, 30, 30, 20], 10.0), frames_of([300, 300, 300, 200], 100.0)
    for frames, rate in ((slow, 10.0), (fast, 100.0)):
        every = range(4)
        chosen = frames.where(within_seconds(frames, every, 4.0))
        # The first of speaker a is 3 s long, so of the second 1 s is left.
        ends = {index: chosen.t[chosen.utterance == index].max() for index in every}
        assert ends == {0: 3 * rate - 1, 1: 3 * rate - 1, 2: 3 * rate - 1, 3: 1 * rate - 1}


def test_time_is_counted_over_utterances_that_are_too_short_for_a_window():
    frames = frames_of([2, 50, 50, 50])
    chosen = frames.where(within_seconds(frames, range(4), 1.0))
    assert chosen.t[chosen.utterance == 3].max() == 7  # 2 frames of 10 are in the first


@pytest.mark.parametrize("most", [1, 3])
def test_no_frames_give_none(most):
    assert not len(in_turn(frames_of([1]), most))
