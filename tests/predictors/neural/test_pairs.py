"""Every head and every backbone: a pair trains, is saved and loaded, and says what it gives."""

import itertools
import re

import numpy as np
import pytest
import torch

from latentbench.config import ComponentConfig, build_options
from latentbench.errors import UsageError
from latentbench.plugins import load_registry
from latentbench.predictors.neural.options import DENSITIES, HEADS, NeuralOptions
from latentbench.progress import SilentProgress
from latentbench.specs import option_fields

SAMPLERS = [head for head, gives in DENSITIES.items() if gives == "samples"]
# A head sees states, whatever made them.
PAIRS = [
    *itertools.product(["mlp"], HEADS),
    *itertools.product(["gru", "transformer"], ["mdn", "flow", "latent", "energy"]),
]


@pytest.mark.parametrize(("backbone", "head"), PAIRS)
def test_a_pair_trains_samples_and_is_loaded_as_it_was(make, fit, utterances, backbone, head):
    frames = utterances()
    options = {"backbone": backbone, "head": head}
    start = make(**options)
    predictor = fit(make(**options), frames)
    moved = [
        name
        for (name, before), after in zip(
            start.named_parameters(), predictor.parameters(), strict=True
        )
        if not torch.equal(before, after)
    ]
    assert moved == [name for name, _ in start.named_parameters()]
    start.load_state_dict(predictor.state_dict())
    context = frames.batch(np.arange(5)).context
    with torch.no_grad():
        torch.manual_seed(2)
        drawn = predictor(context).sample((3,))
        torch.manual_seed(2)
        again = start.eval()(context).sample((3,))
        mean = predictor(context).mean
    assert drawn.shape == (3, 5, 4)
    assert torch.equal(drawn, again)
    assert mean.shape == (5, 4)
    assert mean.isfinite().all()


@pytest.mark.parametrize("head", HEADS)
def test_the_mean_of_a_context_does_not_depend_on_those_beside_it(make, head):
    predictor = make(head=head).eval()
    context = torch.randn(5, 3, 4)
    with torch.no_grad():
        alone = torch.cat([predictor(one[None]).mean for one in context])
        torch.testing.assert_close(predictor(context).mean, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("head", [head for head in HEADS if head not in SAMPLERS])
def test_one_target_is_scored_under_every_context(make, head):
    predictor = make(head=head).eval()
    context, target = torch.randn(5, 3, 4), torch.randn(4)
    with torch.no_grad():
        density = predictor(context)
        found, each = density.log_prob(target), density.log_prob(target.expand(5, 4))
    torch.testing.assert_close(found, each, rtol=0, atol=1e-5)


@pytest.mark.parametrize("head", SAMPLERS)
def test_the_likelihood_of_samples_is_an_error_that_says_so(make, head):
    density = make(head=head)(torch.zeros(2, 3, 4))
    message = f"The head '{head}' of neural gives samples and no density.*\n.*gaussian, mdn"
    with pytest.raises(UsageError, match=message):
        density.log_prob(torch.zeros(2, 4))


def test_what_a_head_gives_is_declared_by_the_spec_and_by_the_predictor(make):
    component = load_registry().get("predictor", "neural")
    for head, gives in DENSITIES.items():
        options = NeuralOptions(head=head, width=16, attention_heads=2)
        made = component.create(options, context_frames=2, dim=2)
        assert component.spec.density_of(options) == made.density == gives
        assert make(head=head).density == gives


def test_heads_of_the_options_are_those_there_are():
    field = next(one for one in option_fields(NeuralOptions) if one.name == "head")
    assert re.findall(r"'([a-z-]+)'", field.type) == list(HEADS)


def test_a_head_that_is_none_is_named():
    config = ComponentConfig(name="neural", head="consistency")
    with pytest.raises(UsageError, match=r"'predictor.head' cannot be 'consistency'"):
        build_options(config, "predictor", load_registry())


def test_the_errors_of_a_likelihood_by_probes_are_said(make, fit, utterances):
    progress = SilentProgress()
    frames = utterances((40, 40), dim=70)
    fit(make(dim=70, head="flow-matching"), frames, 1, progress=progress)
    assert len(progress.said) == 1
    assert re.search(r"change by \S+ nats per frame on halving the 8 steps", progress.said[0])
    assert re.search(r"8 probes .* standard error of \S+ nats", progress.said[0])


def test_noise_is_mixed_into_whole_contexts_in_training_only(make):
    predictor = make(context_frames=50, dim=20, noise_mix=0.5, clip=100.0)
    context = 3.0 * torch.ones(400, 50, 20)
    assert torch.equal(predictor.eval().standardised(context), context)
    torch.manual_seed(0)
    mixed = predictor.train().standardised(context).flatten(1)
    kappa = mixed.var(1)  # of sqrt(kappa) e + sqrt(1 - kappa) 3
    torch.testing.assert_close(mixed.mean(1), 3.0 * (1.0 - kappa).sqrt(), rtol=0, atol=0.15)
    assert kappa.max() < 0.6
    assert kappa.mean().item() == pytest.approx(0.25, abs=0.03)
    assert kappa.std().item() == pytest.approx(0.5 / 12**0.5, abs=0.02)


def test_training_may_run_the_backbone_in_half_precision(make, fit, utterances):
    for head in ("flow", "lsd"):
        predictor = fit(make(head=head), utterances(), 2, precision="bf16")
        assert all(p.isfinite().all() for p in predictor.parameters())
