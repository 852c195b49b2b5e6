import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.errors import UsageError
from latentbench.latents import Latents
from latentbench.tasks import WindowTask


def latents_of(lengths, dim=3):
    rng = np.random.default_rng(0)
    arrays = {f"u{i}": rng.normal(size=(n, dim)).astype(np.float32) for i, n in enumerate(lengths)}
    return Latents.from_arrays(arrays, dict.fromkeys(arrays, "s"))


def naive(latents, utterances, task, first):
    """Windows and targets cut out of each utterance's own array, frame by frame."""
    w, k = task.context_frames, task.horizon
    found = []
    for index in utterances:
        x = latents.utterance(index).numpy()
        for t in range(first, len(x)):
            window = np.stack([x[t - k - w + 1 + i] for i in range(w)])
            assert t - k - w + 1 >= 0
            found.append(
                (index, t, window, x[t] - x[t - task.step] if task.target == "delta" else x[t])
            )
    return found


cases = st.fixed_dictionaries(
    {
        "lengths": st.lists(st.integers(1, 40), min_size=1, max_size=6),
        "w": st.integers(1, 12),
        "k": st.integers(1, 12),
        "others": st.lists(st.integers(1, 16), max_size=3),
        "target": st.sampled_from(["delta", "x"]),
        "frame_set": st.sampled_from(["phase1", "own", "common"]),
        "step": st.integers(1, 30),
        "seed": st.integers(0, 9),
    }
)


@settings(deadline=None, max_examples=150)
@given(cases)
def test_windows_and_targets_are_those_of_a_naive_loop(case):
    latents = latents_of(case["lengths"])
    w, k = case["w"], case["k"]
    horizons = (k, *case["others"])
    first = {
        "phase1": (w - 1) + max(k, 4),
        "own": w - 1 + k,
        "common": w - 1 + max(horizons),
    }[case["frame_set"]]
    first = max(first, case["step"])
    order = np.random.default_rng(case["seed"]).permutation(len(case["lengths"])).tolist()
    task = WindowTask(w, k, case["target"], case["frame_set"], horizons, case["step"])
    frames = task.frames(latents, order)
    expected = naive(latents, order, task, first)
    assert frames.utterance.dtype == frames.t.dtype == np.int32
    assert list(zip(frames.utterance, frames.t, strict=True)) == [e[:2] for e in expected]
    assert task.counts(case["lengths"]).sum() == len(frames) == len(expected)
    if expected:
        batch = frames.batch(np.arange(len(frames)))
        np.testing.assert_array_equal(batch.context.numpy(), [e[2] for e in expected])
        np.testing.assert_array_equal(batch.target.numpy(), [e[3] for e in expected])


def test_the_published_frame_set_starts_where_the_original_did():
    first = [WindowTask(8, k, "delta", "phase1").first_frame for k in (1, 2, 4, 8)]
    assert first == [11, 11, 11, 15]


def test_common_frames_are_the_same_at_every_horizon():
    latents = latents_of([30, 12, 17])
    horizons = (1, 2, 4, 8)
    sets = [
        WindowTask(8, k, "delta", "common", horizons).frames(latents, [0, 1, 2]) for k in horizons
    ]
    for frames in sets:
        np.testing.assert_array_equal(frames.rows, sets[-1].rows)
    assert len(sets[0]) == 15 + 0 + 2


def test_contexts_of_two_lengths_predict_the_same_frames_from_the_earliest_on():
    latents = latents_of([30, 12, 17])
    wide = WindowTask(8, 4, "x", "own").frames(latents, [0, 1, 2])
    narrow = WindowTask(2, 4, "x", "own", earliest=11).frames(latents, [0, 1, 2])
    np.testing.assert_array_equal(narrow.rows, wide.rows)
    assert len(narrow) == 19 + 1 + 6
    assert WindowTask(8, 4, "x", "own", earliest=10).first_frame == 11  # a window needs that many


def test_utterances_too_short_and_empty_splits_give_no_frames():
    latents = latents_of([15, 3])
    task = WindowTask(8, 8)
    assert task.counts([15, 3, 16]).tolist() == [0, 0, 1]
    assert len(task.frames(latents, [0, 1])) == 0
    assert len(task.frames(latents, [])) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((8, 1, "detla"), "no target called 'detla'.\nDid you mean 'delta'"),
        ((8, 1, "delta", "phase"), "no frame set called 'phase'.\nDid you mean 'phase1'"),
        ((0, 1), "context_frames is 0"),
        ((8, 0), "horizon is 0"),
        ((8, 3, "delta", "common", (1, 2)), r"Horizon 3 is not among the run's horizons \(1, 2\)"),
    ],
)
def test_a_task_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        WindowTask(*arguments)


@pytest.mark.parametrize(
    ("w", "k", "step", "sees"),
    [(3, 2, 1, False), (3, 2, 2, True), (3, 2, 4, True), (3, 2, 5, False)],
)
def test_the_previous_frame_is_seen_where_it_is_in_the_context(w, k, step, sees):
    """The context of t is t-k-w+1 to t-k, and x_{t-m} is in it for k <= m < k + w."""
    frames = WindowTask(w, k, "delta", "own", (k,), step).frames(latents_of([30]), [0])
    assert frames.sees_previous is sees


def test_the_previous_frame_is_the_one_a_step_before():
    latents = latents_of([30])
    frames = WindowTask(3, 1, "delta", "own", (1,), 2).frames(latents, [0])
    x = latents.utterance(0)
    expected = [x[t - 2] for t in range(3, 30)]  # the first t has 3 frames of context before t-1
    which = np.arange(len(frames))
    assert torch.equal(frames.previous(which), torch.stack(expected))
