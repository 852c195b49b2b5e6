import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentbench.errors import UsageError
from latentbench.latents import Latents
from latentbench.latents.latents import StoredUtterance
from latentbench.tasks import WindowTask
from latentbench.tasks.slices import check_slice, energy_median, slice_mask


def world(lengths=(20, 9, 33, 14), speakers=("12", "7", "12", "103")):
    rng = np.random.default_rng(3)
    arrays = {f"u{i}": np.zeros((n, 2), np.float32) for i, n in enumerate(lengths)}
    energy = rng.gamma(1.0, size=sum(lengths)).astype(np.float32)
    names = dict(zip(arrays, speakers, strict=True))
    return Latents.from_arrays(arrays, names, energy=energy), energy


def test_all_is_every_frame():
    latents, _ = world()
    frames = WindowTask(4, 2).frames(latents, [0, 1, 2, 3])
    assert slice_mask("all", frames, median=float("nan")).all()
    assert len(slice_mask("all", frames, median=float("nan"))) == len(frames) > 0


def test_the_energy_threshold_is_the_median_of_every_train_frame():
    latents, energy = world()
    own = np.concatenate([energy[:20], energy[29:62]])  # utterances 0 and 2
    assert energy_median(latents, [2, 0]) == np.sort(own)[26]  # of 53
    assert np.isnan(energy_median(latents, []))


def test_an_attribute_of_utterances_is_a_slice():
    utterances = [
        StoredUtterance("a", "1", 0, 20, attributes={"sex": "F", "accent": "en"}),
        StoredUtterance("b", "2", 20, 20, attributes={"sex": "M", "accent": "en"}),
        StoredUtterance("c", "3", 40, 20),
    ]
    latents = Latents([torch.zeros(60, 2)], np.zeros(60, np.float32), utterances, 12.5)
    frames = WindowTask(4, 2).frames(latents, [0, 1, 2])
    for name, inside in {"sex=F": {0}, "sex=M": {1}, "accent=en": {0, 1}}.items():
        mask = slice_mask(name, frames, median=float("nan"))
        assert set(frames.utterance[mask]) == inside
        assert mask.sum() == np.isin(frames.utterance, list(inside)).sum() > 0
    with pytest.raises(UsageError, match="'sex=f' is no attribute") as error:
        check_slice("sex=f", latents.utterances)
    assert "Did you mean 'sex=" in error.value.hint


def test_high_energy_frames_are_above_the_threshold_in_their_own_row():
    latents, energy = world()
    median = energy_median(latents, [0, 1])
    frames = WindowTask(4, 2).frames(latents, [2, 3])
    starts = [0, 20, 29, 62]
    expected = [
        energy[starts[u] + t] > median for u, t in zip(frames.utterance, frames.t, strict=True)
    ]
    mask = slice_mask("high_energy", frames, median=median)
    assert mask.tolist() == expected
    assert 0 < mask.sum() < len(mask)


def test_a_frame_at_the_threshold_is_not_above_it():
    arrays = {"u": np.zeros((6, 1), np.float32)}
    energy = np.array([0, 1, 2, 2, 2, 3], np.float32)
    latents = Latents.from_arrays(arrays, {"u": "s"}, energy=energy)
    frames = WindowTask(1, 1, frame_set="own").frames(latents, [0])
    mask = slice_mask("high_energy", frames, median=energy_median(latents, [0]))
    assert mask.tolist() == [False, False, False, False, True]


@pytest.mark.parametrize(("place", "above"), [(0, True), (1, False)])
def test_a_median_between_two_neighbouring_floats_is_rounded_to_one_of_them(place, above):
    """Half way between neighbours, float32 takes the one whose last bit is 0."""
    low, high = (np.float32(1 + number * 2**-23) for number in (place, place + 1))
    latents = Latents.from_arrays(
        {"u": np.zeros((2, 1), np.float32)}, {"u": "s"}, energy=np.array([low, high])
    )
    frames = WindowTask(1, 1, frame_set="own").frames(latents, [0])
    mask = slice_mask("high_energy", frames, median=energy_median(latents, [0]))
    assert mask.tolist() == [above]


@given(st.lists(st.integers(2, 250), min_size=1, max_size=4))
def test_medial_frames_are_between_17_and_83_percent_inclusive(lengths):
    arrays = {f"u{i}": np.zeros((n, 1), np.float32) for i, n in enumerate(lengths)}
    latents = Latents.from_arrays(arrays, dict.fromkeys(arrays, "s"))
    frames = WindowTask(1, 1, frame_set="own").frames(latents, range(len(lengths)))
    expected = [
        17 * lengths[u] <= 100 * int(t) <= 83 * lengths[u]  # exact, in integers
        for u, t in zip(frames.utterance, frames.t, strict=True)
    ]
    assert slice_mask("utterance_medial", frames, median=0.0).tolist() == expected


def test_a_speaker_is_a_slice():
    latents, _ = world()
    frames = WindowTask(4, 2).frames(latents, [0, 1, 2, 3])
    mask = slice_mask("speaker:12", frames, median=0.0)
    np.testing.assert_array_equal(mask, np.isin(frames.utterance, [0, 2]))
    of_others = WindowTask(4, 2).frames(latents, [1, 3])
    assert not slice_mask("speaker:12", of_others, median=0.0).any()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("high_enrgy", "no slice called 'high_enrgy'.\nDid you mean 'high_energy'"),
        ("speaker:104", "'speaker:104' names no speaker of this corpus.\nDid you mean '103'"),
        ("speaker", "no slice called 'speaker'.\nDid you mean 'speaker:ID'"),
    ],
)
def test_an_unknown_slice_names_the_nearest(name, message):
    latents, _ = world()
    with pytest.raises(UsageError, match=message):
        check_slice(name, latents.utterances)
    with pytest.raises(UsageError, match=message):
        slice_mask(name, WindowTask(4, 2).frames(latents, [0]), median=0.0)
