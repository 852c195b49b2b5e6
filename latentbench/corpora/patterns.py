"""Path patterns: `*` and `?` within a name, `**` across folders, `{name}` for what is wanted.

Patterns are matched against whole paths with forward slashes, relative to a root, and tell
upper case from lower on every system.
"""

from __future__ import annotations

import re

from latentbench.errors import UsageError

__all__ = ["PathPattern"]

TOKENS = re.compile(r"\*\*/|\*\*|\*|\?|\{[^{}/]*\}|[^*?{}]+|[{}]")


class PathPattern:
    """A compiled pattern.

    - `*` is any run of characters within a name, `?` is one character;
    - `**/` is any number of folders, none included; `**` at the end is anything below;
    - `{speaker}` is one or more characters of a name, as few as fit; a name that comes twice
      must be the same text.

    Args:
        text: the pattern.
        option: what the user calls it, for errors.

    Raises:
        UsageError: the text is no pattern.
    """

    def __init__(self, text: str, option: str) -> None:
        self.text = text
        self.names: list[str] = []
        end = 0
        pieces = []
        for token in TOKENS.finditer(text):
            pieces.append(self._piece(token, option))
            end = token.end()
        if not text or end != len(text):
            raise UsageError(f"{option}={text!r} is no path pattern.", "Write e.g. {speaker}/*.wav")
        self._regex = re.compile("".join(pieces), re.DOTALL)

    def match(self, path: str) -> dict[str, str] | None:
        """The named parts of `path`, or None where it does not fit."""
        found = self._regex.fullmatch(path)
        return None if found is None else found.groupdict()

    def _piece(self, token: re.Match[str], option: str) -> str:
        text = token.group()
        if text.startswith("**"):
            opens = token.start() == 0 or self.text[token.start() - 1] == "/"
            closes = text.endswith("/") or token.end() == len(self.text)
            if not (opens and closes):
                raise UsageError(
                    f"{option}={self.text!r}: '**' stands for whole folders.",
                    "Put it between slashes, or use '*' within a name.",
                )
            return "(?:[^/]+/)*" if text == "**/" else ".+"
        if text == "*":
            return "[^/]*"
        if text == "?":
            return "[^/]"
        if text[0] in "{}":
            return self._named(text, option)
        return re.escape(text)

    def _named(self, text: str, option: str) -> str:
        name = text[1:-1]
        if not name.isidentifier():
            raise UsageError(
                f"{option}={self.text!r}: '{text}' is no name in braces.",
                "Write e.g. {speaker}/*.wav",
            )
        if name in self.names:
            return f"(?P={name})"
        self.names.append(name)
        return f"(?P<{name}>[^/]+?)"
