"""Transforms: fitted on train only, exact against numpy, applied without copies of the store."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentbench.errors import UsageError
from latentbench.latents import Latents
from latentbench.latents.plugin import PcaOptions, ShuffledFramesOptions
from latentbench.latents.transform import Pca, ShuffledFrames, Standardize, moments
from latentbench.specs import NoOptions


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(6, 6))
    return {
        f"u{i}": (100 + rng.normal(size=(40 + i, 6)) @ mix).astype(np.float32) for i in range(5)
    }


@pytest.fixture
def latents(arrays):
    energy = np.arange(sum(map(len, arrays.values())), dtype=np.float32)
    return Latents.from_arrays(arrays, dict.fromkeys(arrays, "s"), energy=energy)


TRAIN = [0, 2, 3]


def train_rows(latents):
    return np.concatenate([latents.utterance(index).numpy() for index in TRAIN]).astype(np.float64)


def test_moments_equal_numpy_in_float64(latents, arrays):
    exact = np.concatenate([arrays[f"u{i}"] for i in TRAIN]).astype(np.float64)
    mean, covariance = moments(latents, TRAIN)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(exact.T), rtol=1e-9)


def test_standardize_gives_train_mean_0_and_variance_1_and_leaves_eval_out(latents, arrays):
    transform = Standardize(NoOptions())
    transform.fit(latents, TRAIN)
    seen = train_rows(transform.apply(latents))
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std(0, ddof=1), 1, rtol=1e-5)
    exact = np.concatenate([arrays[f"u{i}"] for i in TRAIN]).astype(np.float64)
    expected = (arrays["u1"] - exact.mean(0)) / exact.std(0, ddof=1)
    np.testing.assert_allclose(transform.apply(latents).utterance(1), expected, atol=1e-4)


def test_a_constant_dimension_stays_constant(arrays):
    for array in arrays.values():
        array[:, 2] = 7
    latents = Latents.from_arrays(arrays, dict.fromkeys(arrays, "s"))
    transform = Standardize(NoOptions())
    transform.fit(latents, TRAIN)
    assert (transform.apply(latents).utterance(4)[:, 2] == 0).all()


@pytest.mark.parametrize("whiten", [False, True])
def test_pca_gives_uncorrelated_components_of_falling_variance(latents, whiten):
    transform = Pca(PcaOptions(components=4, whiten=whiten))
    transform.fit(latents, TRAIN)
    seen = transform.apply(latents)
    assert seen.dim == 4
    covariance = np.cov(train_rows(seen).T)
    values = np.linalg.eigvalsh(moments(latents, TRAIN)[1])[::-1][:4]
    expected = np.ones(4) if whiten else values
    np.testing.assert_allclose(covariance, np.diag(expected), atol=2e-4 * expected.max())


def test_all_components_keep_distances(latents):
    transform = Pca(PcaOptions())
    transform.fit(latents, TRAIN)
    before, after = latents.utterance(1).double(), transform.apply(latents).utterance(1).double()
    np.testing.assert_allclose(torch.cdist(after, after), torch.cdist(before, before), atol=1e-3)


def test_more_components_than_the_latents_have_is_refused_by_number(latents):
    with pytest.raises(UsageError, match=r"pca:7 was asked for, but .* 6 of 6.*\n.*pca:6"):
        Pca(PcaOptions(components=7)).fit(latents, TRAIN)


@pytest.mark.parametrize(
    "make", [lambda: Standardize(NoOptions()), lambda: Pca(PcaOptions(components=3))]
)
def test_the_saved_state_brings_a_transform_back(latents, make):
    fitted, restored = make(), make()
    fitted.fit(latents, TRAIN)
    restored.restore(fitted.state())
    assert torch.equal(fitted.apply(latents).utterance(1), restored.apply(latents).utterance(1))


def test_shuffled_frames_keeps_each_utterance_its_own_frames_with_their_energy(latents):
    shuffled = ShuffledFrames(ShuffledFramesOptions()).apply(latents)
    for index, one in enumerate(latents.utterances):
        before, after = latents.utterance(index), shuffled.utterance(index)
        assert not torch.equal(before, after)
        assert torch.equal(before.sort(0).values, after.sort(0).values)
        rows = slice(one.start, one.start + one.frames)
        pairs = {(float(x[0]), float(e)) for x, e in zip(before, latents.energy[rows], strict=True)}
        assert pairs == {
            (float(x[0]), float(e)) for x, e in zip(after, shuffled.energy[rows], strict=True)
        }


def test_transforms_compose_in_the_order_given(latents):
    first = Pca(PcaOptions(components=3))
    first.fit(latents, TRAIN)
    second = Standardize(NoOptions())
    second.fit(first.apply(latents), TRAIN)
    both = second.apply(first.apply(latents))
    np.testing.assert_allclose(train_rows(both).std(0, ddof=1), 1, rtol=1e-4)
    order = ShuffledFrames(ShuffledFramesOptions())
    assert torch.equal(
        order.apply(both).utterance(2), second.apply(first.apply(order.apply(latents))).utterance(2)
    )


@pytest.mark.parametrize(
    "transform",
    [Standardize(NoOptions()), Pca(PcaOptions()), Pca(PcaOptions(whiten=True))],
    ids=["standardize", "pca", "whitened"],
)
def test_what_keeps_every_direction_can_be_undone(latents, transform):
    transform.fit(latents, TRAIN)
    seen = transform.apply(latents).utterance(1)
    np.testing.assert_allclose(transform.undo(seen), latents.utterance(1), rtol=1e-4)


def test_what_was_dropped_is_at_its_mean(latents):
    transform = Pca(PcaOptions(components=2, whiten=True))
    transform.fit(latents, TRAIN)
    back = transform.undo(transform.apply(latents).utterance(1)).numpy()
    rows = train_rows(latents)
    directions = np.linalg.eigh(np.cov(rows.T))[1][:, ::-1][:, :2]
    centred = latents.utterance(1).numpy() - rows.mean(0)
    np.testing.assert_allclose(back, rows.mean(0) + centred @ directions @ directions.T, rtol=1e-4)


def test_frames_out_of_order_have_no_way_back(latents):
    with pytest.raises(UsageError, match="ShuffledFrames has no way back"):
        ShuffledFrames(ShuffledFramesOptions()).undo(latents.utterance(0))
