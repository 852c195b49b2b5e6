"""The command line, in this process."""

import pytest
from click.testing import CliRunner

from latentbench.cli import main


@pytest.fixture
def invoke():
    """Run a command; the result has exit_code, stdout and stderr."""

    def run(*arguments, **kwargs):
        return CliRunner().invoke(main, [str(one) for one in arguments], **kwargs)

    return run
