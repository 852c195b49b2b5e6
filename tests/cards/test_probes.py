"""What a card hears of encoders whose answers are known."""

import math

import numpy as np
import pytest
import torch

import latentbench as lb
from latentbench.cards.probes import level_change, spectral_distance
from latentbench.conformance.audio import noise

SMALL = {"name": "white-noise", "speakers": 5, "utterances": 2}


class Sums(lb.Encoder):
    """A frame is the sum of `SEES` hops: its own, earlier and later ones."""

    sample_rate, hop, dim = 8000, 100, 1
    back, look_ahead = 3, 2

    def __init__(self, options, workspace):
        """There is nothing to keep."""

    def load(self, device):
        """There are no weights."""

    def encode(self, audio, lengths):
        hops = audio.unfold(1, self.hop, self.hop).sum(-1)
        padded = torch.nn.functional.pad(hops, (self.back, self.look_ahead))
        return padded.unfold(1, 1 + self.back + self.look_ahead, 1).sum(-1)[..., None], -(
            -lengths // self.hop
        )

    def fingerprint(self):
        return {"encoder": "sums"}


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    place = tmp_path_factory.mktemp("cards")
    return lb.card(Sums, corpus=SMALL, cache=place, progress=False, device="cpu").record


def test_what_a_frame_sees_ahead_is_measured(sums):
    assert (sums.look_ahead, sums.heard.look_ahead) == (2, 2)


def test_the_start_is_forgotten_once_no_frame_sees_it(sums):
    assert sums.heard.start == 3


def test_a_linear_encoder_moves_by_what_its_audio_moves(sums):
    quieter, louder = sums.heard.levels
    for one in (quieter, louder):
        assert one.change == pytest.approx(abs(10 ** (one.decibels / 20) - 1), rel=0.01)
        assert one.constant < 0.01


def test_an_encoder_without_a_decoder_decodes_nothing(sums):
    assert sums.heard.decoded is None
    assert sums.heard.times_real_time > 1


def test_correlation_of_sums_is_their_overlap(sums):
    # White noise: frames k apart share 6 - k of their 6 hops.
    for lag in sums.statistics.autocorrelation[:8]:
        assert lag.correlation == pytest.approx(max(0, 6 - lag.frames) / 6, abs=0.1)


def test_a_vector_that_all_frames_share_is_told():
    frames = [torch.tensor([[0.0, 0.0], [2.0, 0.0]])]
    moved = [frames[0] + torch.tensor([0.0, 3.0])]
    found = level_change(frames, moved, 6.0)
    assert (found.decibels, found.change, found.constant) == (6.0, 3.0, 1.0)
    assert level_change(frames, frames, 6.0).change == 0.0


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_a_gain_is_as_many_decibels_of_spectral_distance(gain):
    wave = noise(8000, channels=1, seed=0)
    distance = spectral_distance(wave, gain * wave, 8000)
    assert distance == pytest.approx(abs(20 * math.log10(gain)), rel=1e-6)
    assert spectral_distance(wave, wave, 8000) == 0.0
    assert spectral_distance(0 * wave, wave, 8000) == 0.0


def test_latents_are_not_listened_to(tmp_path):
    random = np.random.default_rng(0)
    arrays = {f"u{one}": random.normal(size=(60, 3)) for one in range(8)}
    speakers = {name: f"s{int(name[1:]) // 2}" for name in arrays}
    asked = {"latents": arrays, "frame_rate": 12.5, "speakers": speakers}
    found = lb.card(**asked, cache=tmp_path, progress=False)
    assert found.record.heard is None
    assert found.record.statistics.frames == 480
    everything = np.concatenate([one.astype(np.float32) for one in arrays.values()])
    assert found.record.statistics.std == pytest.approx(everything.std(), rel=1e-6)
    assert "look-ahead" not in str(found)
