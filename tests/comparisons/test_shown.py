"""The tables and exports hold every number, whole, and what it must be read with."""

import csv
import io
import json
import math
import re

import pytest
from rich.console import Console

from latentbench.comparisons import compare_runs
from latentbench.comparisons.comparison import Failure
from latentbench.encoders import WHOLE_UTTERANCE
from latentbench.reports.comparison import comparison_page, comparison_report
from latentbench.reports.spreadsheet import comparison_csv
from latentbench.reports.tables import show, to_latex, to_markdown
from latentbench.results.schema import EncoderFacts, Figure


def shown(comparison, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    show(comparison_report(comparison, full=True), console)
    return console.file.getvalue()


def exported(name, comparison):
    page = comparison_page(comparison)
    return {
        "csv": lambda: comparison_csv(comparison),
        "json": comparison.to_json,
        "markdown": lambda: to_markdown(page),
        "latex": lambda: to_latex(page),
    }[name]()


def flowing(text):
    return " ".join(text.split())


@pytest.fixture
def looking_ahead(make_run, make_result):
    """Two runs, one leaky at k = 1 and 2 and stamped."""
    result = make_result()
    horizons = tuple(one.model_copy(update={"leaky": one.k <= 2}) for one in result.horizons)
    facts = EncoderFacts(
        name="dac", dim=512, frame_rate=12.5, hop=1920, sample_rate=24_000, look_ahead=2
    )
    leaky = make_run(
        "dac_24k", encoder=facts, horizons=horizons, stamps=("random weights", "leaky: k=1, k=2")
    )
    return compare_runs([make_run("mimi"), leaky])


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_tables_fit_and_no_number_is_cut(looking_ahead, width):
    text = shown(looking_ahead, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for number in ("-185.44", "-131.07", "-84.85", "-66.79", "0.6114", "-56.2588", "5.7e+10"):
        assert text.count(number) >= 2, number


def test_the_runs_of_a_horizon_stand_together(looking_ahead):
    lines = shown(looking_ahead, 200).splitlines()
    first = next(i for i, line in enumerate(lines) if re.match(r"80 ms +mimi +1 ", line))
    assert re.match(r" +dac_24k +1 +leaky +200000 +-185.44 ", lines[first + 1])


def test_leaky_rows_and_stamps_are_told(looking_ahead):
    text = shown(looking_ahead)
    assert "dac_24k: [random weights] [leaky: k=1, k=2]" in text
    assert "dac_24k, k=1,2: leaky, within the encoder's look-ahead of 2 frames" in flowing(text)
    rows = [line for line in text.splitlines() if " leaky " in line and "dac_24k" in line[:20]]
    assert len(rows) >= 2


def test_an_encoder_that_sees_all_is_said_to_in_words(make_run, make_result):
    facts = EncoderFacts(
        name="hf", dim=512, frame_rate=50, hop=320, sample_rate=16_000, look_ahead=WHOLE_UTTERANCE
    )
    horizons = tuple(one.model_copy(update={"leaky": True}) for one in make_result().horizons)
    runs = [make_run("mimi"), make_run("hf", encoder=facts, horizons=horizons)]
    text = flowing(shown(compare_runs(runs)))
    assert "hf, k=1,2,4,8: leaky, within the encoder's look-ahead of the whole utterance" in text
    assert str(WHOLE_UTTERANCE) not in text


@pytest.mark.parametrize("width", [80, 120])
def test_long_names_of_runs_leave_the_numbers_whole(make_run, width):
    facts = EncoderFacts(
        name="dac", dim=1024, frame_rate=75, hop=320, sample_rate=24_000, look_ahead=8
    )
    label = "a-very-long-name-of-a-run-folder-mdn-librispeech"
    text = shown(compare_runs([make_run(label, encoder=facts), make_run("b")]), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("13,650,952") >= 2
    assert text.count(label[:28]) >= 4
    assert text.count("-185.44") == 2


def test_no_leaky_column_where_nothing_leaks(make_run):
    assert "leaky" not in shown(compare_runs([make_run("a"), make_run("b")]))


def test_the_time_of_rounded_frames_is_shown(make_run, make_result):
    result = make_result()
    task = result.config["task"] | {"horizons_ms": [75.0, 160.0, 320.0, 640.0]}
    result = result.model_copy(update={"config": result.config | {"task": task}})
    text = shown(compare_runs([make_run("a", result=result), make_run("b", result=result)]))
    assert re.search(r"^75 ms +a +1 +80 ms ", text, re.MULTILINE)


def test_missing_failed_and_blank_rows_say_why(make_run, make_result):
    result = make_result()
    failed = result.horizons[0].model_copy(
        update={
            "status": "failed", "errors": ("diverged",), "seeds": (), "figures": (),
            "rollout": None,
        }
    )  # fmt: skip
    less = result.model_copy(update={"horizons": (failed, *result.horizons[1:3])})
    comparison = compare_runs(
        [make_run("a"), make_run("b", result=less)],
        failures=[Failure(label="c", error="no weights")],
    )
    text = flowing(shown(comparison))
    assert "b 1 failed - - -" in text
    assert "b, 80 ms failed: diverged" in text
    assert "640 ms: not a horizon of b" in text
    assert "c is missing: no weights" in text
    assert "a, 80 ms: rollout: no eval utterance is long enough" in text
    rows = list(csv.DictReader(io.StringIO(exported("csv", comparison))))
    assert [(row["run"], row["status"], row["dnll"]) for row in rows if row["n"] == "0"] == [
        ("b", "failed", "")
    ]


def test_a_metric_of_a_plugin_is_a_column(make_run, make_result):
    result = make_result()
    mine = Figure(split="eval", slice="all", name="my_score", value=0.125, n=9, better="higher")
    horizons = tuple(
        one.model_copy(update={"figures": (*one.figures, mine)}) for one in result.horizons
    )
    comparison = compare_runs([make_run("a", horizons=horizons), make_run("b")])
    assert "my_score" in shown(comparison)
    assert "my_score" in exported("markdown", comparison)
    assert '"my_score"' in exported("json", comparison)


def test_an_interval_stands_beside_the_headline(make_run, make_result):
    result = make_result()
    figures = tuple(
        one.model_copy(update={"low": -190.0, "high": -180.125})
        if (one.name, one.split) == ("dnll", "eval")
        else one
        for one in result.horizons[0].figures
    )
    first = result.horizons[0].model_copy(update={"figures": figures})
    comparison = compare_runs([make_run("a", horizons=(first, *result.horizons[1:]))])
    assert re.search(r"-185.44 +-190.00 to -180.12 ", shown(comparison, 120))
    rows = list(csv.DictReader(io.StringIO(exported("csv", comparison))))
    bounds = {(row["k"], row["dnll_low"], row["dnll_high"]) for row in rows}
    assert ("1", "-190.0", "-180.125") in bounds
    assert ("2", "", "") in bounds
    assert "95 %" not in shown(compare_runs([make_run("b")]))


def test_what_can_be_done_about_a_difference_is_said(make_run, make_result):
    result = make_result()
    task = result.config["task"] | {"step_frames": 2}
    uncut = tuple(one.model_copy(update={"scored": one.frames}) for one in result.horizons)
    other = make_run("b", config=result.config | {"task": task}, horizons=uncut)
    text = flowing(shown(compare_runs([make_run("a"), other])))
    assert "not over the same time in all runs; task.step_ms=80" in text
    assert "Not the same audio was scored in all runs; evaluation.max_frames" in text
    assert "task.step_ms=80" not in shown(compare_runs([make_run("a"), make_run("b")]))


def test_the_floor_of_white_latents_stands_beside_the_headline(make_run, make_result):
    result = make_result()
    floored = result.horizons[0].model_copy(update={"iid_floor": -177.4})
    runs = [make_run("a", horizons=(floored, *result.horizons[1:])), make_run("b")]
    assert "-177.40" in shown(compare_runs(runs))
    assert "iid floor" not in shown(compare_runs([make_run("b")]))


def test_csv_holds_every_figure_unrounded(looking_ahead):
    rows = list(csv.DictReader(io.StringIO(exported("csv", looking_ahead))))
    assert len(rows) == 2 * 4 * 2  # runs, horizons, splits
    by_place = {(row["run"], int(row["k"]), row["split"]): row for row in rows}
    for one in looking_ahead.horizons:
        for figure in one.result.figures:
            row = by_place[one.run, one.result.k, figure.split]
            assert float(row[figure.name]) == figure.value
            assert int(row["n"]) == figure.n
    assert by_place["mimi", 4, "eval"]["rollout_mean_gap"] == "inf"
    assert by_place["mimi", 1, "eval"]["rollout_mean_gap"] == ""
    assert by_place["mimi", 1, "train"]["rollout_n"] == ""
    assert by_place["dac_24k", 2, "eval"]["leaky"] == "True"
    assert by_place["mimi", 1, "eval"]["context_milliseconds"] == "640.0"


def test_json_is_plain_json(looking_ahead):
    found = json.loads(exported("json", looking_ahead), parse_constant=pytest.fail)
    assert [run["label"] for run in found["runs"]] == ["mimi", "dac_24k"]
    gaps = [one["result"]["rollout"]["mean_gap"] for one in found["horizons"]]
    assert gaps.count("Infinity") == 2


def test_markdown_is_one_table_of_equal_rows(looking_ahead):
    lines = exported("markdown", looking_ahead).splitlines()
    table = [line for line in lines[: lines.index("Against mimi:")] if line.startswith("|")]
    assert len(table) == 2 + 8
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert {len(row) for row in cells} == {len(cells[0])}
    at = {name: column for column, name in enumerate(cells[0])}
    first = cells[2]
    assert (first[at["run"]], first[at["ΔNLL"]]) == ("mimi", "-185.44")
    assert (first[at["parameters"]], first[at["steps"]]) == ("13,650,952", "25,000")
    assert first[at["context (frames)"]] == "8"
    assert set(cells[1]) == {"---", "---:"}
    assert r"- dac_24k: \[random weights] \[leaky: k=1, k=2]" in lines


def test_a_pipe_in_a_label_stays_in_its_cell(make_run):
    text = exported("markdown", compare_runs([make_run("a|b"), make_run("c")]))
    assert r"| a\|b |" in text


def test_latex_is_escaped_and_uses_booktabs(make_run):
    text = exported("latex", compare_runs([make_run("a_b & 50%"), make_run(r"{c}^#~$\d")]))
    body = text[text.index(r"\begin{tabular}") : text.rindex("% Against a_b")]
    assert r"a\_b \& 50\%" in body
    assert r"\{c\}\textasciicircum{}\#\textasciitilde{}\$\textbackslash{}d" in body
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    columns = len(re.search(r"\{(l[lr]+)\}", body)[1])
    assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {columns}
    assert len(rows) == 1 + 8
    assert body.count(r"\midrule") == 4
    for rule in (r"\toprule", r"\bottomrule", r"\end{tabular}"):
        assert body.count(rule) == 1
    assert "$-185.44$" in body
    assert r"$\infty$" in body
    assert r"$5.7\cdot10^{10}$" in body
    assert r"$\Delta$NLL" in body
    assert text.isascii()
    comments = text[: text.index(r"\begin{tabular}")].splitlines()
    assert all(line.startswith("%") for line in comments)


def test_an_undefined_figure_is_written_out(make_run, make_result):
    result = make_result()
    figures = tuple(
        one.model_copy(update={"value": math.nan}) for one in result.horizons[0].figures
    )
    horizon = result.horizons[0].model_copy(update={"figures": figures})
    comparison = compare_runs([make_run("a", horizons=(horizon,)), make_run("b")])
    for name in ("csv", "json", "markdown", "latex"):
        assert "nan" in exported(name, comparison).lower(), name
