"""Names from outside do no harm where they are written: on a terminal, in CSV, Markdown, LaTeX."""

import ast
import csv
import io
import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import latentbench
from latentbench.escapes import for_csv, for_latex, for_markdown, printable

# Any code point, lone surrogates (names that are no UTF-8) and all that steers a terminal.
NAMES = st.text(st.one_of(st.characters(), st.sampled_from("\x1b\x07\r\n\x9b\u202e\udc80|\\{}=")))


@given(NAMES)
def test_nothing_that_steers_a_terminal_is_left(name):
    shown = printable(name)
    assert not [one for one in shown if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    shown.encode("utf-8")
    assert printable(shown) == shown


@given(NAMES.filter(lambda name: "\\" not in name))
def test_the_name_can_be_had_back(name):
    assert json.loads(f'"{printable(name).replace(chr(34), chr(92) + chr(34))}"') == name


@given(NAMES)
def test_json_stays_the_json_it_was(name):
    for ascii_only in (True, False):
        text = json.dumps({name: [name]}, indent=2, ensure_ascii=ascii_only)
        assert json.loads(printable(text, keep="\n")) == {name: [name]}


@given(NAMES)
def test_a_spreadsheet_computes_no_cell(name):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([for_csv(name), 1])
    assert text.getvalue().count("\n") == 1
    ((cell, one),) = csv.reader(io.StringIO(text.getvalue()))
    assert not cell.startswith(tuple("=+-@\t\r＝＋－＠"))  # noqa: RUF001 - full width
    assert one == "1"


@given(NAMES)
def test_markdown_has_as_many_cells_as_it_was_given(name):
    row = f"| {for_markdown(name)} | 1 |"
    assert row.splitlines() == [row]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 3
    unescaped = re.sub(r"\\[\\`*\[<|]", "", for_markdown(name))
    assert not re.search(r"[`*\[<|]", unescaped)


@given(NAMES)
def test_latex_runs_no_command_of_a_name(name):
    cell = for_latex(name)
    assert cell.splitlines() in ([cell], [])
    ours = (
        r"\\(textbackslash|textasciitilde|textasciicircum)\{\}|\\[&%$#_{}]|\$(\\Delta|\^2|\\pm)\$"
    )
    rest = re.sub(ours, "", cell)
    if re.fullmatch(r"-?[0-9.]+(e[+-][0-9]+)?|-?inf", name) is None:
        assert not set(rest) & set("\\&%$#_{}~^")


@pytest.mark.parametrize(
    ("cell", "typeset"),
    [
        ("-185.44", "$-185.44$"),
        ("12", "12"),
        ("5.7e+10", r"$5.7\cdot10^{10}$"),
        ("-1.0e-05", r"$-1.0\cdot10^{-5}$"),
        ("inf", r"$\infty$"),
        ("-inf", r"$-\infty$"),
        ("1_0", r"1\_0"),
        (r"\input{evil}", r"\textbackslash{}input\{evil\}"),
    ],
)
def test_numbers_are_typeset_and_names_are_not(cell, typeset):
    assert for_latex(cell) == typeset


def test_commands_write_through_one_edge():
    """A `print`, an `echo` of click's or a console of rich's own would let escapes through."""
    root = Path(latentbench.__file__).parent
    edges = {root / "cli" / "output.py", root / "conformance" / "reporter.py"}
    for file in set(root.rglob("*.py")) - edges:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"print", "click.echo", "Console"}, f"{file}:{node.lineno}"
