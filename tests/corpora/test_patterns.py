from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.corpora.patterns import PathPattern
from latentbench.errors import UsageError


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("{speaker}/**", "anna/1.wav", {"speaker": "anna"}),
        ("{speaker}/**", "anna/deep/down/1.wav", {"speaker": "anna"}),
        ("{speaker}/**", "1.wav", None),
        ("{speaker}_*.wav", "anna_1_2.wav", {"speaker": "anna"}),
        ("{speaker}_*.wav", "anna.wav", None),
        (
            "{sex}/{speaker}-{session}.*",
            "f/anna-b-3.ogg",
            {"sex": "f", "speaker": "anna", "session": "b-3"},
        ),
        ("**/{speaker}.wav", "anna.wav", {"speaker": "anna"}),
        ("**/{speaker}.wav", "x/y/anna.wav", {"speaker": "anna"}),
        ("{speaker}/{speaker}_*", "anna/anna_1.wav", {"speaker": "anna"}),
        ("{speaker}/{speaker}_*", "anna/otto_1.wav", None),
        ("*/?.wav", "a/b.wav", {}),
        ("*/?.wav", "a/bb.wav", None),
        ("*.WAV", "a.wav", None),
        ("a[1]+(x).wav", "a[1]+(x).wav", {}),
        ("a[1].wav", "a1.wav", None),
        ("**", "a/b/c", {}),
    ],
)
def test_what_fits(pattern, path, found):
    assert PathPattern(pattern, "corpus.glob").match(path) == found


def fits(pattern: list[str], path: list[str]) -> bool:
    """The same rules, folder by folder, without a regular expression."""
    if not pattern:
        return not path
    first, *rest = pattern
    if first == "**":
        if not rest:
            return bool(path)
        return any(fits(rest, path[skipped:]) for skipped in range(len(path) + 1))
    return bool(path) and name_fits(first, path[0]) and fits(rest, path[1:])


def name_fits(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(name_fits(pattern[1:], name[skipped:]) for skipped in range(len(name) + 1))
    return bool(name) and pattern[0] in ("?", name[0]) and name_fits(pattern[1:], name[1:])


NAMES = st.text("ab.", min_size=1, max_size=3)
GLOBS = st.one_of(st.just("**"), st.text("ab.?*", min_size=1, max_size=4)).filter(
    lambda text: text == "**" or "**" not in text
)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(GLOBS, min_size=1, max_size=4), st.lists(NAMES, min_size=1, max_size=4))
def test_agrees_with_matching_folder_by_folder(pattern, path):
    compiled = PathPattern("/".join(pattern), "corpus.glob")
    assert (compiled.match("/".join(path)) is not None) == fits(pattern, path)


@pytest.mark.parametrize(
    "text", ["", "{", "a}b", "{}", "{not ok}", "{a/b}", "a**", "**.wav", "x/**y"]
)
def test_what_is_no_pattern(text):
    with pytest.raises(UsageError, match=r"corpus\.glob=") as error:
        PathPattern(text, "corpus.glob")
    assert error.value.hint
