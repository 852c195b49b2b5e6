import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from latentbench.errors import LatentbenchError, UsageError
from latentbench.latents import Latents
from latentbench.metrics import Metric
from latentbench.metrics.columns import cosine, log_norm, log_norm_mean, nll, nll_baseline
from latentbench.metrics.likelihood import NLL, DeltaNLL
from latentbench.metrics.metric import merge_columns
from latentbench.metrics.scoring import score
from latentbench.metrics.statistics import Quantile
from latentbench.predictors import Predictor
from latentbench.specs import NoOptions
from latentbench.tasks import WindowTask

CPU = torch.device("cpu")
COLUMNS = {
    "nll": nll,
    "nll_baseline": nll_baseline,
    "cosine": cosine,
    "log_norm": log_norm,
    "log_norm_mean": log_norm_mean,
}


class Marginal(Predictor):
    def __init__(self, dim, sigma=1.0):
        super().__init__(context_frames=1, dim=dim)
        self.sigma = nn.Parameter(torch.full((1, dim), sigma))

    def fit(self, train, training):
        raise NotImplementedError

    def forward(self, context):  # noqa: ARG002 - a marginal has no context
        return Independent(Normal(torch.zeros_like(self.sigma), self.sigma), 1)


class Mixture(Predictor):
    """Two Gaussians with random linear parameters; `blow_up` makes some contexts diverge."""

    def __init__(self, w, dim, *, blow_up=False):
        super().__init__(context_frames=w, dim=dim)
        torch.manual_seed(0)
        self.mu = nn.Linear(w * dim, 2 * dim)
        self.log_sigma = nn.Linear(w * dim, 2 * dim)
        self.dropout = nn.Dropout()
        self.blow_up = blow_up

    def fit(self, train, training):
        raise NotImplementedError

    def forward(self, context):
        flat = context.flatten(1)
        shape = (len(context), 2, context.shape[-1])
        mu = self.dropout(self.mu(flat)).reshape(shape)
        if self.blow_up:
            mu = mu / (context[:, -1, 0] > 0)[:, None, None].float() * 1.0
        sigma = self.log_sigma(flat).clamp(-3, 2).exp().reshape(shape)
        logits = torch.zeros(len(context), 2)
        return MixtureSameFamily(Categorical(logits=logits), Independent(Normal(mu, sigma), 1))


def frames_of(lengths=(40, 9, 61), dim=5, **task):
    rng = np.random.default_rng(0)
    arrays = {f"u{i}": rng.normal(size=(n, dim)).astype(np.float32) for i, n in enumerate(lengths)}
    latents = Latents.from_arrays(arrays, dict.fromkeys(arrays, "s"))
    return WindowTask(4, 2, **task).frames(latents, range(len(lengths)))


def scores(predictor, frames, *, batch_size=16, max_frames=10**9, columns=COLUMNS):
    return score(
        predictor,
        Marginal(frames.dim),
        frames,
        columns,
        max_frames=max_frames,
        batch_size=batch_size,
        device=CPU,
    )


@pytest.mark.parametrize("batch_size", [1, 7, 1_000])
def test_scores_do_not_depend_on_the_batch_size(batch_size):
    frames = frames_of()
    reference = scores(Mixture(4, 5), frames, batch_size=33)
    for name, values in scores(Mixture(4, 5), frames, batch_size=batch_size).items():
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, reference[name], rtol=1e-5, atol=1e-5)


def test_scores_are_those_of_each_frame_alone():
    frames = frames_of()
    model = Mixture(4, 5).eval()
    found = scores(model, frames)
    for i in range(0, len(frames), 11):
        x = frames.latents.utterance(int(frames.utterance[i])).double()
        t = int(frames.t[i])
        density = model.double()(x[None, t - 5 : t - 1])
        delta = x[t] - x[t - 1]
        assert found["nll"][i] == pytest.approx(-density.log_prob(delta).item(), rel=1e-5)
        unit = delta.norm() * density.mean.norm()
        expected = (density.mean @ delta / unit).item()
        assert found["cosine"][i] == pytest.approx(expected, abs=1e-5)
        base = 0.5 * float(delta @ delta) + 2.5 * np.log(2 * np.pi)
        assert found["nll_baseline"][i] == pytest.approx(base, rel=1e-5)
        model.float()


def test_only_the_first_frames_of_the_stream_are_scored():
    frames = frames_of()
    every = scores(Mixture(4, 5), frames, batch_size=16)
    some = scores(Mixture(4, 5), frames, batch_size=16, max_frames=20)
    for name, values in some.items():
        assert len(values) == 20
        np.testing.assert_allclose(values, every[name][:20], rtol=1e-5)


def test_no_frames_give_empty_columns():
    found = scores(Mixture(4, 5), frames_of(lengths=(3,)))
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(COLUMNS, (0,))


def test_a_diverged_model_is_scored_and_not_refused():
    frames = frames_of()
    before = Distribution._validate_args
    found = scores(Mixture(4, 5, blow_up=True), frames)
    rows = np.array(
        [
            frames.latents.utterance(int(u))[t - 2, 0] > 0
            for u, t in zip(frames.utterance, frames.t, strict=True)
        ]
    )
    assert 0 < rows.sum() < len(rows)
    np.testing.assert_array_equal(np.isfinite(found["nll"]), rows)
    assert np.isfinite(found["nll_baseline"]).all()
    assert Distribution._validate_args is before


def test_validation_is_restored_when_a_predictor_fails():
    class Failing(Marginal):
        def forward(self, context):  # noqa: ARG002 - it fails whatever it is shown
            raise RuntimeError("broken")

    before = Distribution._validate_args
    with pytest.raises(RuntimeError, match="broken"):
        scores(Failing(5), frames_of())
    assert Distribution._validate_args is before


def test_progress_is_told_every_frame():
    class Counting:
        def __init__(self):
            self.amounts = []

        def advance(self, amount=1.0):
            self.amounts.append(amount)

        def note(self, text):
            raise NotImplementedError

    frames, meter = frames_of(), Counting()
    score(
        Marginal(5),
        Marginal(5),
        frames,
        {"nll": nll},
        max_frames=50,
        batch_size=16,
        device=CPU,
        meter=meter,
    )
    assert meter.amounts == [16, 16, 16, 2]


@pytest.mark.parametrize(
    ("column", "shape"),
    [
        (lambda p: p.target, "16, 5"),
        (lambda p: p.target[:15, 0], "15"),
        (lambda _: torch.ones(()), ""),
    ],
)
def test_a_column_of_a_wrong_shape_is_named(column, shape):
    message = rf"column 'odd' gave shape \[{shape}\] for 16 frames, expected \[16\]"
    with pytest.raises(LatentbenchError, match=message):
        scores(Marginal(5), frames_of(), columns={"odd": column})


def test_metrics_that_read_the_same_column_share_it():
    merged = merge_columns([NLL(NoOptions()), DeltaNLL(NoOptions())])
    assert merged == {"nll": nll, "nll_baseline": nll_baseline}


def test_two_columns_of_one_name_are_an_error_that_names_both():
    class Other(Metric):
        name = "nll_per_dim"
        better = "lower"
        columns = {"nll": log_norm}  # noqa: RUF012 - what a plugin author would write
        statistic = Quantile("nll")

    message = (
        "metrics 'nll' and 'nll_per_dim' read different columns called 'nll': "
        "latentbench.metrics.columns.nll and latentbench.metrics.columns.log_norm"
    )
    with pytest.raises(UsageError, match=message):
        merge_columns([NLL(NoOptions()), Other()])


def test_a_statistic_of_a_column_that_is_not_read_is_named():
    class Astray(NLL):
        name = "astray"
        statistic = Quantile("nll_baseline")

    message = (
        "statistic of the metric 'astray' reads nll_baseline, which is not among its columns: nll"
    )
    with pytest.raises(UsageError, match=message):
        merge_columns([Astray()])


def test_any_density_of_the_right_event_shape_is_scored():
    class Full(Marginal):
        def forward(self, context):
            return MultivariateNormal(context[:, -1], torch.eye(5))

    frames = frames_of(target="x")
    found = scores(Full(5), frames, columns={"nll": nll})
    gap = frames.latents.gather(frames.rows) - frames.latents.gather(frames.rows - 2)
    expected = 0.5 * gap.double().square().sum(1) + 2.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(found["nll"], expected, rtol=1e-5)
