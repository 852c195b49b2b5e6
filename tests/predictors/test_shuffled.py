import numpy as np
import torch

from latentbench.config import TrainingConfig
from latentbench.latents import Latents
from latentbench.predictors import Training
from latentbench.predictors.mdn import (
    MixtureDensityNetwork,
    ShuffledContextNetwork,
    UnconditionalNetwork,
)
from latentbench.predictors.plugin import MdnOptions, ShuffledContextOptions
from latentbench.progress import SILENT
from latentbench.tasks import WindowTask

W, DIM = 3, 2


def frames_of(count=500, seed=0):
    """Frames whose change is nearly known from the context: x alternates about 0."""
    random = np.random.default_rng(seed)
    size = random.normal(size=(1, DIM)) + 3
    sign = np.where(np.arange(count) % 2, 1.0, -1.0)[:, None]
    rows = (size * sign + 0.1 * random.normal(size=(count, DIM))).astype(np.float32)
    latents = Latents.from_arrays({"u": rows}, {"u": "s"})
    return WindowTask(W, 1, frame_set="own").frames(latents, [0])


def network(kind=ShuffledContextNetwork, options=None):
    torch.manual_seed(0)
    options = options or ShuffledContextOptions(components=2, width=16, reservoir=64)
    return kind(options, context_frames=W, dim=DIM)


def fitted(frames, predictor, steps=1):
    training = TrainingConfig(steps=steps, batch_size=64, learning_rate=5e-3)
    predictor.fit(frames, Training(training, 7, torch.device("cpu"), None, SILENT))
    return predictor


def test_the_reservoir_holds_contexts_of_training_frames():
    frames = frames_of()
    contexts = fitted(frames, network()).contexts
    everything = {row.numpy().tobytes() for row in frames.batch(np.arange(len(frames))).context}
    drawn = {row.numpy().tobytes() for row in contexts}
    assert drawn <= everything
    assert len(drawn) == 64


def test_few_frames_fill_the_reservoir_more_than_once():
    frames = frames_of(10)
    contexts = fitted(frames, network()).contexts
    assert {row.numpy().tobytes() for row in contexts} <= {
        row.numpy().tobytes() for row in frames.batch(np.arange(len(frames))).context
    }


def test_evaluation_is_the_mdn_at_the_replacements():
    frames = frames_of()
    mine = fitted(frames, network())
    plain = network(MixtureDensityNetwork, MdnOptions(components=2, width=16))
    weights = {n: t for n, t in mine.state_dict().items() if n != "contexts"}
    plain.load_state_dict(weights)
    batch = frames.batch(np.arange(50))
    replaced = mine.contexts[mine.replacements(batch.context)]
    expected = plain(replaced).log_prob(batch.target)
    assert torch.equal(mine(batch.context).log_prob(batch.target), expected)


def test_replacements_do_not_depend_on_the_batch_and_spread_evenly():
    mine = network()
    context = torch.randn(20_000, W, DIM)
    chosen = mine.replacements(context)
    order = torch.randperm(len(context))
    assert torch.equal(mine.replacements(context[order]), chosen[order])
    assert torch.equal(mine.replacements(context[:1]), chosen[:1])
    counts = torch.bincount(chosen, minlength=64).double()
    expected = len(context) / 64
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert abs(chi_square - 63) < 5 * (2 * 63) ** 0.5


def test_neighbours_in_the_last_bit_are_sent_elsewhere():
    mine = network()
    context = torch.randn(20_000, W, DIM)
    near = context.clone()
    near[:, 1, 1] = near[:, 1, 1].nextafter(torch.tensor(9.0))
    same = (mine.replacements(near) == mine.replacements(context)).double().mean().item()
    assert same < 1 / 64 + 5 * (1 / 64 / len(context)) ** 0.5


def test_a_target_that_the_context_tells_is_not_learned():
    frames = frames_of(2000)
    batch = frames.batch(np.arange(len(frames)))
    plain = MdnOptions(components=2, width=16)
    nll = {
        kind.__name__: -fitted(frames, network(kind, options), 400)(batch.context)
        .log_prob(batch.target)
        .mean()
        .item()
        for kind, options in (
            (MixtureDensityNetwork, plain),
            (UnconditionalNetwork, plain),
            (ShuffledContextNetwork, None),
        )
    }
    blind, shuffled = nll["UnconditionalNetwork"], nll["ShuffledContextNetwork"]
    assert nll["MixtureDensityNetwork"] < blind - 0.4  # the sign alone is ln 2
    assert blind - 0.05 < shuffled < blind + 0.3
