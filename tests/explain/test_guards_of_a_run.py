"""What is wrong with the latents of a run is in its result, its stamps and below its table."""

import pytest

from latentbench.explain.explain import explain_run
from latentbench.reports.run import remarks


@pytest.mark.parametrize(
    ("trouble", "stamp", "text"),
    [
        ("lattice", "lattice", "100.0% of the values lie on a lattice of step 0.5"),
        ("silence", "repeated frames", "of the frames equal the frame before"),
    ],
)
def test_degenerate_latents_are_stamped_and_explained(open_planted, trouble, stamp, text):
    result = open_planted(trouble).result
    assert stamp in result.stamps
    assert any(text in line for line in remarks(result))


def test_a_lattice_without_an_unusual_tail_is_the_verdict(open_planted):
    found = explain_run(open_planted("lattice"))
    assert found.verdict == "d"
    assert "dither" in found.summary


def test_sound_latents_carry_no_stamp_and_their_spectrum_is_kept(open_planted):
    result = open_planted("none").result
    assert result.stamps == ()
    assert not any(line.startswith("Latents") for line in remarks(result))
    for side in ("train", "eval"):
        assert result.latents[side].dim == 4
        assert result.latents[side].effective_rank == pytest.approx(4, abs=0.1)
    assert "guards" in result.provenance.seconds
