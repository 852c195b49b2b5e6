"""A flow leaves the process as it was."""

import subprocess
import sys

import pytest
import torch

CODE = """
import torch
from latentbench.predictors.neural.flows import _spline_flow
for checked in (True, False):
    torch.distributions.Distribution.set_default_validate_args(checked)
    _spline_flow()
    assert torch.distributions.Distribution._validate_args is checked, checked
    for name in [one for one in __import__("sys").modules if one.startswith("zuko")]:
        del __import__("sys").modules[name]
"""


def test_a_flow_leaves_the_check_of_distributions_as_it_was():
    subprocess.run([sys.executable, "-c", CODE], check=True)


@pytest.mark.parametrize("head", ["flow", "mdn"])
def test_a_checkpoint_takes_no_random_numbers_of_the_training(
    make, fit, utterances, tmp_path, head
):
    alone, kept = (
        fit(make(head=head, context_noise=0.5), utterances(), steps=2, checkpoint=file).state_dict()
        for file in (None, tmp_path / "checkpoint")
    )
    for name, one in alone.items():
        assert torch.equal(one, kept[name]), name
