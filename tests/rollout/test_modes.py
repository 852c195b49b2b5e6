"""Every mode and every injection against the loop a researcher would write."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from latentbench.latents import Latents
from latentbench.metrics.controls import ShiftedToX
from latentbench.predictors import Predictor
from latentbench.rollout.engine import Injection, rollout, rollout_frames
from latentbench.rollout.figures import STATE_COLUMNS, rollout_gap

CPU = torch.device("cpu")
W, DIM = 3, 4
CENTRE = np.array([0.3, -0.2, 0.1, 0.0])


class Repeatable(Distribution):
    """A mixture whose samples are a function of it, so that a loop draws what a batch draws."""

    arg_constraints = {}  # noqa: RUF012 - torch's own declaration of this attribute

    def __init__(self, mixture):
        self.mixture = mixture
        super().__init__(mixture.batch_shape, mixture.event_shape, validate_args=False)

    @property
    def mean(self):
        return self.mixture.mean

    @property
    def mode_component(self):
        best = self.mixture.mixture_distribution.logits.argmax(-1)
        return self.mixture.component_distribution.mean[torch.arange(len(best)), best]

    def log_prob(self, value):
        return self.mixture.log_prob(value)

    def sample(self, sample_shape=()):
        assert not sample_shape
        return self.mean + 0.5 * (7 * self.mean).sin()


class Network(Predictor):
    """A small mixture network with random weights."""

    def __init__(self):
        super().__init__(context_frames=W, dim=DIM)
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(W * DIM, 16), nn.GELU(), nn.Linear(16, 3 + 6 * DIM))

    def fit(self, train, training):
        raise NotImplementedError

    def forward(self, context):
        logits, means, log_sigmas = self.body(context.flatten(1)).split([3, 3 * DIM, 3 * DIM], 1)
        shape = (len(context), 3, DIM)
        components = Independent(Normal(means.view(shape), log_sigmas.view(shape).exp()), 1)
        return Repeatable(MixtureSameFamily(Categorical(logits=logits), components))


def latents_of(lengths):
    rng = np.random.default_rng(0)
    arrays = {f"u{i}": rng.normal(size=(n, DIM)).astype(np.float32) for i, n in enumerate(lengths)}
    return Latents.from_arrays(arrays, dict.fromkeys(arrays, "s"))


def chosen(latents, k, target="delta", step=1):
    return rollout_frames(
        latents,
        range(len(latents.utterances)),
        context_frames=W,
        horizon=k,
        target=target,
        step=step,
        count=16,
        max_frames=20,
    )


def run(model, frames, **options):
    return rollout(
        model, model, frames, batch_size=64, device=CPU, centre=torch.from_numpy(CENTRE), **options
    )


def draw(density, mode):
    return {"mean": density.mean, "component": density.mode_component}.get(mode, density.sample())[
        0
    ]


def is_given_back(inject, step):
    name, _, number = inject.partition(":")
    return {
        "never": False,
        "teacher": True,
        "once": number and step == int(number),
        "every": number and step % int(number) == 0,
    }[name]


def one_by_one(model, frames, mode, inject):
    """Utterance by utterance, frame by frame; the rows of `frames` in order."""
    k, m, of_x = frames.horizon, frames.step, frames.target == "x"
    t0 = max(W - 1 + k, m)
    rows, at = [], {}
    for u in dict.fromkeys(frames.utterance.tolist()):
        true = frames.latents.utterance(u)
        own = true.clone()
        for t in range(t0, int(frames.t[frames.utterance == u].max()) + 1):
            with torch.no_grad():
                density = model(own[None, t - k - W + 1 : t - k + 1])
                drawn = draw(density, mode)
                made = drawn if of_x else own[t - m] + drawn
                nll = -density.log_prob(true[t] if of_x else true[t] - true[t - m]).item()
            change = (made - own[t - m]).double().numpy()
            right = (true[t] - true[t - m]).double().numpy()
            made_, true_ = made.double().numpy(), true[t].double().numpy()
            before, earlier = own[t - 1].double().numpy(), true[t - 1].double().numpy()
            at.setdefault(t, []).append((len(rows), made_, true_))
            rows.append(
                {
                    "nll_rollout": nll,
                    "state_error": np.linalg.norm(made_ - true_),
                    "change_cosine": change
                    @ right
                    / np.linalg.norm(change)
                    / np.linalg.norm(right),
                    "change_norm": np.linalg.norm(change),
                    "true_change_norm": np.linalg.norm(right),
                    "deviation": ((made_ - CENTRE) ** 2).sum(),
                    "true_deviation": ((true_ - CENTRE) ** 2).sum(),
                    "lagged_product": (made_ - CENTRE) @ (before - CENTRE),
                    "true_lagged_product": (true_ - CENTRE) @ (earlier - CENTRE),
                    "previous_deviation": ((before - CENTRE) ** 2).sum(),
                    "true_previous_deviation": ((earlier - CENTRE) ** 2).sum(),
                }
            )
            own[t] = true[t] if is_given_back(inject, t - t0 + 1) else made
    for together in at.values():
        for number, made_, true_ in together:
            others = [(x, y) for other, x, y in together if other != number]
            rows[number] |= {
                "distance_to_true": mean_of(np.linalg.norm(made_ - y) for _, y in others),
                "distance_to_own": mean_of(np.linalg.norm(made_ - x) for x, _ in others),
                "distance_of_true": mean_of(np.linalg.norm(true_ - y) for _, y in others),
            }
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def mean_of(values):
    found = list(values)
    return sum(found) / len(found) if found else np.nan


@pytest.mark.parametrize(
    ("mode", "inject"),
    [
        *itertools.product(["mean"], ["never", "once:5", "every:2", "every:7", "teacher"]),
        *itertools.product(["sample", "component"], ["never", "every:2"]),
    ],
)
@pytest.mark.parametrize(
    ("k", "target", "step"), [(1, "delta", 1), (3, "delta", 1), (2, "x", 1), (2, "delta", 6)]
)
def test_the_plain_loop_sees_the_same(k, target, step, mode, inject):
    frames = chosen(latents_of([17, 4, 20]), k, target, step)
    found = run(Network(), frames, mode=mode, inject=Injection.parse(inject))
    expected = one_by_one(Network(), frames, mode, inject)
    assert set(expected) == {"nll_rollout", *STATE_COLUMNS}
    # The direction of a change that is nearly none is rounding: what is compared is its share.
    for columns in (found, expected):
        columns["change_cosine"] *= columns["change_norm"]
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-3, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("target", ["delta", "x"])
@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("inject", ["teacher", "every:1"])
def test_a_teacher_leaves_no_gap_at_all(k, target, inject):
    found = run(Network(), chosen(latents_of([40, 25]), k, target), inject=Injection.parse(inject))
    assert (rollout_gap(found) == 0.0).all()
    assert found["depth"].max() > 5


def test_a_context_given_back_whole_is_a_true_one():
    """After W true frames in a row the gap is exactly 0 again, and only then."""
    frames = chosen(latents_of([40]), 2)

    class Steps(Injection):
        def at_steps(self, count):
            return np.isin(np.arange(1, count + 1), (6, 7, 8))

    gap = rollout_gap(run(Network(), frames, inject=Steps()))
    t0 = W - 1 + 2
    (zero,) = np.nonzero(gap == 0.0)
    assert (frames.t[zero] - t0 + 1).tolist() == [1, 2, 8 + 2]


def test_the_columns_of_states_change_no_score():
    frames = chosen(latents_of([40, 25]), 2)
    bare = rollout(Network(), Network(), frames, batch_size=64, device=CPU)
    found = run(Network(), frames)
    for name, values in bare.items():
        np.testing.assert_array_equal(found[name], values)
    assert set(found) - set(bare) == set(STATE_COLUMNS)


@pytest.mark.parametrize(("k", "step"), [(1, 1), (2, 2), (1, 3)])
def test_where_the_context_holds_the_frame_subtracted_x_makes_the_same_frames(k, step):
    latents = latents_of([40, 25])
    change = chosen(latents, k, step=step)
    of_x = chosen(latents, k, "x", step)
    delta, x = run(Network(), change), run(ShiftedToX(Network(), of_x), of_x)
    np.testing.assert_allclose(x["state_error"], delta["state_error"], rtol=1e-4)
    # p(x_t) is p(x_t - x_{t-m}) at the true frame: teacher-forced they are one number.
    np.testing.assert_allclose(x["nll_teacher"], delta["nll_teacher"], rtol=1e-4)


def test_where_it_does_not_there_is_no_such_model():
    with pytest.raises(ValueError, match="not in the context"):
        ShiftedToX(Network(), chosen(latents_of([40]), 2, "x"))


def test_states_that_leave_the_numbers_are_infinitely_far():
    class Exploding(Network):
        def forward(self, context):
            return Independent(Normal(context[:, -1] * 1e30, torch.ones(len(context), DIM)), 1)

    found = run(Exploding(), chosen(latents_of([30]), 1))
    late = found["depth"] > 3
    for name in ("state_error", "change_norm", "deviation"):
        assert np.isposinf(found[name][late]).all()
    assert np.isnan(found["change_cosine"][late]).all()
    assert np.isfinite(found["true_deviation"]).all()
