import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from latentbench.latents import Latents
from latentbench.predictors import Predictor
from latentbench.predictors.sequences import SequencePredictor
from latentbench.rollout.engine import rollout, rollout_frames
from latentbench.rollout.figures import by_depth, rollout_gap, summarize_gap

CPU = torch.device("cpu")
W, DIM = 3, 4


class Fixed(Predictor):
    def __init__(self, context_frames=W, dim=DIM):
        super().__init__(context_frames=context_frames, dim=dim)

    def fit(self, train, training):
        raise NotImplementedError


class Mixture(Fixed):
    """A small MDN with random weights, and how often it was called."""

    def __init__(self, w=W, dim=DIM):
        super().__init__(context_frames=w, dim=dim)
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(w * dim, 16), nn.GELU())
        self.logits = nn.Linear(16, 3)
        self.mu = nn.Linear(16, 3 * dim)
        self.log_sigma = nn.Linear(16, 3 * dim)
        self.calls = 0

    def forward(self, context):
        self.calls += 1
        h = self.body(context.flatten(1))
        shape = (len(context), 3, context.shape[-1])
        components = Independent(
            Normal(self.mu(h).reshape(shape), self.log_sigma(h).exp().reshape(shape)), 1
        )
        return MixtureSameFamily(Categorical(logits=self.logits(h)), components)


class Gaussian(Fixed):
    """N(gain * x_{t-k}, sigma^2), the exact conditional of a stationary AR(1)."""

    def __init__(self, gain, sigma):
        super().__init__(context_frames=1, dim=1)
        self.gain, self.sigma = gain, sigma

    def forward(self, context):
        mean = self.gain * context[:, -1]
        return Independent(Normal(mean, torch.full_like(mean, self.sigma)), 1)


class Exploding(Fixed):
    """Multiplies its context by 1e30: x̂ leaves float32 at the second own frame."""

    def forward(self, context):
        return Independent(Normal(context[:, -1] * 1e30, torch.ones(len(context), DIM)), 1)


class Broken(Fixed):
    def forward(self, context):
        return Independent(Normal(context[:, -1] * torch.nan, torch.ones(len(context), DIM)), 1)


class LongSighted(SequencePredictor):
    """N(x_{t-k}, 1/n) after n frames: what does not change goes on, the surer the longer seen."""

    reach = 1_000

    def __init__(self):
        super().__init__(context_frames=W, dim=DIM)

    def fit(self, train, training):
        raise NotImplementedError

    def states(self, context):
        seen = torch.arange(1.0, context.shape[1] + 1.0).view(1, -1, 1)
        return torch.cat([context, seen.expand(len(context), -1, 1)], -1)

    def density_of(self, states):
        mean, seen = states[..., :-1], states[..., -1:]
        return Independent(Normal(mean, seen.rsqrt().expand_as(mean)), 1)

    def state_loss(self, states, target):
        raise NotImplementedError


def latents_of(lengths, seed=0):
    rng = np.random.default_rng(seed)
    arrays = {f"u{i}": rng.normal(size=(n, DIM)).astype(np.float32) for i, n in enumerate(lengths)}
    return Latents.from_arrays(arrays, dict.fromkeys(arrays, "s"))


def chosen(latents, k, target="delta", *, step=1, count=16, max_frames=2_000, seed=42, w=W):
    return rollout_frames(
        latents,
        range(len(latents.utterances)),
        context_frames=w,
        horizon=k,
        target=target,
        step=step,
        count=count,
        max_frames=max_frames,
        seed=seed,
    )


def run(predictor, frames, **options):
    baseline = Gaussian(0.0, 1.5)
    return rollout(predictor, baseline, frames, batch_size=64, device=CPU, **options)


def one_by_one(model, frames):
    """The loop a researcher would write: utterance by utterance, frame by frame."""
    w, k, m = frames.context_frames, frames.horizon, frames.step
    t0 = max(w - 1 + k, m)
    rows = {name: [] for name in ("utterance", "frame", "depth", "nll_teacher", "nll_rollout")}
    with torch.no_grad():
        for u in dict.fromkeys(frames.utterance.tolist()):
            true = frames.latents.utterance(u)
            own = true.clone()
            for t in range(t0, int(frames.t[frames.utterance == u].max()) + 1):
                target = true[t] if frames.target == "x" else true[t] - true[t - m]
                taught = model(true[None, t - k - w + 1 : t - k + 1])
                free = model(own[None, t - k - w + 1 : t - k + 1])
                own[t] = free.mean[0] + (0 if frames.target == "x" else own[t - m])
                rows["utterance"].append(u)
                rows["frame"].append(t)
                rows["depth"].append(t - t0 - k + 1)
                rows["nll_teacher"].append(-taught.log_prob(target).item())
                rows["nll_rollout"].append(-free.log_prob(target).item())
    return rows


@pytest.mark.parametrize(
    ("k", "target", "step"),
    [*itertools.product((1, 2, 3, 8), ("delta", "x"), (1,)), (1, "delta", 6), (8, "delta", 3)],
    ids=str,
)
def test_the_batched_rollout_is_the_plain_loop(k, target, step):
    latents = latents_of([30, 4, 17, 23, 17, 12, 41])
    frames = chosen(latents, k, target, step=step, max_frames=25)
    model = Mixture()
    found = run(model, frames)
    expected = one_by_one(model, frames)
    for name in ("utterance", "frame", "depth"):
        np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_allclose(found["nll_teacher"], expected["nll_teacher"], rtol=1e-5)
    np.testing.assert_allclose(found["nll_rollout"], expected["nll_rollout"], rtol=1e-4)
    assert summarize_gap(found).n == len(frames) > 50
    assert summarize_gap(found).non_finite == 0


@pytest.mark.parametrize("mode", ["mean", "sample"])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_gap_is_exactly_zero_while_the_context_is_true(k, mode):
    found = run(Mixture(), chosen(latents_of([40, 25, 31]), k), mode=mode)
    gap, depth, frame = rollout_gap(found), found["depth"], found["frame"]
    t0 = W - 1 + k
    np.testing.assert_array_equal(depth <= 0, frame < t0 + k)
    assert (gap[depth <= 0] == 0.0).all()
    assert (gap[depth >= 1] != 0.0).all()
    assert (depth <= 0).sum() == 3 * k


def test_k_frames_cost_one_call():
    model = Mixture()
    run(model, chosen(latents_of([40, 25, 31]), 5))
    t0 = W - 1 + 5
    assert model.calls == math.ceil(3 * (32 - t0) / 64) + math.ceil((40 - t0) / 5)


@pytest.mark.parametrize("k", [1, 8])
def test_utterances_are_chosen_as_published(k):
    """A list of names is shuffled, the first 16 listed are visited, and short ones passed over."""
    lengths = np.random.default_rng(5).integers(2, 30, 60).tolist()
    latents = latents_of(lengths)
    names = [stored.id for stored in latents.utterances]
    np.random.default_rng(42 + 20_000 + k).shuffle(names)
    t0, expected = W - 1 + k, []
    for name in names[:16]:
        stop = min(lengths[int(name[1:])], 20)
        if stop <= t0 + 1:
            continue
        expected += [(int(name[1:]), t) for t in range(t0, stop)]
    frames = chosen(latents, k, max_frames=20)
    assert list(zip(frames.utterance.tolist(), frames.t.tolist(), strict=True)) == expected
    assert len(set(frames.utterance.tolist())) < 16  # else none was passed over


def test_the_seed_chooses_the_utterances():
    latents = latents_of([20] * 60)
    assert not np.array_equal(chosen(latents, 1).utterance, chosen(latents, 1, seed=1).utterance)


@pytest.mark.parametrize(("lengths", "count"), [([4, 3], 16), ([30, 30], 0)])
def test_no_usable_utterance_gives_no_rows_and_no_figure(lengths, count):
    found = run(Mixture(), chosen(latents_of(lengths), 8, count=count))
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(
        ("utterance", "frame", "depth", "nll_teacher", "nll_rollout", "nll_baseline"), (0,)
    )
    summary = summarize_gap(found)
    assert (summary.n, summary.non_finite) == (0, 0)
    assert np.isnan(summary.mean)
    assert np.isnan(summary.median)
    assert by_depth(found) == {}


@pytest.mark.parametrize("target", ["delta", "x"])
def test_a_rollout_that_leaves_the_numbers_is_counted(target):
    found = run(Exploding(), chosen(latents_of([30, 14]), 1, target))
    free, depth = found["nll_rollout"], found["depth"]
    assert np.isfinite(found["nll_baseline"]).all()
    assert np.isinf(free[depth >= 1]).all()  # (1e30)^2 is beyond float32 already at depth 1
    assert (free[depth >= 1] > 0).all()
    summary = summarize_gap(found)
    # At depth <= 0 the teacher-forced NLL overflows as well.
    assert summary.non_finite == summary.n == len(found["frame"])
    assert summary.mean == summary.median == np.inf


def test_a_predictor_that_gives_nan_never_ends_the_rollout():
    found = run(Broken(), chosen(latents_of([30, 14]), 2))
    assert np.isposinf(found["nll_teacher"]).all()
    assert np.isposinf(found["nll_rollout"]).all()
    assert summarize_gap(found).non_finite == len(found["frame"])


def test_samples_are_reproducible_and_leave_the_process_alone():
    frames, model = chosen(latents_of([40, 25, 31]), 2), Mixture()
    rolled = []
    for seed, of_process in ((1, 7), (1, 8), (2, 7)):
        torch.manual_seed(of_process)
        before = torch.get_rng_state()
        rolled.append(run(model, frames, mode="sample", seed=seed)["nll_rollout"])
        assert torch.equal(torch.get_rng_state(), before)
    first, again, other = rolled
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_frames_with_gaps_cannot_be_rolled_out():
    frames = chosen(latents_of([20]), 1)
    keep = np.arange(len(frames)) != 3
    gapped = frames.where(keep)
    with pytest.raises(ValueError, match="follow one another"):
        run(Mixture(), gapped)


def test_progress_is_told_every_frame():
    class Counting:
        total = 0.0

        def advance(self, amount=1.0):
            self.total += amount

        def note(self, text):
            raise NotImplementedError

    meter, frames = Counting(), chosen(latents_of([40, 25, 31]), 2)
    run(Mixture(), frames, meter=meter)
    assert meter.total == len(frames)


# Perfect predictors of an AR(1), for which the gap at great depth is a closed form: the state of
# the rollout is then independent of the true one, with variance v, and with B = rho^(k-1)(rho-1)
# and S = S_delta - B^2,  E gap = (S_delta + B^2 v) / (2 S) - 1/2  per dim.
RHO, LENGTH, UTTERANCES = 0.25, 160, 400


def stationary_variance(k):
    """Of x_t = x_{t-1} + B x_{t-k} + noise of variance S (docs/rollout.md), k = 1 or 2."""
    b = RHO ** (k - 1) * (RHO - 1)
    s = 2 * (1 - RHO) - b * b
    if k == 1:
        return s / (1 - (1 + b) ** 2)
    return (1 - b) * s / ((1 + b) * ((1 - b) ** 2 - 1))


def test_the_inflation_of_the_perfect_model_is_the_published_one():
    assert stationary_variance(1) == pytest.approx(1.0)
    assert stationary_variance(2) == pytest.approx(5.2, abs=0.05)


@pytest.mark.parametrize("mode", ["mean", "sample"])
@pytest.mark.parametrize("k", [1, 2])
def test_the_perfect_model_of_an_ar1_reaches_the_closed_form(k, mode):
    rng = np.random.default_rng(k)
    noise = rng.normal(size=(LENGTH, UTTERANCES, DIM)) * math.sqrt(1 - RHO**2)
    x = [rng.normal(size=(UTTERANCES, DIM))]
    for innovation in noise:
        x.append(RHO * x[-1] + innovation)
    x = np.stack(x, axis=1).astype(np.float32)
    names = [f"u{i}" for i in range(UTTERANCES)]
    latents = Latents.from_arrays(dict(zip(names, x, strict=True)), dict.fromkeys(names, "s"))
    b = RHO ** (k - 1) * (RHO - 1)
    s_delta = 2 * (1 - RHO)
    s = s_delta - b * b
    frames = chosen(latents, k, count=UTTERANCES, w=1)
    found = run(Gaussian(b, math.sqrt(s)), frames, mode=mode)
    deep = found["depth"] > 60  # the roots of the recursion are at most .75: .75^60 = 3e-8
    gap = rollout_gap(found)[deep].reshape(UTTERANCES, -1).mean(axis=1) / DIM
    variance = stationary_variance(k) if mode == "sample" else 0.0
    expected = (s_delta + b * b * variance) / (2 * s) - 0.5
    error = gap.std(ddof=1) / math.sqrt(UTTERANCES)  # utterances are independent
    assert error < 0.05 * expected
    assert gap.mean() == pytest.approx(expected, abs=4 * error)


def test_figures_by_depth_are_those_of_numpy():
    found = run(Mixture(), chosen(latents_of([40, 25, 31]), 2))
    found["nll_rollout"][5] = np.inf
    gap = found["nll_rollout"] - found["nll_teacher"]
    gaps = {j: summarize_gap(part) for j, part in by_depth(found).items()}
    assert list(gaps) == sorted(set(found["depth"].tolist()))
    for j, summary in gaps.items():
        here = gap[found["depth"] == j]
        assert summary.n == len(here)
        assert summary.mean == pytest.approx(here.mean(), rel=1e-12)
        assert summary.median == pytest.approx(np.median(here), rel=1e-12)
        assert summary.non_finite == np.isinf(here).sum()
    whole = summarize_gap(found)
    assert (whole.mean, whole.non_finite) == (np.inf, 1)
    assert whole.median == np.median(gap)


@pytest.mark.parametrize("k", [1, 2])
def test_a_model_that_makes_the_true_frames_has_no_gap_however_far_it_sees(k):
    # Frames that stay as they are: what the model makes of them is what they are, at any depth.
    still = np.repeat(np.random.default_rng(0).normal(size=(1, DIM)), 30, axis=0)
    latents = Latents.from_arrays({"u": still.astype(np.float32)}, {"u": "s"})
    columns = run(LongSighted(), chosen(latents, k, "x"))
    assert (columns["depth"] > 1).any()
    np.testing.assert_allclose(rollout_gap(columns), 0.0, atol=1e-6)


class FarRunaway(LongSighted):
    """As LongSighted, and multiplies by 1e15: x̂ leaves float32 at the third own frame."""

    def density_of(self, states):
        assert states.isfinite().all()
        return super().density_of(torch.cat([1e15 * states[..., :-1], states[..., -1:]], -1))


def test_a_model_of_whole_utterances_is_not_shown_what_has_left_the_numbers():
    columns = run(FarRunaway(), chosen(latents_of([20, 12]), 1, "x"))
    np.testing.assert_array_equal(np.isfinite(columns["nll_rollout"]), columns["depth"] < 1)
    assert np.isfinite(columns["nll_teacher"]).all()


class Jumps(LongSighted):
    """As LongSighted, but for one infinite mean after 8 frames, and it clips what it sees."""

    def states(self, context):
        return super().states(context.clamp(-100.0, 100.0))

    def density_of(self, states):
        mean = states[..., :-1].masked_fill(states[..., -1:] == 8, torch.inf)
        return super().density_of(torch.cat([mean, states[..., -1:]], -1))


def test_an_infinite_frame_is_no_context_for_a_model_that_clips_it():
    columns = run(Jumps(), chosen(latents_of([20, 12]), 1, "x"))
    np.testing.assert_array_equal(np.isfinite(columns["nll_rollout"]), columns["frame"] < 8)
    np.testing.assert_array_equal(np.isfinite(columns["nll_teacher"]), columns["frame"] != 8)
