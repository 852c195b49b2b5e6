"""Worlds as users list them."""

import subprocess
import sys

from latentbench.specs import option_fields
from latentbench.worlds.plugin import (
    latentbench_corpora,
    latentbench_encoders,
    latentbench_predictors,
)


def test_every_option_has_help_and_a_default():
    specs = [*latentbench_corpora(), *latentbench_encoders(), *latentbench_predictors()]
    assert len(specs) == 11
    for spec in specs:
        for option in option_fields(spec.options):
            assert option.help, f"{spec.name}.{option.name}"
            assert not option.required


def test_listing_worlds_imports_nothing_heavy():
    code = (
        "import sys, latentbench.worlds.plugin\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
