"""Planted runs: what they differ by is known, and so is what can be said of it."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from scipy import stats

from latentbench.comparisons import Comparison, compare_runs
from latentbench.latents.manifest import ManifestRow
from latentbench.predictors.learning_curve import Convergence
from latentbench.reports.comparison import comparison_page, comparison_report
from latentbench.reports.spreadsheet import comparison_csv
from latentbench.reports.tables import show, to_latex, to_markdown
from latentbench.results.schema import EncoderFacts, Figure

FRAMES = 20  # of each speaker
FIGURES = ("dnll_context", "dnll", "x_gain", "direction_cos", "logmag_r2", "logmag_r2_var")


def columns_of(speakers, shift=0.0):
    """Scores of k = 1; `shift` is added to the NLL of each speaker's frames."""
    rng = np.random.default_rng(5)
    n = FRAMES * len(speakers)
    names = (
        *("nll", "nll_baseline", "nll_unconditional", "nll_x", "nll_x_baseline"),
        *("cosine", "log_norm", "log_norm_mean"),
    )
    columns = {name: rng.normal(size=n) for name in names}
    columns["nll"] += np.repeat(np.broadcast_to(shift, len(speakers)), FRAMES)
    return columns


def table(speakers, columns, seed=42):
    owner = np.repeat(speakers, FRAMES)
    n = len(owner)
    fixed = {
        "split": pa.array(["eval"] * n).dictionary_encode(),
        "horizon": pa.array([1] * n, pa.int16()),
        "seed": pa.array([seed] * n, pa.int32()),
        "utterance": pa.array([f"u-{one}" for one in owner]).dictionary_encode(),
        "speaker": pa.array(owner).dictionary_encode(),
    }
    return pa.table(fixed | columns)


def listed(speakers, *, audio="", train="t"):
    rows = [ManifestRow(f"u-{one}", one, "eval", f"{audio}{one}", 4.0) for one in speakers]
    return [*rows, ManifestRow("u-train", "train", "train", train, 4.0)]


@pytest.fixture
def plant(make_run, make_result):
    """Make a run of one horizon whose scores are known."""

    def make(label, *, shift=0.0, speakers=tuple("abcdefghij"), names=FIGURES, dim=512,
             leaky=False, cut=False, seeds=(42,), tables=None, rows=None, convergence=None,
             **changes):  # fmt: skip
        result = make_result()
        figures = tuple(
            Figure(split="eval", slice="all", name=name, value=0.0, n=9, better="lower")
            for name in names
        )
        horizon = result.horizons[0].model_copy(
            update={
                "figures": figures, "leaky": leaky, "dim": dim, "seeds": seeds,
                "convergence": convergence or {},
                "frames": {"train": 9, "eval": 9}, "scored": {"train": 9, "eval": 8 if cut else 9},
            }
        )  # fmt: skip
        run = make_run(
            label, result=make_result(**({"horizons": (horizon,)} | changes)),
            rows=rows or listed(speakers),
        )  # fmt: skip
        run.folder.mkdir()
        tables = tables or [table(speakers, columns_of(speakers, shift))]
        pq.write_table(pa.concat_tables(tables), run.folder / "frames.parquet")
        return run

    return make


def paired(*runs):
    found = compare_runs(runs).against
    return {(one.run, one.name): one for one in found}


def only(*runs, name="dnll_context"):
    return paired(*runs)[runs[1].label, name]


def encoder(**fingerprint):
    return EncoderFacts(
        name="mimi", dim=512, frame_rate=12.5, hop=1920, sample_rate=24_000,
        fingerprint=fingerprint,
    )  # fmt: skip


def with_task(make_result, **task):
    config = make_result().config
    return config | {"task": config["task"] | task}


def test_a_run_and_its_copy_differ_by_exactly_nothing(plant):
    found = paired(plant("a"), plant("b"))
    # Of the same latents the likelihood too.
    assert [name for _, name in found] == [name for name in FIGURES if name != "dnll"] + ["nll"]
    for one in found.values():
        assert (one.value, one.low, one.high) == (0.0, 0.0, 0.0)
        assert (one.verdict, one.reason) == ("not distinguishable", "")
        assert (one.speakers, one.left_out) == (10, 0)


def test_a_shifted_copy_is_distinguishable_by_its_shift(plant):
    found = paired(plant("a"), plant("b", shift=-0.5))
    one = found["b", "dnll_context"]
    assert [one.value, one.low, one.high] == pytest.approx([-0.5] * 3, abs=1e-12)
    assert (one.verdict, one.unit) == ("distinguishable", "nats/frame")
    assert {found["b", name].verdict for name in FIGURES[2:]} == {"not distinguishable"}


def test_the_first_run_is_subtracted_from_each(plant):
    found = paired(plant("a", shift=1.0), plant("b"), plant("c", shift=3.0))
    assert found["b", "dnll_context"].value == pytest.approx(-1.0)
    assert found["c", "dnll_context"].value == pytest.approx(2.0)
    assert not any(run == "a" for run, _ in found)


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [([1.0, 1.2, 0.9, 1.1], "distinguishable"), ([1.0, -1.2, 0.9, 1.1], "not distinguishable")],
)
def test_the_interval_is_students_over_paired_speakers(plant, shift, verdict):
    """With equal frames per speaker and few speakers it is that of a paired t test."""
    one = only(plant("a", speakers=tuple("abcd")), plant("b", speakers=tuple("abcd"), shift=shift))
    wanted = stats.ttest_1samp(shift, 0.0).confidence_interval(0.95)
    assert (one.low, one.high) == pytest.approx((wanted.low, wanted.high))
    assert one.verdict == verdict


def test_the_seeds_of_a_run_are_averaged(plant):
    speakers = tuple("abcdefghij")
    tables = [table(speakers, columns_of(speakers, by), seed) for seed, by in ((1, 2.0), (2, 4.0))]
    one = only(plant("a"), plant("b", seeds=(1, 2), tables=tables))
    assert one.value == pytest.approx(3.0)
    assert one.verdict == "distinguishable"


def test_runs_without_a_speaker_in_common_are_two_samples_of_speakers(plant):
    sides = {"a": tuple("abcdef"), "b": tuple("wxyz")}
    shift = [3.0, 3.5, 2.5, 3.1]
    one = only(plant("a", speakers=sides["a"]), plant("b", speakers=sides["b"], shift=shift))
    gains = []
    for label, speakers in sides.items():
        columns = columns_of(speakers, shift if label == "b" else 0.0)
        gain = columns["nll"] - columns["nll_unconditional"]
        gains.append(gain.reshape(len(speakers), FRAMES).mean(1))
    welch = stats.ttest_ind(gains[1], gains[0], equal_var=False)
    error = np.hypot(*(stats.sem(gain) for gain in gains))
    reach = stats.t.ppf(0.975, np.floor(welch.df)) * error
    assert one.value == pytest.approx(gains[1].mean() - gains[0].mean())
    assert (one.low, one.high) == pytest.approx((one.value - reach, one.value + reach))
    assert (one.verdict, one.reason) == ("distinguishable", "")
    assert (one.paired, one.speakers) == (False, 10)


def corpus(make_result, name):
    return make_result().corpus.model_copy(update={"identity": {"corpus": name}})


def test_equal_ids_of_two_corpora_are_not_the_same_people(plant, make_result):
    """Two worlds, or two data sets whose speakers are numbered from 1."""
    one = plant("a", corpus=corpus(make_result, "one"))
    shift = [3.0, 3.5, 2.5, 3.1, 2.8, 3.2, 3.3, 2.9, 3.0, 2.7]
    other = plant("b", corpus=corpus(make_result, "other"), shift=shift,
                  rows=listed("abcdefghij", audio="other ", train="other"))  # fmt: skip
    found = only(one, other)
    assert (found.paired, found.speakers, found.left_out) == (False, 20, 0)
    assert (found.verdict, found.reason) == ("distinguishable", "")
    apart = only(one, plant("c", speakers=tuple("klmnopqrst"), shift=shift))
    assert (found.low, found.high) == (apart.low, apart.high)  # what the ids are plays no part


def test_corpora_that_share_audio_share_their_speakers(plant, make_result):
    runs = [plant(name, corpus=corpus(make_result, name)) for name in ("part", "whole")]
    assert only(*runs).paired


def test_the_table_says_which_runs_share_no_speaker(plant):
    runs = plant("a"), plant("b", speakers=("x", "y"), shift=-0.5)
    said = flowing(shown(compare_runs(runs), 100))
    assert "b: no eval speaker in common with a" in said
    assert "paired over" not in said


def test_one_speaker_in_common_has_no_interval(plant):
    one = only(plant("a", speakers=("a",)), plant("b", speakers=("a",), shift=-0.5))
    assert one.value == pytest.approx(-0.5)
    assert (one.verdict, one.low) == ("no interval", None)
    assert one.reason == "one speaker: how speakers differ is unknown"


def test_other_latents_are_compared_per_dimension(plant):
    speakers = tuple("abcdefghij")
    columns = columns_of(speakers)
    gain = float((columns["nll"] - columns["nll_unconditional"]).mean())
    runs = (
        plant("a", dim=512),
        plant("b", dim=64, shift=-3.2, encoder=encoder(weights="others")),
    )
    found = paired(*runs)
    one = found["b", "dnll_context"]
    assert one.value == pytest.approx((gain - 3.2) / 64 - gain / 512)
    assert {found["b", name].unit for name in ("dnll_context", "x_gain")} == {"nats/dim"}
    assert found["b", "direction_cos"].unit == ""
    text = flowing(shown(compare_runs(runs)))
    assert "nats per context" in text
    assert "80 ms b dim " in text
    assert "a nat per frame of one is not comparable" in text
    alike = shown(compare_runs([plant("c"), plant("d")]))
    assert "eval, all frames; nats are per frame" in alike
    assert "not comparable" not in alike


def test_transforms_make_other_latents(plant, make_result):
    config = make_result().config
    whitened = config | {"transforms": [{"name": "pca", "dims": 8}]}
    plain, pca = plant("a"), plant("b", config=whitened)
    assert only(plain, pca).unit == "nats/dim"
    assert only(pca, plant("c", config=whitened)).unit == "nats/frame"
    # They are fitted on train, so other train utterances make others.
    rows = listed("abcdefghij", train="other audio")
    assert only(pca, plant("d", config=whitened, rows=rows)).unit == "nats/dim"
    assert only(plain, plant("e", rows=rows)).unit == "nats/frame"
    assert only(plain, plant("f", rows=rows)).verdict == "not distinguishable"


def test_no_verdict_where_the_rows_are_not_alike(plant, make_result):
    reference = plant("a")
    target_x = with_task(make_result, target="x")
    wanted = {
        "leaky": "leaky leaky: the context has seen the target",
        "audio": "the eval utterances are not the same",
        "target": "the targets are not the same, x and delta",
    }
    others = (
        plant("leaky", leaky=True, shift=-0.5),
        plant("audio", rows=listed("abcdefghij", audio="louder "), shift=-0.5),
        plant("target", config=target_x, shift=-0.5),
    )
    found = paired(reference, *others)
    for label, reason in wanted.items():
        one = found[label, "dnll_context"]
        assert (one.verdict, one.reason) == ("withheld", reason)
        assert one.value == pytest.approx(-0.5)
        assert one.high < 0


def test_models_that_were_still_learning_are_held_against_nothing(plant):
    cut = {"predictor": (Convergence(steps=9, best_step=9, converged=False),)}
    found = only(plant("a"), plant("b", shift=-0.5, convergence=cut))
    assert (found.verdict, found.reason) == ("withheld", "b not fitted")


def test_frames_left_out_of_the_scores_must_be_the_same(plant):
    same, fewer = tuple("abcdefghij"), tuple("abcdefgh")
    rows = listed(same)
    cut = plant("cut", cut=True, tables=[table(fewer, columns_of(fewer))], rows=rows)
    alike = plant("alike", cut=True, tables=[table(fewer, columns_of(fewer))], rows=rows)
    one = only(plant("a", rows=rows), cut)
    assert (one.verdict, one.left_out) == ("withheld", 2)
    assert one.reason == "evaluation.max_frames left different utterances to score"
    assert only(cut, alike).verdict == "not distinguishable"


def test_what_is_missing_is_said(plant, make_run):
    reference = plant("a")
    gone, damaged = plant("gone"), plant("damaged")
    (gone.folder / "frames.parquet").unlink()
    (damaged.folder / "frames.parquet").write_bytes(b"no parquet")
    failed = plant("failed", names=(), seeds=())
    without = plant("without", names=("dnll", "direction_cos"))
    lost = columns_of(tuple("abcdefghij"))
    del lost["cosine"]
    unkept = plant("unkept", tables=[table(tuple("abcdefghij"), lost)])
    found = paired(reference, gone, damaged, failed, without, unkept)
    reasons = {
        ("gone", "dnll_context"): "gone has no frames.parquet any more",
        ("damaged", "dnll_context"): "frames.parquet of damaged cannot be read",
        ("failed", "dnll_context"): "failed failed there",
        ("without", "x_gain"): "without has no such figure",
        ("unkept", "direction_cos"): "unkept kept no scores of it per frame",
    }
    for place, reason in reasons.items():
        one = found[place]
        assert (one.verdict, one.reason, one.value) == ("no interval", reason, None)
    # Without the control, ΔNLL is the headline of that pair alone.
    assert found["without", "dnll"].verdict == "not distinguishable"
    assert ("without", "dnll_context") not in found
    more = compare_runs([reference, make_run("more")]).against
    absent = {one.matched: one.reason for one in more if one.name == "dnll"}
    assert absent["640 ms"] == "a has no such horizon"


def test_a_run_that_only_samples_leaves_the_others_their_headline(plant):
    shared = columns_of(tuple("abcdefghij"))
    sampling = plant(
        "sampling", names=("direction_cos",), tables=[table(tuple("abcdefghij"), shared)]
    )
    found = compare_runs([plant("a"), plant("b"), sampling])
    assert found.headline == "dnll_context"
    told = {one.run: one for one in found.against if one.name == "dnll_context"}
    assert told["b"].verdict == "not distinguishable"
    assert told["sampling"].reason == "sampling has no such figure"
    assert not [one for one in found.against if one.name == "dnll"]


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
def three(plant):
    return compare_runs([plant("a"), plant("better", shift=-0.5), plant("dac", leaky=True)])


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_verdicts_below_the_figures(three, width):
    text = shown(three, width)
    assert max(map(len, text.splitlines())) <= width
    table = text[text.index("Against a, eval") : text.index("* distinguishable")]
    lines = [line.split() for line in table.splitlines()]
    assert ["80", "ms", "better", "-0.50", "*", "-0.50", "to", "-0.50"] in [
        line[:8] for line in lines
    ]
    assert "0.00 ? 0.00 to 0.00" in flowing(table)
    assert "0.0000 ~ 0.0000 ~ 0.0000 ~" in flowing(table)
    assert "paired over the 10 eval speakers both have" in flowing(text)
    assert "dac, 80 ms: withheld, dac leaky: the context has seen the target" in flowing(text)


def test_one_run_is_against_nothing(plant):
    comparison = compare_runs([plant("a")])
    assert comparison.against == ()
    assert "Against" not in shown(comparison)
    assert "Against" not in exported("markdown", comparison)
    assert "Against" not in exported("latex", comparison)


def test_csv_holds_every_difference(three):
    rows = {row["run"]: row for row in csv.DictReader(io.StringIO(exported("csv", three)))}
    better = rows["better"]
    assert float(better["dnll_context_difference"]) == pytest.approx(-0.5)
    assert float(better["dnll_context_difference_high"]) < 0
    assert better["dnll_context_difference_unit"] == "nats/frame"
    assert better["dnll_context_difference_verdict"] == "distinguishable"
    assert better["direction_cos_difference_verdict"] == "not distinguishable"
    assert (better["against"], rows["a"]["against"]) == ("a", "")
    assert rows["a"]["dnll_context_difference"] == ""
    assert "leaky" in rows["dac"]["dnll_context_difference_reason"]


def test_json_holds_every_difference(three):
    text = exported("json", three)
    assert Comparison.model_validate_json(text).against == three.against
    verdicts = {(one["run"], one["name"]): one["verdict"] for one in json.loads(text)["against"]}
    assert verdicts["better", "dnll_context"] == "distinguishable"
    assert verdicts["dac", "logmag_r2"] == "withheld"


def test_markdown_and_latex_spell_verdicts_out(three):
    row = ["80 ms", "better", "context", "nats/frame", "-0.50", "-0.50 to -0.50", "distinguishable"]
    markdown = exported("markdown", three)
    assert f"| {' | '.join(row)} |" in markdown.splitlines()
    assert "- dac, 80 ms: withheld, dac leaky" in markdown
    latex = exported("latex", three)
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    assert r"80 ms & better & context & nats/frame & $-0.50$ & " in latex
    assert latex.isascii()
