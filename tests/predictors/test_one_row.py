"""Models without a context are computed for one row, where that is all they depend on."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Distribution, Independent, Normal

from latentbench.config import TrainingConfig
from latentbench.latents import Latents
from latentbench.metrics.columns import nll_unconditional
from latentbench.metrics.controls import Controls
from latentbench.metrics.scoring import score
from latentbench.predictors import Predictor, Training
from latentbench.predictors.mdn import MixtureDensityNetwork
from latentbench.predictors.neural.network import neural
from latentbench.predictors.neural.options import NeuralOptions
from latentbench.predictors.one_row import Repeated
from latentbench.predictors.plugin import MdnOptions, MdnRobustOptions
from latentbench.predictors.robust import RobustNetwork
from latentbench.predictors.training import Descent
from latentbench.progress import SILENT
from latentbench.tasks import WindowTask

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def blind():
    rows = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    latents = Latents.from_arrays({"a": rows}, {"a": "a"})
    return WindowTask(2, 1, target="x").frames(latents, [0]).without_context()


class Noisy(MixtureDensityNetwork):
    """Draws in training, though its density at first does not show it."""

    def forward(self, context):
        shown = context + 0.1 * torch.randn_like(context) if self.training else context
        return super().forward(shown)


class Dropping(MixtureDensityNetwork):
    """Dropout at work in training."""

    def forward(self, context):
        return super().forward(torch.dropout(context, 0.5, self.training))


class Summing(MixtureDensityNetwork):
    """A loss that counts contexts, so that one is not as good as many."""

    def loss(self, context, target):
        return super().loss(context, target) * len(context)


SMALL = {"context_frames": 2, "dim": 3}
MDN = MdnOptions(components=2, width=16)
NEURAL = {"width": 16, "attention_heads": 2, "head_width": 16, "head_layers": 2, "components": 2}
MAKERS = {
    "mdn": (lambda: MixtureDensityNetwork(MDN, **SMALL), True),
    "mdn-robust": (lambda: RobustNetwork(MdnRobustOptions(components=2, width=16), **SMALL), True),
    "mdn-robust, noise": (
        lambda: RobustNetwork(MdnRobustOptions(components=2, width=16, context_noise=0.1), **SMALL),
        False,
    ),
    "noise": (lambda: Noisy(MDN, **SMALL), False),
    "dropout": (lambda: Dropping(MDN, **SMALL), False),
    "counts contexts": (lambda: Summing(MDN, **SMALL), False),
    "gru": (lambda: neural(NeuralOptions(backbone="gru", **NEURAL), **SMALL), True),
    "student": (lambda: neural(NeuralOptions(head="student", **NEURAL), **SMALL), True),
    "flow": (lambda: neural(NeuralOptions(head="flow", transforms=2, **NEURAL), **SMALL), None),
    "energy": (lambda: neural(NeuralOptions(head="energy", **NEURAL), **SMALL), False),
    "transformer": (
        lambda: neural(NeuralOptions(backbone="transformer", **NEURAL), **SMALL),
        True,
    ),
}


def descents(name, blind):
    """A training as it is, and one that computes every row."""
    make, expected = MAKERS[name]
    training = Training(TrainingConfig(), 7, CPU, None, SILENT)
    both = []
    for one_row in (True, False):
        torch.manual_seed(1)
        predictor = make()
        if hasattr(predictor, "standardise_by"):
            predictor.standardise_by(blind, "model")
        descent = Descent(predictor.train(), training)
        if one_row:
            descent.use_one_row(blind)
            assert expected is None or descent.one_row is expected
        both.append(descent)
    return both


@pytest.mark.parametrize("name", MAKERS)
def test_losses_and_weights_are_those_of_all_rows(name, blind):
    found = []
    for descent in descents(name, blind):
        torch.manual_seed(2)
        units = descent.predictor.units(blind, 64)
        batch = units.batch(np.arange(min(64, len(units))))
        found.append([descent.step(batch) for _ in range(20)])
    torch.testing.assert_close(*map(torch.stack, found), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["mdn", "mdn-robust", "mdn-robust, noise", "flow", "transformer"])
def test_scores_are_those_of_all_rows(name, blind):
    make, _ = MAKERS[name]
    torch.manual_seed(1)
    predictor = make()
    if hasattr(predictor, "standardise_by"):
        predictor.standardise_by(blind, "model")
    predictor.eval()
    which = np.arange(50)
    target, nothing = blind.targets(which), torch.zeros(50, 2, 3)
    controls = Controls(unconditional=predictor).sharing(blind, CPU)
    assert controls.one_row
    with torch.no_grad():
        whole = predictor.densities(blind, which, nothing)
        one = Repeated(predictor(nothing[:1]), 50)
        # Networks of float32, whatever the density adds.
        torch.testing.assert_close(
            one.log_prob(target).float(), whole.log_prob(target).float(), rtol=1e-5, atol=1e-5
        )
        assert one.mean.shape == (50, 3)
        drawn = one.sample((4,))
    assert drawn.shape == (4, 50, 3)
    assert len(drawn.unique(dim=1)[0]) == 50  # each row has draws of its own


def test_a_control_that_diverged_is_scored_as_infinitely_bad_and_not_refused(blind, monkeypatch):
    monkeypatch.setattr(Distribution, "_validate_args", True)  # as torch has it

    class Diverged(Predictor):
        """A normal of torch, which checks its parameters."""

        def __init__(self):
            super().__init__(context_frames=2, dim=3)
            self.mean = nn.Parameter(torch.full((3,), torch.nan))

        def fit(self, train, training):
            raise NotImplementedError

        def forward(self, context):
            return Independent(Normal(self.mean.expand(len(context), 3), 1.0), 1)

    model, marginal = Diverged(), MixtureDensityNetwork(MDN, **SMALL)
    columns = {"nll_unconditional": nll_unconditional}
    controls = Controls(unconditional=model)
    found = score(
        marginal, marginal, blind, columns, max_frames=40, batch_size=16, device=CPU,
        controls=controls,
    )  # fmt: skip
    assert np.isnan(found["nll_unconditional"]).all()
