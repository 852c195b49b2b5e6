"""Every way to break the predictor contract is found, named and explained."""

import math
import re

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
    "MeansDimensions": ("density_in_many", "exp(log_prob) to integrate to 1; came an integral of"),
    "ForgetsNormalisers": ("density_in_many", "exp(log_prob) to integrate to 1; came"),
    "SharesItsNoise": ("samples_in_many", "1024 samples of the density"),
    "AveragesItsMean": ("density_in_many", "mean to be the integral of x exp(log_prob(x))"),
    "MixesTheBatch": ("batch_invariant", "log_prob in a batch as alone"),
    "Remembers": ("context_only", "log_prob as before the targets were changed"),
    "LooksUpTargets": ("context_only", "log_prob as before the targets were changed"),
    "OtherEachFit": ("deterministic", "log_prob of the first fit from a second one"),
    "HidesWhatItLearned": ("state_dict", "after load_state_dict"),
    "LearnsItsTemperature": ("options_after_fit", "the same weights whatever temperature"),
    "UnusedParameter": ("gradients", "expected a gradient of 'unused'; came none"),
    "DensityAfterAll": ("shapes", "a LatentbenchError from log_prob of a predictor declared"),
    "SamplesElsewhere": ("samples", "mean to be that of 1024 samples"),
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


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("Unnormalised", ["density", "density_in_many", "no_better_than_truth"]),
        ("SharesItsNoise", ["samples_in_many"]),
        ("UnusedParameter", ["gradients"]),
    ],
)
def test_what_is_not_broken_passes(check, name, broken):
    findings = check("predictor", name)
    assert [f.check for f in findings.values() if f.status != "pass"] == broken


@pytest.mark.parametrize("name", ["MeansDimensions", "SharesItsNoise", "AveragesItsMean"])
def test_with_one_dimension_these_are_sound(check, name):
    findings = check("predictor", name)
    assert {findings[one].status for one in ("density", "samples")} == {"pass"}


def test_a_density_better_than_the_truth_is_found(check):
    assert check("predictor", "MeansDimensions")["no_better_than_truth"].status == "fail"
    detail = check("predictor", "Sound")["no_better_than_truth"].detail
    # A unit Gaussian where the variance is 1 - 0.64²: the divergence is known, 16 dimensions.
    variance = 1 - 0.64**2
    divergence = 16 * 0.5 * (variance - 1 - math.log(variance))
    mean, error = re.match(r"(\S+) nats/frame .* error (\S+)\)", detail).groups()
    assert abs(float(mean) + divergence) < 5 * float(error)


def test_a_sound_predictor_passes_every_check(check):
    assert {finding.status for finding in check("predictor", "Sound").values()} == {"pass"}


def test_an_option_that_acts_after_fit_alone_is_found_sound(check):
    found = check("predictor", "SamplesByItsTemperature")
    assert {one.status for one in found.values()} == {"pass"}
    assert found["options_after_fit"].detail == "temperature"
    assert check("predictor", "Sound")["options_after_fit"].detail == "no option is marked"


def test_a_bound_may_be_below_the_density_and_never_above(check):
    found = check("predictor", "Bounds")
    assert found["density"].status == found["density_in_many"].status == "pass"
    assert found["samples_in_many"].status == "skip"
    above = check("predictor", "BoundsFromAbove")["density"]
    assert above.status == "fail"
    assert "exp(log_prob) to integrate to 1 at most; came an integral of 7.389" in above.detail
