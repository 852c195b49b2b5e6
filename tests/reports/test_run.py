"""The tables show every number whole, at 80 and at 120 columns, and what it must be read with."""

import io
import json
import math

import pytest
from rich.console import Console

from latentbench.encoders import WHOLE_UTTERANCE
from latentbench.plugins import load_registry
from latentbench.predictors.learning_curve import Convergence
from latentbench.reports.columns import compact, time_text
from latentbench.reports.run import run_page
from latentbench.reports.tables import to_markdown
from latentbench.results.horizons import horizons_csv
from latentbench.results.schema import Figure


@pytest.fixture
def shown():
    """The text a reporter writes to a console of a given width, tables in full."""

    def show(result, width=80, reporter="table", **options):
        component = load_registry().get("reporter", reporter)
        console = Console(file=io.StringIO(), width=width, color_system=None)
        options = {"full": True} | options if reporter == "table" else options
        component.create(component.spec.options(**options)).report(result, console)
        return console.file.getvalue()

    return show


def with_horizon(result, index, **changes):
    horizons = list(result.horizons)
    horizons[index] = horizons[index].model_copy(update=changes)
    return result.model_copy(update={"horizons": tuple(horizons)})


PUBLISHED_EVAL = [
    "1075.45 1260.89 -185.44 0.6114 -0.5949",
    "1129.82 1260.89 -131.07 0.3924 -4.8140",
    "1176.04 1260.89 -84.85 0.1068 -33.8358",
    "1191.87 1258.67 -66.79 0.0384 -56.2588",
]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_every_published_number_is_whole(make_result, shown, width):
    text = shown(make_result(), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    rows = [" ".join(line.split()) for line in text.splitlines()]
    for k, numbers in zip((1, 2, 4, 8), PUBLISHED_EVAL, strict=True):
        assert any(row.startswith(f"{k} {80 * k} eval 200000 {numbers}") for row in rows)
    assert any(row.startswith("2 160 train 200000 13117.18 1260.34 11856.85") for row in rows)


def test_train_stands_below_eval(make_result, shown):
    lines = [line.split()[:3] for line in shown(make_result()).splitlines()]
    assert lines[lines.index(["1", "80", "eval"]) + 1] == ["1", "80", "train"]


def test_120_columns_hold_the_rollout_in_the_same_table(make_result, shown):
    row = next(
        line for line in shown(make_result(), 120).splitlines() if line[:11] == "8  640  eva"
    )
    assert row.split()[-4:] == ["2345", "5.7e+10", "412.50", "0"]


def test_80_columns_show_the_rollout_in_a_table_of_its_own(make_result, shown):
    lines = [" ".join(line.split()) for line in shown(make_result(), 80).splitlines()]
    assert "4 320 eval 2345 inf 412.50 1" in lines
    assert "1 80 eval 0 - - 0" in lines


def test_many_metrics_of_plugins_are_spread_over_tables(make_result, shown):
    result = make_result()
    more = [
        Figure(split="eval", slice="all", name=f"a_metric_{i}", value=i, n=5, better="higher")
        for i in range(12)
    ]
    figures = (*result.horizons[0].figures, *more)
    text = shown(with_horizon(result, 0, figures=figures))
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"a_metric_{i}" in text and f"{i}.0000" in text for i in range(12))


def test_stamps_stand_in_the_title(make_result, shown):
    text = shown(make_result(stamps=("random weights", "limited to 40 utterances")), 120)
    assert "[random weights] [limited to 40 utterances]" in text.splitlines()[0]


def with_x_gain(result, value):
    first = result.horizons[0].figures[0]
    gain = first.model_copy(update={"split": "eval", "name": "x_gain", "value": value})
    return with_horizon(result, 0, figures=(*result.horizons[0].figures, gain))


def test_k_1_is_put_to_scale_as_published(make_result, shown):
    text = shown(make_result(), 160)
    assert (
        "k=1, eval: ΔNLL -185.44 nats/frame = -0.362 nats/dim = -0.523 bits/dim = -267.5 bits/frame"
        in text
    )
    assert "kbps" not in text


@pytest.mark.parametrize(("sign", "word"), [(-1, "saved"), (1, "lost")])
def test_the_rate_is_that_of_the_x_gain(make_result, shown, sign, word):
    """A bit per dimension, 512 dimensions, 12.5 times a second."""
    text = shown(with_x_gain(make_result(), sign * 512 * math.log(2)), 160)
    (line,) = (line for line in text.splitlines() if "kbps" in line)
    assert line.startswith(f"k=1, eval: x gain {sign * 354.89:.2f} nats/frame")
    assert line.strip().endswith(
        f"= {sign * 512:.1f} bits/frame = 6.40 kbps at 12.5 Hz {word} against the baseline"
    )


def test_without_k_1_there_is_no_rate(make_result, shown):
    result = make_result()
    assert "kbps" not in shown(result.model_copy(update={"horizons": result.horizons[1:]}))


def test_a_failed_horizon_is_shown_with_its_error(make_result, shown):
    result = with_horizon(
        make_result(), 2, status="failed", errors=("diverged at step 9",), seeds=(), figures=()
    )
    text = shown(result)
    assert "k=4 failed: diverged at step 9" in text
    assert any(line.split()[:4] == ["4", "320", "eval", "failed"] for line in text.splitlines())


def test_a_run_where_all_failed_is_shown(make_result, shown):
    result = make_result()
    for index in range(4):
        result = with_horizon(
            result, index, status="failed", errors=("no",), seeds=(), figures=(), rollout=None
        )
    assert shown(result).count("failed: no") == 4


def test_blanks_and_leaks_are_explained_once_for_all_horizons(make_result, shown):
    result = with_horizon(make_result(), 0, leaky=True)
    text = shown(result, 120)
    assert "k=1,2: rollout: no eval utterance is long enough" in text
    assert "k=1: leaky, within the encoder's look-ahead" in text


def test_the_leak_of_an_encoder_that_sees_all_is_said_in_words(make_result, shown):
    result = with_horizon(make_result(), 0, leaky=True)
    encoder = result.encoder.model_copy(update={"look_ahead": WHOLE_UTTERANCE})
    text = shown(result.model_copy(update={"encoder": encoder}), 120)
    assert "k=1: leaky, within the encoder's look-ahead of the whole utterance" in text


def test_skipped_utterances_are_counted_and_the_first_named(make_result, shown, skipped):
    result = make_result()
    corpus = result.corpus.model_copy(update={"skipped": skipped})
    text = shown(result.model_copy(update={"corpus": corpus}), 120)
    assert "5 utterances skipped: utt-0 (no samples), utt-1 (no samples)" in text
    assert "and 2 more, named in result.json" in text


def test_slices_have_tables_of_their_own(make_result, shown):
    text = shown(make_result(slices=("all", "high_energy")))
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert sum(row.startswith("1 80 eval 200000 1075.45") for row in rows) == 2
    assert "Slice high_energy" in text


def test_json_is_result_json_at_any_width(make_result, shown):
    result = make_result()
    assert json.loads(shown(result, 20, "json")) == json.loads(result.to_json())


def test_csv_is_horizons_csv_at_any_width(make_result, shown):
    result = make_result()
    assert shown(result, 20, "csv") == horizons_csv(result)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-185.44, "-185.44"),
        (13117.18, "13117.18"),
        (-13117.18, "-1.3e+04"),
        (1.2e9, "1.2e+09"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_huge_numbers_are_compact(value, text):
    assert compact(value, 2) == text


@pytest.mark.parametrize(("value", "text"), [(80.0, "80"), (1000 / 75, "13.3"), (640.0, "640")])
def test_milliseconds_without_needless_decimals(value, text):
    assert time_text(value) == text


def test_uncertainty_stands_beside_the_figures_that_have_one(make_result, shown):
    result = make_result()
    first = result.horizons[0]
    figures = tuple(
        one.model_copy(update={"low": -190.5, "high": -180.25, "seed_error": 1.25})
        if one.name == "dnll"
        else one
        for one in first.figures
    )
    known = first.model_copy(update={"figures": figures})
    text = shown(result.model_copy(update={"horizons": (known, *result.horizons[1:])}), 120)
    assert "95 % interval" in text
    assert "-190.50 to -180.25" in text
    assert "seeds ±" in text


@pytest.mark.parametrize("width", [80, 120])
def test_in_short_there_are_words_and_one_table_of_eval(make_result, shown, width):
    text = shown(make_result(slices=("all", "high_energy")), width, full=False)
    lines = text.splitlines()
    assert "What this says" in lines
    rows = [line.split() for line in lines if line.split()[:1] and line.split()[0].isdigit()]
    assert [row[:3] for row in rows] == [
        [k, ms, "200000"] for k, ms in (("1", "80"), ("2", "160"), ("4", "320"), ("8", "640"))
    ]
    assert [row[4] for row in rows] == ["-185.44", "-131.07", "-84.85", "-66.79"]
    assert "train" not in text[text.index("Eval, all frames") :].split("--full")[0]
    assert max(map(len, lines)) <= width
    assert "--full shows train" in text


def test_the_steps_are_those_that_were_taken(make_result, shown):
    took = [Convergence(steps=one, best_step=one, converged=True) for one in (750, 3_000)]
    first, *others = make_result().horizons
    fitted = {"predictor": (took[0],), "unconditional": (took[1],)}
    first = first.model_copy(update={"convergence": fitted})
    text = shown(make_result(horizons=(first, *others)), full=False)
    assert "750 to 3,000 steps of 256 frames" in text


def test_a_horizon_that_was_not_fitted_has_no_number_in_short(make_result, shown):
    cut = Convergence(steps=9, best_step=9, converged=False)
    first, *others = make_result().horizons
    unfit = first.model_copy(update={"convergence": {"predictor": (cut,)}})
    text = shown(make_result(horizons=(unfit, *others)), full=False)
    (row,) = (line for line in text.splitlines() if line.split()[:2] == ["1", "80"])
    assert "not fitted" in row
    assert "185.44" not in row
    assert "Not fitted at 80 ms" in text


def test_the_interval_of_the_gain_can_be_exported(make_result):
    gain = Figure(
        split="eval", slice="all", name="gain", value=1.5, low=1.25, high=1.75, n=9, better="higher"
    )
    horizon = make_result().horizons[0].model_copy(update={"figures": (gain,)})
    page = run_page(make_result(horizons=(horizon,))).select(["gain", "gain_interval"])
    assert "| eval | 1.50 | 1.25 to 1.75 |" in to_markdown(page)
