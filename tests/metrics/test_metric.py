"""Metrics that are a mean: of their columns, or of a decorated function."""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from latentbench.metrics.likelihood import NLL, BaselineNLL, Gain
from latentbench.metrics.metric import MeanMetric, Prediction, lacking, metric
from latentbench.metrics.predicted_mean import LogMagnitudeR2


def of_columns(*names):
    class Made(MeanMetric):
        name = "made"
        better = "lower"
        columns = dict.fromkeys(names)

    return Made()


def test_one_column_is_averaged():
    one = of_columns("a")
    assert math.isnan(one.statistic.of({"a": np.empty(0)}))
    assert one.statistic.of({"a": np.array([1.0, 2.0, 6.0], dtype=np.float32)}) == 3.0


def test_the_second_column_is_subtracted_and_two_infinities_have_no_difference():
    one = of_columns("a", "b")
    assert one.statistic.of({"a": np.array([1.0, 5.0]), "b": np.array([4.0, 0.0])}) == 1.0
    assert math.isnan(one.statistic.of({"a": np.array([np.inf]), "b": np.array([np.inf])}))


def test_a_third_column_is_refused():
    with pytest.raises(ValueError, match="one column, or two of which one is subtracted"):
        of_columns("a", "b", "c").statistic  # noqa: B018 - it is computed when asked for


@dataclass(frozen=True)
class Above:
    least: Annotated[float, "smallest error that counts"] = 0.5


@metric(unit="latent units", better="lower", needs=["mean"])
def miss(prediction):
    """Distance of the predicted mean.

    More of it.
    """
    return (prediction.target - prediction.model.mean).norm(dim=-1)


@metric(name="far-off", better="nominal", nominal=0.1, options=Above)
def far(prediction, options):
    """Share of frames that are missed."""
    return (miss.function(prediction) > options.least).double()


def prediction():
    density = Independent(Normal(torch.zeros(3, 2), torch.ones(3, 2)), 1)
    return Prediction(density, density, torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.6, 0.8]]))


def test_a_function_makes_a_metric():
    one = miss()
    assert (one.name, one.unit, one.better, one.needs) == (
        "miss",
        "latent units",
        "lower",
        ("mean",),
    )
    scores = {name: column(prediction()).numpy() for name, column in one.columns.items()}
    assert scores["miss"].tolist() == pytest.approx([5.0, 0.0, 1.0])
    assert one.statistic.of(scores) == pytest.approx(2.0)
    assert miss.spec.factory == f"{__name__}:miss"
    assert miss.spec.summary == "Distance of the predicted mean."


def test_a_function_of_options_has_its_own_in_every_instance():
    wide, narrow = far(Above(2.0)), far(Above())
    assert (wide.name, wide.nominal, wide.options.least) == ("far-off", 0.1, 2.0)
    assert wide.columns["far-off"](prediction()).tolist() == [1.0, 0.0, 0.0]
    assert narrow.columns["far-off"](prediction()).tolist() == [1.0, 0.0, 1.0]


def test_a_predictor_without_a_density_lacks_what_rests_on_one():
    reason = "the predictor gives samples and no log-density"
    assert lacking(NLL(), "samples", (), 4) == reason
    assert lacking(far(), "samples", (), 4) == reason  # it does not say what it needs
    assert {
        lacking(one, "samples", (), 4) for one in (BaselineNLL(), LogMagnitudeR2(), miss())
    } == {""}
    assert {lacking(NLL(), density, (), 4) for density in ("exact", "bound")} == {""}


def test_a_metric_of_a_control_that_was_not_fitted_has_no_figure():
    gain, reason = Gain(), "the control 'unconditional' was not fitted"
    assert lacking(gain, "exact", (), 4) == lacking(gain, "exact", ["x_target"], 4) == reason
    assert lacking(gain, "exact", ["unconditional"], 4) == ""
