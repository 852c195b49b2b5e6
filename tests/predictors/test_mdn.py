import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from latentbench.errors import UsageError
from latentbench.predictors.mdn import MixtureDensityNetwork
from latentbench.predictors.plugin import MdnOptions


def network(context_frames=3, dim=5, **options):
    torch.manual_seed(0)
    options = MdnOptions(**{"components": 4, "width": 16, **options})
    return MixtureDensityNetwork(options, context_frames=context_frames, dim=dim)


def test_phase_1_has_the_parameters_of_its_formula():
    layers = [(4096, 1024), (1024, 1024), (1024, 8), (1024, 4096), (1024, 4096)]
    with torch.device("meta"):
        phase1 = MixtureDensityNetwork(MdnOptions(), context_frames=8, dim=512)
    assert sum(p.numel() for p in phase1.parameters()) == sum((i + 1) * o for i, o in layers)


def test_initialisation_is_pytorchs_but_for_the_bias_of_log_sigma():
    mine = network()
    torch.manual_seed(0)
    plain = [nn.Linear(*size) for size in ((15, 16), (16, 16), (16, 4), (16, 20), (16, 20))]
    nn.init.constant_(plain[-1].bias, -1.0)
    expected = [parameter for layer in plain for parameter in layer.parameters()]
    for found, wanted in zip(mine.parameters(), expected, strict=True):
        assert torch.equal(found, wanted)


def test_is_the_network_of_its_formula():
    mine = network(log_sigma_min=-1.1, log_sigma_max=-0.9)
    context = torch.randn(6, 3, 5)
    hidden = context.reshape(6, 15)
    for layer in (mine.hidden1, mine.hidden2):
        hidden = hidden @ layer.weight.T + layer.bias
        hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
    density = mine(context)
    assert density.batch_shape == (6,)
    assert density.event_shape == (5,)
    logits = F.linear(hidden, mine.logits.weight, mine.logits.bias)
    torch.testing.assert_close(density.weights, logits.softmax(-1))
    means = F.linear(hidden, mine.means.weight, mine.means.bias).reshape(6, 4, 5)
    torch.testing.assert_close(density.component_means, means)
    log_sigmas = F.linear(hidden, mine.log_sigmas.weight, mine.log_sigmas.bias)
    clamped = log_sigmas.reshape(6, 4, 5).clamp(-1.1, -0.9)
    assert len(clamped.unique()) > 2
    torch.testing.assert_close(density.component_log_sigmas, clamped)


def test_every_parameter_gets_a_gradient():
    mine = network()
    (-mine(torch.randn(6, 3, 5)).log_prob(torch.randn(6, 5)).mean()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in mine.parameters())


def test_a_batch_gives_what_its_rows_give_alone():
    mine = network()
    context, target = torch.randn(6, 3, 5), torch.randn(6, 5)
    alone = [mine(context[i : i + 1]).log_prob(target[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(mine(context).log_prob(target), torch.cat(alone))


def test_weights_are_saved_and_loaded():
    mine = network()
    torch.manual_seed(99)
    options = MdnOptions(components=4, width=16)
    other = MixtureDensityNetwork(options, context_frames=3, dim=5)
    other.load_state_dict(mine.state_dict())
    context, target = torch.randn(6, 3, 5), torch.randn(6, 5)
    assert torch.equal(other(context).log_prob(target), mine(context).log_prob(target))


def test_infinite_contexts_give_densities_that_are_not_finite():
    context = torch.zeros(3, 3, 5)
    context[1] = math.inf
    log_prob = network()(context).log_prob(torch.zeros(3, 5))
    assert log_prob.isfinite().tolist() == [True, False, True]


def test_bounds_that_are_no_interval_are_an_error():
    message = r"predictor.log_sigma_min=3.0 is not below predictor.log_sigma_max=2.0"
    with pytest.raises(UsageError, match=message):
        network(log_sigma_min=3.0)
