import torch

from latentbench.predictors.mdn import MixtureDensityNetwork, UnconditionalNetwork
from latentbench.predictors.plugin import MdnOptions

OPTIONS = MdnOptions(components=4, width=16)


def networks():
    torch.manual_seed(0)
    mine = UnconditionalNetwork(OPTIONS, context_frames=3, dim=5)
    torch.manual_seed(0)
    return mine, MixtureDensityNetwork(OPTIONS, context_frames=3, dim=5)


def test_is_the_mdn_fed_zeros_gradients_included():
    mine, plain = networks()
    context, target = torch.randn(6, 3, 5), torch.randn(6, 5)
    found = mine(context).log_prob(target)
    expected = plain(torch.zeros_like(context)).log_prob(target)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    expected.sum().backward()
    for one, other in zip(mine.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_the_context_is_ignored_whatever_it_holds():
    mine, _ = networks()
    target = torch.randn(6, 5)
    wild = mine(torch.full((6, 3, 5), torch.nan))
    assert torch.equal(wild.log_prob(target), mine(torch.randn(6, 3, 5)).log_prob(target))
    assert wild.mean.shape == (6, 5)
    assert wild.sample((7,)).isfinite().all()


def test_has_the_parameters_of_the_mdn():
    mine, plain = networks()
    assert mine.state_dict().keys() == plain.state_dict().keys()
