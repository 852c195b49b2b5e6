"""Until when a rollout stays alive, on both sides of every threshold."""

from types import SimpleNamespace

import pytest

from latentbench.reports.rollout import words_of_rollout
from latentbench.rollout.alive import CurvePoint


def said(*figures, mode="sample"):
    """Of points at depths 1, 2, 4, ... with so much movement and variance; 20 ms a frame."""
    points = [
        CurvePoint(depth=2**at, n=3, magnitude_ratio=moved, variance_ratio=spread)
        for at, (moved, spread) in enumerate(figures)
    ]
    curve = SimpleNamespace(k=2, milliseconds=40.0, target="x", points=points)
    (found,) = words_of_rollout(SimpleNamespace(curves=[curve], mode=mode))
    return found


def test_alive_to_the_end():
    assert "alive to the deepest depth that is shown, 40 ms" in said((0.5, 2.0), (2.0, 0.5))


@pytest.mark.parametrize(
    ("dead", "told"),
    [
        ((0.49, 1.0), "stands still"),
        ((2.01, 1.0), "shakes"),
        ((1.0, 0.49), "shrinks"),
        ((1.0, 2.01), "runs away"),
        ((1.0, float("inf")), "runs away"),
    ],
)
def test_how_it_ends(dead, told):
    found = said((1.0, 1.0), dead, (1.0, 1.0))
    assert told in found
    assert "stable for 20 ms; at depth 2" in found
    assert "not stable at any depth" in said(dead)


def test_a_mean_that_stands_still_is_sent_to_samples():
    assert "--mode sample" in said((0.1, 1.0), mode="mean")
    assert "--mode sample" not in said((0.1, 1.0))


def test_where_nothing_was_rolled_out_that_is_said():
    nothing = SimpleNamespace(curves=(), mode="mean")
    assert words_of_rollout(nothing) == ["Nothing was rolled out."]
