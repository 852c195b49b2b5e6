"""Names and texts from outside, made harmless for the place they are written to.

An utterance, a folder or a label may be called anything: an escape sequence that steers the
terminal, a formula that a spreadsheet would compute, a command of LaTeX. Each edge where text
leaves latentbench for a person's eyes goes through one of these.
"""

from __future__ import annotations

import csv
import io
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["as_utf8", "csv_text", "escaped", "for_csv", "for_latex", "for_markdown", "printable"]

SUSPECT = re.compile(r"[^ -~]")
FORMULA = "=+-@\t\r＝＋－＠"  # noqa: RUF001 - spreadsheets take these for = + - @
MARKDOWN = re.compile(r"[\\`*\[<|]")
NUMBER = re.compile(r"(-?)(\d+(?:\.\d+)?)(?:e([+-]\d+))?|(-?)inf")
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "Δ": r"$\Delta$",
    "²": r"$^2$",
    "±": r"$\pm$",
}


def printable(text: str, keep: str = "") -> str:
    r"""The text with what cannot be printed written out as `\u001b`.

    That is every control, format, surrogate, private and unassigned character, and every space
    but the plain one, as by `str.isprintable`. JSON stays the JSON it was, if `keep` is a newline.

    Args:
        text: any text, a file name that is no UTF-8 included.
        keep: characters to leave as they are.
    """

    def shown(found: re.Match[str]) -> str:
        one = found[0]
        if one.isprintable() or one in keep:
            return one
        return escaped(one)

    return SUSPECT.sub(shown, text)


def as_utf8(name: str) -> str:
    r"""A name that UTF-8 can hold, as files of results need: what it cannot is written out.

    That is a byte of a file's name that is no UTF-8, as `\xe9`, and a lone surrogate, which JSON
    may hold, as `\ud800`.
    """
    try:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return name.encode("utf-8", "backslashreplace").decode("utf-8")


def escaped(one: str) -> str:
    r"""A character as `\u001b`, which is what JSON calls it too."""
    units = one.encode("utf-16-be", "surrogatepass").hex()
    return "".join(rf"\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def for_markdown(text: str) -> str:
    """The text as one piece of a line of Markdown: no cell, link, code or HTML of its own."""
    return MARKDOWN.sub(r"\\\g<0>", printable(text))


def for_latex(text: str) -> str:
    """The text as one cell of a tabular; a number with a sign or an exponent in math."""
    number = NUMBER.fullmatch(text)
    if number is None:
        return "".join(LATEX.get(one, one) for one in printable(text))
    sign, mantissa, exponent, infinite = number.groups()
    if infinite is not None:
        return rf"${infinite}\infty$"
    if exponent is not None:
        return rf"${sign}{mantissa}\cdot10^{{{int(exponent)}}}$"
    return f"${text}$" if sign else text


def for_csv(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula (an apostrophe goes before it)."""
    return f"'{printable(text)}" if text.startswith(tuple(FORMULA)) else printable(text)


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """The text of a CSV file: numbers in full, blank for None, and no text a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(map(_csv_cell, row) for row in rows)
    return text.getvalue()


def _csv_cell(value: object) -> object:
    if isinstance(value, str) and NUMBER.fullmatch(value) is None:
        return for_csv(value)
    return value
