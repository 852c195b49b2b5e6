"""Weights into networks, held against torch's own loading."""

import warnings

import pytest
import torch
from torch import nn

from latentbench.encoders.state_dicts import WeightsMismatchError, fill


def normed(kind):
    """A small network with one convolution under the older or the newer weight norm."""
    torch.manual_seed(3)
    convolution = nn.Conv1d(2, 3, 5)
    if kind == "newer":
        nn.utils.parametrizations.weight_norm(convolution)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            nn.utils.weight_norm(convolution)
    return nn.Sequential(convolution, nn.Linear(3, 3))


@pytest.mark.parametrize(("own", "file"), [("older", "newer"), ("newer", "older")])
def test_the_names_of_both_weight_norms_are_read(own, file):
    """What a codec's package was saved with depends on the torch it was saved by."""
    network, saved = normed(own), normed(file)
    with torch.no_grad():
        for tensor in saved.state_dict().values():
            tensor.add_(0.3 * torch.randn(tensor.shape))
    fill(network, saved.state_dict())
    wave = torch.randn(1, 2, 7)
    assert torch.allclose(network(wave), saved(wave), rtol=0, atol=1e-6)


def test_a_weight_under_both_names_is_not_chosen_between():
    state = {**normed("newer").state_dict(), **normed("older").state_dict()}
    with pytest.raises(WeightsMismatchError, match="2 given twice"):
        fill(normed("older"), state)


def test_counters_stay_whole_numbers():
    network = nn.BatchNorm1d(2)
    state = {name: tensor + 2 for name, tensor in network.state_dict().items()}
    fill(network, state)
    assert network.num_batches_tracked == 2
    with pytest.raises(WeightsMismatchError, match=r"num_batches_tracked torch\.float32"):
        fill(network, {**state, "num_batches_tracked": torch.tensor(2.0)})


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_named(value):
    state = nn.Linear(2, 2).state_dict()
    state["bias"][1] = value
    with pytest.raises(WeightsMismatchError, match="1 of 2 not finite: bias"):
        fill(nn.Linear(2, 2), state)
