"""Every way to break the predictor contract is found, named and explained."""

import pytest
import torch

# Predictor -> the check that finds it, and what the finding says.
BROKEN = {
    "MeanOnly": ("distribution", "expected a torch Distribution; came Tensor"),
    "NoEvent": ("distribution", "came batch shape [32, 6] and event shape []"),
    "WritesLatents": ("fits", "expected the latents as they were before fit"),
    "ChangesDtype": ("fits", "'dtype': torch.float64"),
    "Unnormalised": ("density", "came an integral of 7.389"),
    "ShiftedSamples": ("samples", "4096 samples of the density"),
    "MixesTheBatch": ("batch_invariant", "log_prob in a batch as alone"),
    "Remembers": ("context_only", "log_prob as before the targets were changed"),
    "LooksUpTargets": ("context_only", "log_prob as before the targets were changed"),
    "OtherEachFit": ("deterministic", "log_prob of the first fit from a second one"),
    "HidesWhatItLearned": ("state_dict", "after load_state_dict"),
    "UnusedParameter": ("gradients", "expected a gradient of 'unused'; came none"),
    "FitsNothing": ("no_frames", "expected a LatentbenchError from fit without frames"),
}


@pytest.fixture(autouse=True)
def _default_dtype():
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found_and_whose_it_is(check, name):
    expected_check, text = BROKEN[name]
    found = check("predictor", name)[expected_check]
    assert (found.status, text in found.detail) == ("fail", True), found
    assert f"predictor '{name}' of " in str(found)


@pytest.mark.parametrize("name", ["Unnormalised", "ShiftedSamples", "UnusedParameter"])
def test_what_is_not_broken_passes(check, name):
    findings = check("predictor", name)
    assert [f.check for f in findings.values() if f.status != "pass"] == [BROKEN[name][0]]


def test_a_sound_predictor_passes_every_check(check):
    assert {finding.status for finding in check("predictor", "Sound").values()} == {"pass"}
