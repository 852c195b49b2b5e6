"""Which frames are given back, against the words that say so."""

import numpy as np
import pytest

from latentbench.errors import UsageError
from latentbench.rollout.engine import Injection


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("never", []),
        ("once:3", [3]),
        ("once:11", []),
        ("every:4", [4, 8]),
        ("every:1", list(range(1, 11))),
        ("teacher", list(range(1, 11))),
    ],
)
def test_the_steps_whose_frames_are_true(text, steps):
    inject = Injection.parse(text)
    assert (np.flatnonzero(inject.at_steps(10)) + 1).tolist() == steps
    assert str(inject) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("allways", r"'allways' is no way to inject true frames"),
        ("evry:4", r"'evry:4' is no way .*\nDid you mean 'every:N'\?"),
        ("every", r"'every' does not say after how many steps.\nWrite 'every:N'"),
        ("once:0", r"'once:0' does not say after how many steps"),
        ("once:-2", r"'once:-2' does not say after how many steps"),
        ("teacher:3", r"'teacher:3' counts nothing.\nWrite 'teacher'"),
    ],
)
def test_words_that_say_nothing_are_refused(text, told):
    with pytest.raises(UsageError, match=told):
        Injection.parse(text)


def test_each_is_every():
    assert Injection.parse("each:8") == Injection.parse("every:8")
