"""What a table holds is whole in every format: on narrow terminals, in Markdown and in LaTeX."""

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from latentbench.errors import UsageError
from latentbench.reports.tables import (
    LABEL,
    Column,
    Interval,
    Line,
    Page,
    Table,
    show,
    to_latex,
    to_markdown,
)


def shown(*parts, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    show(parts, console)
    return console.file.getvalue()


def table(cells=("1.00", "2.00"), **facts):
    names = Column("run", ("a_b", "c"), left=True, fold=LABEL)
    columns = (Column("ΔNLL", cells, name="dnll", unit="nats/frame"),)
    return Table((names,), (columns, (Column("n", ("10", "20")),)), **facts)


@settings(deadline=None)  # the first table of a process imports what draws it
@given(
    st.lists(st.lists(st.text("0123456789", min_size=1, max_size=30), min_size=1), min_size=1),
    st.integers(80, 130),
)
def test_no_number_is_cut_and_no_line_is_too_long(groups, width):
    """However many columns there are and however wide, each is shown once, in order."""
    made = tuple(tuple(Column("x", (cell,)) for cell in group) for group in groups)
    text = shown(Table((Column("run", ("a",)),), made), width=width)
    assert max(map(cell_len, text.splitlines())) <= width
    rows = [line.split() for line in text.splitlines() if line.strip().startswith("a")]
    assert all(row[0] == "a" for row in rows)
    assert [cell for row in rows for cell in row[1:]] == [
        cell for group in groups for cell in group
    ]


def test_a_group_stands_together_where_there_is_room():
    wide = tuple(Column(f"c{i}", ("1" * 20,)) for i in range(3))
    text = shown(Table((Column("k", ("1",)),), (wide[:2], wide[1:])), width=80)
    assert [line.split() for line in text.splitlines() if "c" in line] == [
        ["k", "c0", "c1"],
        ["k", "c1", "c2"],
    ]


@pytest.mark.parametrize(("columns", "width", "apart"), [(3, 80, 2), (9, 80, 1), (9, 120, 2)])
def test_columns_stand_close_only_where_that_saves_a_table(columns, width, apart):
    made = tuple(Column("1234567", ("1234567",)) for _ in range(columns))
    text = shown(Table((Column("k", ("1",)),), (made,)), width=width)
    assert text.splitlines()[0].startswith(f"k{' ' * apart}1234567")


def test_long_names_are_folded_and_said_once():
    name = "x" * 40
    keys = (
        Column("staleness", ("80 ms", "80 ms", "160 ms"), left=True, once=True),
        Column("run", (name, "b", "b"), left=True, fold=LABEL),
    )
    text = shown(Table(keys, ((Column("n", ("1", "2", "3")),),), ruled=True))
    lines = [line.rstrip() for line in text.splitlines()[2:]]
    assert [line.split() for line in lines] == [
        ["80", "ms", "x" * LABEL, "1"], ["x" * 12], ["b", "2"], [], ["160", "ms", "b", "3"],
    ]  # fmt: skip


def test_a_row_without_a_word_is_left_out():
    assert "a_b" not in shown(table(cells=("", "2.00")).__class__(
        table().keys, ((Column("x", ("", "2.00")),),)
    ))  # fmt: skip


def test_a_line_is_text_and_no_markup():
    assert shown(Line("[bold] :smile: 12", "bold", ((" [x]", "yellow"),))) == (
        "[bold] :smile: 12 [x]\n"
    )


def page(*tables):
    return Page("two runs", tables or (table(),), {"Remarks": ["a | b"]})


def test_columns_are_chosen_by_name_in_the_order_given():
    chosen = page().select(["n", "dnll"])
    assert [one.heading for one in chosen.tables[0].columns] == ["run", "n", "ΔNLL"]
    verdicts = Table((Column("run", ("c",)),), ((Column("verdict", ("withheld",)),),))
    assert len(page(table(), verdicts).select(["n"]).tables) == 1
    with pytest.raises(UsageError, match="no column 'dnl'") as told:
        page().select(["dnl"])
    assert told.value.hint == "Did you mean 'dnll'?"


def test_markdown_holds_units_and_notes():
    assert to_markdown(page()).splitlines() == [
        "two runs",
        "",
        "| run | ΔNLL (nats/frame) | n |",
        "| --- | ---: | ---: |",
        "| a_b | 1.00 | 10 |",
        "| c | 2.00 | 20 |",
        "",
        "Remarks:",
        "",
        r"- a \| b",
    ]


def test_latex_typesets_intervals_and_numbers():
    text = to_latex(page(table(cells=(Interval("-1.50", "2.0e+10"), Interval("-inf", "0.25")))))
    assert r"$[-1.50,\,2.0\cdot10^{10}]$" in text
    assert r"$[-\infty,\,0.25]$" in text
    assert r"a\_b & " in text
    assert r"\begin{tabular}{lrr}" in text
    assert "table" not in re.findall(r"\\begin\{(\w+)\}", text)


def test_what_a_table_heads_is_plain_latex():
    names = (Column("run", ("a", "c")),)
    headings = (Column("seeds ±", ("1", "2")), Column("ΔNLL", ("1", "2")), Column("R²", ("1", "2")))
    assert to_latex(page(Table(names, (headings,)))).isascii()


def test_a_caption_and_a_label_make_tables():
    text = to_latex(page(table(), table(title="Against a_b")), r"Gain of $x$", "tab:gain")
    ours = (r"\begin", r"\caption", r"\label", r"\end")
    assert [line for line in text.splitlines() if line.startswith(ours)] == [
        r"\begin{table}", r"\caption{Gain of $x$}", r"\label{tab:gain}", r"\begin{tabular}{lrr}",
        r"\end{tabular}", r"\end{table}",
        r"\begin{table}", r"\caption{Gain of $x$ (Against a\_b)}", r"\label{tab:gain-2}",
        r"\begin{tabular}{lrr}",
        r"\end{tabular}", r"\end{table}",
    ]  # fmt: skip
