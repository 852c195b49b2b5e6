import math

import pytest

from latentbench.metrics.units import is_rate, scale


def test_the_published_figure_at_k_1_in_every_unit():
    published = scale(-185.44, dim=512, frame_rate=12.5, rate=True)
    assert published.nats_per_frame == -185.44
    assert round(published.nats_per_dim, 3) == -0.362
    assert round(published.bits_per_dim, 3) == -0.523
    assert int(published.bits_per_frame) == -267  # 267.5, which the original cut off
    assert published.kbps == pytest.approx(-185.44 / math.log(2) * 12.5 / 1000)


def test_what_is_no_rate_has_none():
    assert scale(-185.44, dim=512, frame_rate=12.5, rate=False).kbps is None


@pytest.mark.parametrize(
    ("name", "target", "horizon", "rate"),
    [
        ("x_gain", "delta", 1, True),
        ("dnll", "delta", 1, False),  # white noise "saves" half a bit per dimension by it
        ("x_gain", "delta", 2, False),
        ("dnll", "x", 1, True),  # the same figure as the x gain
        ("dnll", "x", 2, False),
        ("nll", "x", 1, False),
    ],
)
def test_the_rate_is_that_of_the_x_gain_at_one_frame(name, target, horizon, rate):
    assert is_rate(name, target=target, horizon=horizon) is rate
