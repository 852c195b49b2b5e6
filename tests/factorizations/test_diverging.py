"""What learned nothing is no factorisation: it is said, and nothing of it is kept."""

import numpy as np
import pytest

from latentbench.errors import LatentbenchError, UsageError
from latentbench.factorizations.original import Original
from latentbench.factorizations.plugin import LinearOptions, OriginalOptions, RssmOptions
from latentbench.factorizations.projections import Linear
from latentbench.factorizations.rssm import Rssm
from latentbench.latents import Latents
from latentbench.latents.plugin import PcaOptions
from latentbench.latents.transform import Pca
from latentbench.worlds.gaussian import factored

SMALL = {"dim": 2, "width": 8, "learning_rate": 1e30}


@pytest.mark.parametrize(
    ("made", "steps"),
    [
        (Rssm(RssmOptions(**SMALL, steps=55)), 50),
        (Rssm(RssmOptions(**SMALL, steps=55, budget=1.0)), 50),
        (Original(OriginalOptions(**SMALL, steps=5)), 5),
    ],
)
def test_weights_that_are_not_finite_are_refused(made, steps, drawn, fitted):
    latents = drawn(factored(3, 1, 0.9, 1.0, 1), utterances=3, frames=20)
    message = f"Fitting {made.name} diverged: after {steps} steps its weights are not finite"
    with pytest.raises(LatentbenchError, match=message) as told:
        fitted(made, latents)
    assert "factorization.learning_rate" in str(told.value)


@pytest.mark.parametrize(
    "made", [Linear(LinearOptions(dim=1)), Rssm(RssmOptions(dim=1)), Rssm(RssmOptions(budget=2.0))]
)
def test_latents_that_stand_still_are_refused(made, fitted):
    still = Latents.from_arrays({"u": np.ones((40, 3), np.float32)}, {"u": "s"})
    with pytest.raises(UsageError, match="do not vary, so there is nothing to factorise"):
        fitted(made, still)
    with pytest.raises(UsageError, match="do not vary, so pca finds no direction"):
        Pca(PcaOptions(whiten=True)).fit(still, [0])
