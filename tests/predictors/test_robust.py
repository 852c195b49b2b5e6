import math

import numpy as np
import pytest
import torch

from latentbench.config import ComponentConfig, TrainingConfig, build_options
from latentbench.errors import UsageError
from latentbench.latents import Latents
from latentbench.plugins import load_registry
from latentbench.predictors import Training
from latentbench.predictors.marginal import Marginal
from latentbench.predictors.mdn import MixtureDensityNetwork
from latentbench.predictors.plugin import MarginalOptions, MdnOptions, MdnRobustOptions
from latentbench.predictors.robust import RobustNetwork
from latentbench.progress import SILENT
from latentbench.rollout.engine import rollout, rollout_frames
from latentbench.tasks import WindowTask

CPU = torch.device("cpu")
W, DIM = 2, 8
CAP = -math.log(1e-3)


def heavy_tailed(seed, utterances=8, frames=150):
    """AR(1) frames; once in 50 a burst a hundred times as loud, and one dimension is constant."""
    random = np.random.default_rng(seed)
    rows = {}
    for name in map(str, range(utterances)):
        noise = random.normal(size=(frames, DIM))
        for t in range(1, frames):
            noise[t] = 0.8 * noise[t - 1] + 0.6 * noise[t]
        noise *= np.where(random.random((frames, 1)) < 0.02, 100.0, 1.0)
        noise[:, 3] = 0.5
        rows[name] = noise.astype(np.float32)
    return Latents.from_arrays(rows, {name: name for name in rows})


def frames_of(latents, horizon=1):
    task = WindowTask(W, horizon, frame_set="own")
    return task.frames(latents, range(len(latents.utterances)))


def network(**options):
    torch.manual_seed(0)
    options = MdnRobustOptions(**{"components": 4, "width": 32, **options})
    return RobustNetwork(options, context_frames=W, dim=DIM)


def fit(predictor, frames, steps=150):
    config = TrainingConfig(steps=steps, batch_size=64)
    predictor.fit(frames, Training(config, 7, CPU, None, SILENT))
    return predictor.eval()


def marginal(frames):
    return fit(Marginal(MarginalOptions(), context_frames=W, dim=DIM), frames)


@pytest.fixture(scope="module")
def train():
    return frames_of(heavy_tailed(0))


@pytest.fixture(scope="module", params=["gaussian", "student-t"])
def robust(request, train):
    return fit(network(tails=request.param, context_noise=0.05), train)


def wild(context):
    """Contexts no training frame has."""
    broken = context.clone()
    broken[::2, 0, 0], broken[1::2, 1, 1] = math.nan, math.inf
    return {
        "true": context,
        "a million times as loud": context * 1e6,
        "beyond float32": context * 1e38 * 10,
        "nan and inf": broken,
        "minus inf": torch.full_like(context, -math.inf),
        "lattice edge": torch.full_like(context, 1e3),
    }


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_no_context_and_no_target_score_worse_than_the_marginal_by_more_than_the_cap(
    robust, train, scale
):
    batch = train.batch(np.arange(len(train)))
    baseline = marginal(train)
    target = batch.target * scale
    for name, context in wild(batch.context).items():
        density = robust(context)
        excess = baseline(context).log_prob(target) - density.log_prob(target)
        assert excess.isfinite().all(), name
        assert excess.max().item() <= CAP + 1e-6, name
        assert density.mean.isfinite().all(), name
        assert density.sample().isfinite().all(), name


def test_where_the_mdn_explodes_it_stays_ahead_of_the_marginal(robust, train):
    mdn = MixtureDensityNetwork(MdnOptions(components=4, width=32), context_frames=W, dim=DIM)
    fit(mdn, train)
    fresh = frames_of(heavy_tailed(1))
    batch = fresh.batch(np.arange(len(fresh)))
    with torch.no_grad():
        nll = {
            one: -each(batch.context).log_prob(batch.target).double()
            for one, each in (("mdn", mdn), ("robust", robust), ("marginal", marginal(train)))
        }
    assert (nll["mdn"] - nll["marginal"]).max() > 1000
    assert (nll["robust"] - nll["marginal"]).max() <= CAP + 1e-6
    assert nll["robust"].mean() < nll["marginal"].mean()
    assert nll["robust"].mean() < nll["mdn"].mean()


@pytest.mark.parametrize("mode", ["mean", "sample"])
@pytest.mark.parametrize("horizon", [1, 4])
def test_rollouts_stay_finite_and_under_the_cap(train, horizon, mode):
    latents = heavy_tailed(2)
    predictor = fit(network(), frames_of(train.latents, horizon), 40)
    baseline = marginal(frames_of(train.latents, horizon))
    frames = rollout_frames(
        latents,
        range(8),
        context_frames=W,
        horizon=horizon,
        target="delta",
        count=8,
        max_frames=150,
    )
    found = rollout(predictor, baseline, frames, batch_size=256, device=CPU, mode=mode)
    assert np.isfinite(found["nll_rollout"]).all()
    assert (found["nll_rollout"] - found["nll_baseline"]).max() <= CAP + 1e-6
    assert len(found["nll_rollout"]) > 1000


def test_frames_and_density_are_standardised_with_the_exact_jacobian(train):
    """Latents in other units: the same network, and a density that differs by the units."""
    units = np.array([1e-1, 1, 30, 1, 7, 0.5, 2, 1e3], dtype=np.float32)
    offset = np.float32(4.0)
    scaled = {
        stored.id: train.latents.utterance(row).numpy() * units + offset
        for row, stored in enumerate(train.latents.utterances)
    }
    other = frames_of(Latents.from_arrays(scaled, {name: name for name in scaled}))
    one, two = fit(network(), train, 20), fit(network(), other, 20)
    which = np.arange(300)
    mine, theirs = train.batch(which), other.batch(which)
    found = one(mine.context).log_prob(mine.target) - two(theirs.context).log_prob(theirs.target)
    varying = np.delete(np.log(units), 3)  # the constant dimension has the floor in both
    torch.testing.assert_close(
        found, torch.full_like(found, varying.sum().item()), rtol=0, atol=2e-2
    )


def test_standardised_contexts_are_clipped_and_noisy_in_training_only(train):
    predictor = fit(network(clip=2.0, context_noise=0.5), train, 1)
    context = train.batch(np.arange(len(train))).context
    everything = context.flatten(0, 1)
    seen = predictor.standardised(context)
    assert seen.abs().max() == 2.0
    inside = seen.abs() < 2.0
    expected = (context - everything.mean(0)) / everything.std(0).clamp_min(1e-9)
    torch.testing.assert_close(seen[inside], expected[inside], rtol=0.05, atol=0.05)
    assert torch.equal(seen, predictor.standardised(context))
    predictor.train()
    torch.manual_seed(0)
    noise = (predictor.standardised(context) - seen)[seen.abs() < 0.3]
    assert noise.std().item() == pytest.approx(0.5, rel=0.05)
    assert predictor.standardised(context).abs().max() == 2.0


def test_sigma_never_falls_below_its_share_of_the_marginals(train):
    predictor = fit(network(sigma_floor=0.3), train, 1)
    with torch.no_grad():
        predictor.log_sigmas.bias.fill_(-50.0)
    density = predictor(train.batch(np.arange(4)).context)
    assert density.base.learned.component_log_sigmas.exp().min().item() == pytest.approx(0.3)


def test_degrees_of_freedom_are_learned_and_at_least_two(train):
    predictor = network(tails="student-t")
    start = predictor.degrees.detach().clone()
    fit(predictor, train, 100)
    assert (predictor.degrees != start).all()
    with torch.no_grad():
        predictor.log_degrees.copy_(torch.tensor([-1e9, -5.0, 5.0, 1e9]))
    assert predictor.degrees.min() >= 2.0
    assert predictor.degrees.isfinite().all()
    batch = train.batch(np.arange(20))
    assert predictor(batch.context).log_prob(batch.target).isfinite().all()


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("sigma_floor", 1.0, "less than 1"),
        ("marginal_weight", 0.0, "greater than 0"),
        ("clip", -1.0, "greater than 0"),
        ("context_noise", -0.1, "greater than or equal to 0"),
        ("tails", "cauchy", "'gaussian' or 'student-t'"),
    ],
)
def test_options_out_of_range_are_named(option, value, reason):
    config = ComponentConfig(name="mdn-robust", **{option: value})
    message = f"'predictor.{option}' cannot be {value!r}: .*{reason}"
    with pytest.raises(UsageError, match=message):
        build_options(config, "predictor", load_registry())
