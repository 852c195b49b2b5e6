"""Time in frames: rounded to the nearest, never zero, never two horizons in one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentbench.errors import UsageError
from latentbench.tasks.windows import frames_of, timing_in_frames


def test_the_originals_protocol_in_time_is_its_protocol_in_frames():
    times = {"context_ms": 640, "horizons_ms": (80, 160, 320, 640), "step_ms": 80}
    assert timing_in_frames(12.5, **times) == {
        "context_frames": 8,
        "step_frames": 1,
        "horizons": (1, 2, 4, 8),
    }


def test_the_same_times_at_the_rate_of_encodec_and_dac_44k():
    times = {"context_ms": 640, "horizons_ms": (80, 640), "step_ms": 80}
    assert timing_in_frames(75, **times) == {
        "context_frames": 48,
        "step_frames": 6,
        "horizons": (6, 48),
    }
    assert timing_in_frames(44100 / 512, **times) == {
        "context_frames": 55,
        "step_frames": 7,
        "horizons": (7, 55),
    }


def test_the_first_frame_is_given_in_time():
    assert timing_in_frames(50, first_ms=1280) == {"first_frame": 64}


def test_what_is_not_given_in_time_is_left_alone():
    assert timing_in_frames(50) == {}


@given(st.floats(0.1, 5000), st.floats(1, 200))
def test_rounding_is_within_half_a_frame_and_at_least_one(milliseconds, rate):
    frames = frames_of(milliseconds, rate)
    exact = milliseconds * rate / 1000
    assert frames >= 1
    assert frames == 1 or abs(frames - exact) <= 0.5 + 1e-9


def test_horizons_that_fall_together_are_refused():
    with pytest.raises(UsageError, match=r"20, 40 ms are 1, 1 frames.*\n.*80 ms apart"):
        timing_in_frames(12.5, horizons_ms=(20, 40))
