import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import get_window

from latentbench.conformance.audio import speechlike
from latentbench.encoders.logmel import LogMelEncoder
from latentbench.encoders.plugin import LogMelOptions
from latentbench.errors import UsageError
from latentbench.workspace import Workspace

RATE = 16_000


def make(**options):
    encoder = LogMelEncoder(LogMelOptions(**options), Workspace())
    encoder.load(torch.device("cpu"))
    return encoder


def noise(samples, seed=1):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def encode(encoder, *utterances):
    hop = encoder.hop
    batch = torch.zeros(len(utterances), max(-(-len(audio) // hop) * hop for audio in utterances))
    for row, audio in zip(batch, utterances, strict=True):
        row[: len(audio)] = torch.from_numpy(audio)
    lengths = torch.tensor([len(audio) for audio in utterances])
    latents, frames = encoder.encode(batch, lengths)
    assert latents.dtype == torch.float32
    return [row[:count].numpy() for row, count in zip(latents, frames.tolist(), strict=True)]


def naive(audio, hop, mels):
    """Frame by frame and band by band in numpy float64."""
    top = 2595 * math.log10(1 + 8000 / 700)
    corners = [700 * (10 ** (top * i / (mels + 1) / 2595) - 1) for i in range(mels + 2)]
    frequencies = np.arange(513) * RATE / 1024
    count = -(-len(audio) // hop)
    padded = np.concatenate([np.zeros(400), audio, np.zeros(count * hop - len(audio))])
    out = np.empty((count, mels))
    for t in range(count):
        end = 400 + (t + 1) * hop
        windowed = padded[end - 400 : end] * get_window("hann", 400)
        power = np.abs(np.fft.rfft(windowed, 1024)) ** 2
        for m in range(mels):
            triangle = np.interp(frequencies, corners[m : m + 3], [0, 1, 0])
            out[t, m] = math.log(power @ triangle + 1e-5)
    return out


@pytest.mark.parametrize(("hop_ms", "mels"), [(80, 80), (10, 40), (12.5, 64), (25, 80)])
def test_frames_agree_with_a_frame_by_frame_computation(hop_ms, mels):
    audio = noise(9001)
    (found,) = encode(make(hop_ms=hop_ms, mels=mels), audio)
    expected = naive(audio.astype(np.float64), round(hop_ms * 16), mels)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4


def test_frames_agree_with_torchaudio():
    from torchaudio.transforms import MelSpectrogram

    audio = noise(16_000)
    mel = MelSpectrogram(RATE, 1024, win_length=400, hop_length=160, n_mels=80, center=False)
    # torchaudio puts the 400-sample window in the middle of its 1024 samples
    history, rest = np.zeros(240 + 312, np.float32), np.zeros(312, np.float32)
    power = mel(torch.from_numpy(np.concatenate([history, audio, rest])))
    (found,) = encode(make(hop_ms=10), audio)
    assert np.abs(found - (power + 1e-5).log().T.numpy()).max() < 1e-4


def test_silence_is_the_floor_exactly():
    (found,) = encode(make(), np.zeros(4000, np.float32))
    assert np.all(found == np.float32(math.log(1e-5)))


def test_a_tone_lies_in_its_band():
    audio = np.sin(2 * np.pi * 1000 * np.arange(15_360) / RATE).astype(np.float32)
    (found,) = encode(make(), audio)
    top = 2595 * math.log10(1 + 8000 / 700)
    band = round(2595 * math.log10(1 + 1000 / 700) / top * 81) - 1
    assert set(found.argmax(axis=1)) == {band}


@pytest.mark.parametrize("hop_ms", [10, 80])
def test_a_frame_sees_its_hops_end_and_nothing_after(hop_ms):
    encoder = make(hop_ms=hop_ms)
    hop, audio = encoder.hop, noise(16_000)
    (before,) = encode(encoder, audio)
    changed = audio.copy()
    changed[5 * hop :] += 1
    (after,) = encode(encoder, changed)
    assert np.array_equal(before[:5], after[:5])
    assert np.abs(before[5] - after[5]).max() > 0.1
    changed = audio.copy()
    changed[5 * hop - 10] += 1  # the last sample has weight zero in no window of this length
    (after,) = encode(encoder, changed)
    assert np.array_equal(before[:4], after[:4])
    assert np.abs(before[4] - after[4]).max() > 1e-3
    assert encoder.look_ahead == 0


def test_a_long_hop_sees_its_last_25_ms_only():
    encoder, audio = make(hop_ms=80), noise(12_800)
    (before,) = encode(encoder, audio)
    changed = audio.copy()
    changed[3 * 1280 : 4 * 1280 - 400] = 0
    (after,) = encode(encoder, changed)
    assert np.array_equal(before, after)


def test_an_utterance_alone_and_in_a_batch_agree():
    encoder = make(hop_ms=10)
    utterances = [noise(16_000, 1), noise(100, 2), noise(7_777, 3)]
    for audio, batched in zip(utterances, encode(encoder, *utterances), strict=True):
        (alone,) = encode(encoder, audio)
        assert alone.shape == batched.shape
        assert np.abs(alone - batched).max() < 1e-5


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(0, 20_000), hop=st.integers(1, 3_000))
def test_frame_counts(samples, hop):
    encoder = make(hop_ms=hop / 16, mels=20)
    padded = -(-samples // hop) * hop
    latents, frames = encoder.encode(torch.zeros(1, padded), torch.tensor([samples]))
    assert encoder.hop == hop
    assert frames.tolist() == [len(range(0, samples, hop))] == [encoder.frame_count(samples)]
    assert latents.shape == (1, padded // hop, 20)


def test_the_default_has_mimis_rate():
    encoder = make()
    assert (encoder.frame_rate, encoder.dim, encoder.sample_rate) == (12.5, 80, 16_000)
    assert encoder.stamps == ()


@pytest.mark.parametrize(
    ("hop_ms", "near"), [(10.04, "10.0625 ms (161 samples)"), (0.01, "0.0625 ms (1 samples)")]
)
def test_a_hop_of_no_whole_number_of_samples_is_refused(hop_ms, near):
    with pytest.raises(UsageError, match="no whole number") as error:
        make(hop_ms=hop_ms)
    assert near in error.value.hint


def test_more_bands_than_the_spectrum_resolves_are_refused():
    with pytest.raises(UsageError, match=r"encoder\.mels=300 leaves \d+ mel bands") as error:
        make(mels=300)
    assert "encoder.mels=80" in error.value.hint


def test_a_length_that_is_no_whole_number_of_hops_is_refused():
    with pytest.raises(ValueError, match="1000 samples are no whole number of 1280"):
        make().encode(torch.zeros(1, 1000), torch.tensor([1000]))


def test_the_fingerprint_follows_every_option():
    base = make().fingerprint()
    assert base == make().fingerprint()
    changed = {"hop_ms": 40.0, "mels": 64}
    assert set(changed) == {field.name for field in dataclasses.fields(LogMelOptions)}
    for option, value in changed.items():
        assert make(**{option: value}).fingerprint() != base, option


@pytest.mark.parametrize("hop_ms", [6.25, 10.0, 20.0])
def test_sound_has_the_spectrum_it_was_made_from(hop_ms):
    encoder = make(hop_ms=hop_ms)
    audio = speechlike(16_000 // encoder.hop * encoder.hop, rate=RATE, channels=1, seed=2)
    lengths = torch.tensor([audio.shape[1]])
    latents, _ = encoder.encode(audio, lengths)
    sound = encoder.decode(latents)
    assert sound.shape == audio.shape
    again, _ = encoder.encode(sound, lengths)
    assert (again - latents).abs().mean() < 0.5  # 2 dB of power
    assert sound.std() / audio.std() == pytest.approx(1, abs=0.1)


def test_an_impulse_of_energy_sounds_where_it_was():
    encoder = make(hop_ms=10)
    audio = torch.zeros(1, 16_000)
    audio[0, 8_000:8_160] = torch.from_numpy(noise(160))
    latents, _ = encoder.encode(audio, torch.tensor([16_000]))
    energy = encoder.decode(latents)[0].square().reshape(-1, 160).sum(1)
    assert energy[48:53].sum() / energy.sum() > 0.95


def test_silence_stays_silent():
    encoder = make(hop_ms=10)
    latents, _ = encoder.encode(torch.zeros(1, 3_200), torch.tensor([3_200]))
    assert encoder.decode(latents).abs().max() < 1e-4
