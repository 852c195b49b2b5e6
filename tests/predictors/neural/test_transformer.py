"""Whole utterances at once are what their windows are one by one, and nothing sees ahead."""

import numpy as np
import pytest
import torch

from latentbench.errors import UsageError
from latentbench.predictors.neural.backbones import Transformer, banded_attention

DIM = 4


def network(reach, layers=3, seed=0):
    torch.manual_seed(seed)
    return Transformer(DIM, width=16, layers=layers, heads=2, reach=reach).eval()


def reached(reach, frames, at, layers=3):
    """The frames that the state at frame `at` depends on, by its gradient."""
    x = torch.randn(1, frames, DIM, requires_grad=True)
    network(reach, layers)(x)[0, at].square().sum().backward()
    return x.grad[0].abs().sum(-1).nonzero().flatten().tolist()


@pytest.mark.parametrize(("reach", "layers"), [(1, 3), (2, 3), (5, 1), (8, 3), (150, 2)])
def test_a_state_depends_on_exactly_the_newest_frames_of_its_reach(reach, layers):
    at = 159  # of more frames than one block of the attention holds
    assert reached(reach, 200, at, layers) == list(range(at - reach + 1, at + 1))


def test_near_the_start_a_state_depends_on_all_frames_there_are():
    assert reached(100, 200, 70) == list(range(71))


@pytest.mark.parametrize("span", [0, 3, 64, 100, 500])
def test_banded_attention_is_attention_under_the_mask_of_the_band(span):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 2, 203, 8, dtype=torch.float64)
    age = torch.arange(203)[:, None] - torch.arange(203)
    scores = query @ key.mT / 8**0.5
    scores = scores.masked_fill((age < 0) | (age > span), -torch.inf)
    found = banded_attention(query, key, value, span)
    torch.testing.assert_close(found, scores.softmax(-1) @ value)


def test_states_do_not_depend_on_where_in_the_utterance_a_frame_is():
    torch.manual_seed(0)
    piece, before = torch.randn(1, 20, DIM), torch.randn(1, 3_000, DIM)
    alone = network(5)(piece)
    later = network(5)(torch.cat([before, piece], 1))
    torch.testing.assert_close(later[:, -16:], alone[:, -16:], rtol=0, atol=2e-6)


@pytest.mark.parametrize("head", ["mdn", "flow", "energy"])
def test_an_utterance_at_once_is_its_windows_one_by_one(make, head):
    predictor = make(context_frames=6, backbone="transformer", head=head).eval()
    frames = torch.randn(2, 40, DIM)
    windows = frames.unfold(1, 6, 1).mT.flatten(0, 1)
    with torch.no_grad():
        whole, single = predictor.density_of(predictor.states(frames)), predictor(windows)
        assert whole.batch_shape == (2, 40)
        mean = whole.mean[:, 5:].flatten(0, 1)
        torch.testing.assert_close(mean, single.mean, rtol=0, atol=1e-5)
        if head == "energy":
            return
        target = torch.randn(2, 40, DIM)
        of_windows = single.log_prob(target[:, 5:].flatten(0, 1))
        found = whole.log_prob(target)[:, 5:].flatten()
        torch.testing.assert_close(found, of_windows, rtol=0, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"context": "utterance", "reach": 12}])
def test_scoring_by_utterance_is_scoring_by_its_frames_alone(make, fit, utterances, options):
    frames = utterances()
    predictor = fit(make(backbone="transformer", **options), frames)
    which = np.arange(len(frames))
    batch = frames.batch(which)
    with torch.no_grad():
        found = predictor.densities(frames, which, batch.context).log_prob(batch.target)
        for number in range(0, len(frames), 7):
            t, k = int(frames.t[number]), frames.horizon
            first = max(0, t - k + 1 - predictor.reach)
            alone = frames.latents.utterance(int(frames.utterance[number]))[first : t - k + 1]
            single = predictor(alone[None]).log_prob(batch.target[number])
            torch.testing.assert_close(found[number], single[0], rtol=0, atol=1e-5)
    shuffled = np.random.default_rng(0).permutation(which)
    with torch.no_grad():
        density = predictor.densities(frames, shuffled, batch.context[shuffled])
        other = density.log_prob(batch.target[shuffled])
    torch.testing.assert_close(other, found[shuffled], rtol=0, atol=1e-5)


@pytest.mark.parametrize("reach", [1, 3, 7, 100])
@pytest.mark.parametrize("prompt", [1, 3, 30])
def test_going_on_gives_what_seeing_all_anew_gives(reach, prompt):
    frames, one = torch.randn(2, 40, DIM), network(reach)
    with torch.no_grad():
        whole = one(frames)
        states, memory = one.go_on(frames[:, :prompt], None)
        torch.testing.assert_close(states, whole[:, :prompt], rtol=0, atol=1e-5)
        for start in range(prompt, 40, 4):
            states, memory = one.go_on(frames[:, start : start + 4], memory)
            torch.testing.assert_close(states, whole[:, start : start + 4], rtol=0, atol=1e-5)
    kept = sum(keys.shape[-2] for keys, _ in memory.layers)
    assert kept == reach - 1  # the memory does not grow with the utterance


def test_a_width_that_does_not_divide_among_the_heads_is_named(make):
    with pytest.raises(UsageError, match=r"width=18 is no multiple of twice .*heads=2"):
        make(backbone="transformer", width=18)
