"""Ranks over what can be told apart, and the words that are made of them."""

import csv
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from latentbench.comparisons import compare_runs
from latentbench.comparisons.against import FigureDifference
from latentbench.comparisons.circumstances import Circumstance
from latentbench.comparisons.ranks import Rank
from latentbench.latents.manifest import ManifestRow
from latentbench.predictors.learning_curve import Convergence
from latentbench.reports.comparison import comparison_page, comparison_report
from latentbench.reports.spreadsheet import comparison_csv
from latentbench.reports.tables import Line, Table
from latentbench.reports.words_of_comparison import _length, _partial, _reach, words_of_comparison
from latentbench.results.schema import ALONE, Figure
from latentbench.results.standing import BOUND


def words(make_run, *ranks, matched="80 ms"):
    found = compare_runs([make_run("a"), make_run("b"), make_run("c")], "frames")
    horizons = []
    for one in found.horizons[:3]:
        figure = one.result.figures[0].model_copy(
            update={"name": "r2i", "split": "eval", "slice": "all", "value": 0.1}
        )
        horizons.append(
            one.model_copy(
                update={
                    "matched": matched,
                    "result": one.result.model_copy(update={"figures": (figure,)}),
                }
            )
        )
    told = [
        Rank(
            run=run,
            matched=matched,
            figure="r2i",
            value=0.1,
            rank=rank,
            reasons=() if rank else ("leaky",),
        )
        for run, rank in zip("abc", ranks, strict=True)
    ]
    changed = found.model_copy(update={"horizons": tuple(horizons), "ranks": tuple(told)})
    return " ".join(words_of_comparison(changed))


def test_tiers_are_named_in_order(make_run):
    found = words(make_run, 2, 1, 2)
    assert "1. b (" in found
    assert found.index("1. b") < found.index("2. a")
    assert "a (0.100) and c (0.100)" in found


def test_equal_ranks_are_not_called_equal(make_run):
    assert "cannot be told apart" in words(make_run, 1, 1, 1)


def test_what_is_withheld_is_not_ranked_and_says_why(make_run):
    assert "c is not ranked at 80 ms: leaky." in words(make_run, 1, 2, None)


def test_runs_that_are_left_out_for_one_reason_share_a_sentence(make_run):
    assert "b and c are not ranked at 80 ms: leaky." in words(make_run, 1, None, None)


SPEAKERS = tuple("abcdefghij")
FRAMES = 40
DIM = 4


def scored(make_run, make_result, label, gain, *, leaky=False, own=False, first=None):
    """A run whose gain over its control is `gain` nats, and as much for every speaker.

    Its first frame scored `first` where that is given.
    """
    n = FRAMES * len(SPEAKERS)
    control = np.random.default_rng(1).normal(size=n) + 9.0
    columns = {
        "nll_unconditional": control,
        "nll": control - gain + 0.2 * np.random.default_rng(2).normal(size=n),
        "dimensions": np.full(n, float(DIM)),
    }
    if first is not None:
        columns["nll"][0] = first
    return measured(make_run, make_result, label, columns, {"r2i": gain}, leaky=leaky, own=own)


def sampled(make_run, make_result, label, control=9.0, *, own=False, **skills):
    """A run of samples only, of these skills over its control for every speaker."""
    columns = {}
    for name, skill in skills.items():
        controls = control + np.random.default_rng(1).random(FRAMES * len(SPEAKERS))
        columns |= {f"{name}_unconditional": controls, f"{name}_score": (1.0 - skill) * controls}
    figures = {f"{name}_skill": skill for name, skill in skills.items()}
    return measured(make_run, make_result, label, columns, figures, own=own)


def measured(make_run, make_result, label, columns, figures, *, leaky=False, own=False):
    """A run with these columns per frame, and figures; of latents of its `own` if so."""
    n = FRAMES * len(SPEAKERS)
    owner = np.repeat(SPEAKERS, FRAMES)
    columns = {
        "split": pa.array(["eval"] * n).dictionary_encode(),
        "horizon": pa.array([1] * n, pa.int16()),
        "seed": pa.array([42] * n, pa.int32()),
        "utterance": pa.array([f"u-{one}" for one in owner]).dictionary_encode(),
        "speaker": pa.array(owner).dictionary_encode(),
        **columns,
    }
    told = tuple(
        Figure(split="eval", slice="all", name=name, value=value, n=n, better="higher")
        for name, value in figures.items()
    )
    horizon = make_result().horizons[0]
    horizon = horizon.model_copy(
        update={"figures": told, "dim": DIM, "leaky": leaky, "seeds": (42,), "parameters": 1}
    )
    rows = [ManifestRow(f"u-{one}", one, "eval", one, 4.0) for one in SPEAKERS]
    rows.append(ManifestRow("u-train", "train", "train", "t", 4.0))
    result = make_result(horizons=(horizon,))
    if own:
        result = result.model_copy(
            update={"encoder": result.encoder.model_copy(update={"name": label})}
        )
    run = make_run(label, result=result, rows=rows)
    run.folder.mkdir()
    pq.write_table(pa.table(columns), run.folder / "frames.parquet")
    return run


def test_ranks_count_what_is_better_beyond_its_interval(make_run, make_result):
    gains = {"poor": 0.1, "good": 0.5, "as good": 0.5, "best": 0.9}
    for own, figure in ((False, "nll"), (True, "r2i")):
        found = compare_runs(
            [
                scored(make_run, make_result, f"{one} {own}", gain, own=own)
                for one, gain in gains.items()
            ]
        )
        assert [one.rank for one in found.ranks] == [4, 2, 2, 1]
        assert {one.figure for one in found.ranks} == {figure}


@pytest.mark.parametrize("own", [False, True], ids=["latents of all", "latents of its own"])
def test_a_poor_control_puts_no_model_of_the_same_latents_first(make_run, make_result, own):
    """One that answers with the mean gains much over the same without a context, and is poor."""
    runs = [
        sampled(make_run, make_result, "mean", 20.0, energy=0.3, own=own),  # scores 14
        sampled(make_run, make_result, "mixture", 10.0, energy=0.1, own=own),  # scores 9
    ]
    found = compare_runs(runs)
    first = "mean" if own else "mixture"
    assert {one.run for one in found.ranks if one.rank == 1} == {first}
    told = " ".join(words_of_comparison(found))
    if own:
        assert "by skill, from the easiest to predict: 1. mean (0.300); 2. mixture (0.100)." in told
    else:
        assert "by energy score, from the best model: 1. mixture (9.4" in told


def test_a_leaky_run_has_a_reason_and_takes_no_place_from_others(make_run, make_result):
    runs = [
        scored(make_run, make_result, "leaky", 5.0, leaky=True),
        scored(make_run, make_result, "one", 0.5),
        scored(make_run, make_result, "other", 0.2),
    ]
    found = {one.run: one for one in compare_runs(runs).ranks}
    assert (found["leaky"].rank, found["leaky"].reasons) == (None, ("leaky",))
    assert (found["one"].rank, found["other"].rank) == (1, 2)


def test_a_leaky_gain_tells_nothing_of_what_comes(make_run, make_result):
    def gains(label, *, leaky):
        columns = {"nll_unconditional": np.ones(FRAMES * len(SPEAKERS))}
        return measured(make_run, make_result, label, columns, {"gain": 1.0}, leaky=leaky)

    ahead, causal = gains("ahead", leaky=True), gains("causal", leaky=False)
    found = compare_runs([ahead, causal])
    sure = tuple(
        one.model_copy(
            update={
                "result": one.result.model_copy(
                    update={
                        "figures": tuple(
                            figure.model_copy(update={"low": 0.5, "high": 1.5})
                            for figure in one.result.figures
                        )
                    }
                )
            }
        )
        for one in found.horizons
    )
    told = list(_reach(found.model_copy(update={"horizons": sure})))
    assert told == ["A context tells something of what comes: causal at 80 ms."]


def test_a_gain_without_an_interval_leaves_open_whether_it_is_one(make_run, make_result):
    columns = {"nll_unconditional": np.ones(FRAMES * len(SPEAKERS))}
    runs = [measured(make_run, make_result, one, columns, {"gain": 1.0}) for one in ("a", "b")]
    found = compare_runs(runs)

    def told(**bounds):
        horizons = []
        for one in found.horizons:
            (gain,) = one.result.figures
            low, high = bounds[one.run]
            changed = (gain.model_copy(update={"low": low, "high": high}),)
            result = one.result.model_copy(update={"figures": changed})
            horizons.append(one.model_copy(update={"result": result}))
        return list(_reach(found.model_copy(update={"horizons": tuple(horizons)})))

    none, sure, zero = (None, None), (0.5, 1.5), (-0.5, 1.5)
    unknown = (
        "Whether a context tells anything of what comes is unknown of a: there is no interval of "
        "the gain."
    )
    assert told(a=none, b=sure) == [
        unknown, "A context tells something of what comes: b at 80 ms.",
    ]  # fmt: skip
    assert told(a=none, b=zero) == [
        unknown, "b found no context to tell anything of what comes.",
    ]  # fmt: skip
    assert told(a=zero, b=zero) == ["No model here found a context to tell anything of what comes."]


def test_samples_that_gain_by_a_context_tell_something_of_what_comes(make_run, make_result):
    runs = [sampled(make_run, make_result, one, energy=0.1) for one in ("sure", "not", "none")]
    found, horizons = compare_runs(runs), []
    for one, bounds in zip(found.horizons, ((0.05, 0.15), (-0.1, 0.3), None), strict=True):
        (skill,) = one.result.figures
        low, high = bounds or (None, None)
        told = (skill.model_copy(update={"low": low, "high": high, "n": 9 if bounds else 0}),)
        result = one.result.model_copy(update={"figures": told, "scored": {"eval": 9}})
        horizons.append(one.model_copy(update={"result": result}))
    unknown, told = _reach(found.model_copy(update={"horizons": tuple(horizons)}))
    assert unknown.startswith("Whether a context tells anything of what comes is unknown of none:")
    assert told == "A context tells something of what comes: sure at 80 ms; not nowhere."


def test_models_that_only_sample_are_ranked_by_energy_and_beside_it_by_variogram(
    make_run, make_result
):
    skills = {"a": (0.1, 0.3), "b": (0.1, 0.1), "c": (0.2, 0.2)}
    runs = [
        sampled(make_run, make_result, label, energy=energy, variogram=variogram, own=True)
        for label, (energy, variogram) in skills.items()
    ]
    found = compare_runs(runs)
    assert {one.run: one.rank for one in found.ranks} == {"a": 2, "b": 2, "c": 1}
    assert {one.figure for one in found.ranks} == {"energy_skill"}
    assert {one.beside for one in found.ranks} == {"variogram_skill"}
    assert {one.run: one.rank_beside for one in found.ranks} == {"a": 1, "b": 3, "c": 2}
    told = " ".join(words_of_comparison(found))
    by_energy, by_variogram = (told.index(f"by {name}, from") for name in ("skill", "variogram"))
    assert by_energy < by_variogram < told.index("1. a (0.300); 2. c (0.200); 3. b (0.100)")


def test_one_order_by_both_is_said_once(make_run, make_result):
    runs = [
        sampled(make_run, make_result, one, energy=g, variogram=g)
        for one, g in (("a", 0.1), ("b", 0.2))
    ]
    told = words_of_comparison(compare_runs(runs))
    assert "By variogram score, of how dimensions go together, the order is the same." in told


def test_where_one_has_no_variogram_score_nothing_is_ranked_by_it(make_run, make_result):
    runs = [
        sampled(make_run, make_result, "a", energy=0.1, variogram=0.1),
        sampled(make_run, make_result, "b", energy=0.2),
    ]
    found = compare_runs(runs).ranks
    assert [(one.figure, one.rank, one.beside) for one in found] == [
        ("energy_score", 2, ""), ("energy_score", 1, ""),
    ]  # fmt: skip


def test_by_the_variogram_alone_where_it_is_all_that_they_have(make_run, make_result):
    runs = [sampled(make_run, make_result, one, variogram=g) for one, g in (("a", 0.1), ("b", 0.2))]
    found = compare_runs(runs).ranks
    assert [(one.figure, one.rank) for one in found] == [
        ("variogram_score", 2), ("variogram_score", 1),
    ]  # fmt: skip


def test_speakers_whose_frames_were_not_scored_do_not_count(make_run, make_result):
    """`evaluation.max_frames` may leave three of fifty-one."""
    runs = []
    for label in ("a", "b"):
        run = scored(make_run, make_result, label, 0.5)
        (horizon,) = run.result.horizons
        (r2i,) = horizon.figures
        cut = horizon.model_copy(update={"figures": (r2i.model_copy(update={"speakers": 3}),)})
        runs.append(make_run(label, result=run.result.model_copy(update={"horizons": (cut,)})))
    found = compare_runs(runs)
    assert len(runs[0].result.corpus.speakers["eval"]) == 51
    assert {one.reasons for one in found.ranks} == {("3 eval speakers, at least 4 are needed",)}
    (table,) = (one for one in comparison_report(found) if isinstance(one, Table))
    assert {one.heading: one.cells for one in table.columns}["speakers"] == ("3", "3")


@pytest.mark.parametrize("own", [False, True], ids=["nll", "r2i"])
def test_a_place_by_a_bound_is_said_to_be_one(make_run, make_result, own):
    runs = [scored(make_run, make_result, "exact", 0.5, own=own)]
    other = scored(make_run, make_result, "bound", 0.1, own=own)
    (horizon,) = other.result.horizons
    noted = horizon.model_copy(update={"notes": (BOUND,)})
    result = other.result.model_copy(update={"horizons": (noted,)})
    found = compare_runs([*runs, make_run("bound", result=result, rows=other.utterances)])
    assert [one.rank for one in found.ranks] == [1, 2]
    said = [one for one in words_of_comparison(found) if "from above" in one]
    assert said == [
        "The NLLs of bound are bounds from above, with a context and without: the true R²_I may be "
        "higher or lower."
        if own
        else "The NLL of bound is a bound from above: by the true one the place may be better."
    ]


@pytest.mark.parametrize(("learned", "figure"), [("as one", "nll"), ("otherwise", "r2i")])
def test_states_learned_twice_are_other_latents(make_run, make_result, learned, figure):
    """Training rounds otherwise on another machine; nats of other coordinates are not ranked."""
    runs = []
    for label, gain, fitted in (("one", 0.1, "as one"), ("two", 0.5, learned)):
        made = scored(make_run, make_result, label, gain)
        config = {**made.result.config, "factorization": {"name": "rssm"}}
        (made.folder / "factorization-rssm.safetensors").write_text(fitted)
        result = made.result.model_copy(update={"config": config})
        runs.append(make_run(label, result=result, rows=made.utterances))
    assert {one.figure for one in compare_runs(runs).ranks} == {figure}


@pytest.mark.parametrize("figure", ["r2i", "nll"])
def test_a_state_that_leaves_out_some_of_the_latents_is_said_to(make_run, figure):
    """It is easier to predict for that alone; of one score of the same latents it is not said."""
    found = compare_runs([make_run("raw"), make_run("dyn"), make_run("c")], "frames")
    values = {"raw": "none", "dyn": "{'name': 'linear', 'dim': 4}", "c": "{'name': 'pca'}"}
    ranks = [
        Rank(run=run, matched="80 ms", figure=figure, value=0.1, rank=rank, reasons=())
        for run, rank in (("raw", 2), ("dyn", 1), ("c", None))
    ]
    differing = (Circumstance(what="factorization", values=values),)
    changed = found.model_copy(update={"ranks": tuple(ranks), "differences": differing})
    said = [one for one in _partial(changed) if one.startswith("dyn may leave out some")]
    assert len(said) == (figure == "r2i")


def test_a_control_on_other_latents_is_none(make_run, make_result):
    def run(label, *stamps, own):
        made = scored(make_run, make_result, label, 0.5)
        encoder = made.result.encoder.model_copy(update={"name": own})
        result = made.result.model_copy(update={"stamps": stamps, "encoder": encoder})
        return make_run(label, result=result, rows=made.utterances)

    found = compare_runs(
        [run("a", ALONE, own="e"), run("control of a", own="e"), run("b", ALONE, own="f")]
    )
    assert [one.stamps for one in found.runs] == [(), (), (ALONE,)]


@pytest.mark.parametrize("unfit", ["a", "b", None])
def test_what_can_be_seen_is_not_told_by_what_is_withheld(make_run, make_result, unfit):
    cut = Convergence(steps=1, best_step=1, best_loss=1.0, last_loss=1.0, converged=False)
    runs = []
    for label in ("a", "b"):
        made = scored(make_run, make_result, label, 0.5)
        (horizon,) = made.result.horizons
        convergence = {"predictor": (cut,)} if label == unfit else {}
        changed = horizon.model_copy(update={"convergence": convergence})
        result = made.result.model_copy(update={"horizons": (changed,)})
        runs.append(make_run(label, result=result, rows=made.utterances))
    said = [one for one in words_of_comparison(compare_runs(runs)) if "cannot be seen" in one]
    assert len(said) == (unfit is None)


def test_where_files_are_the_sample_no_sentence_speaks_of_speakers(make_run, make_result):
    runs = []
    for label, gain in (("a", 0.5), ("b", 0.1)):
        run = scored(make_run, make_result, label, gain)
        split = run.result.config["split"] | {"by": "file"}
        config = run.result.config | {"split": split}
        result = run.result.model_copy(update={"config": config})
        rows = [ManifestRow(f"u-{one}", one, "eval", one, 4.0) for one in SPEAKERS]
        runs.append(make_run(label, result=result, rows=rows))
    found = compare_runs(runs)
    told = words_of_comparison(found)
    assert told[-1].startswith("With 10 eval files a difference of NLL")
    notes = comparison_page(found).notes["Against a"]
    assert "paired over the 10 eval files both have. Intervals are over files," in notes[0]
    assert not any("speaker" in one for one in (*told, *notes))


def on_utterances(make_run, run, corpus, *more):
    """The same run on a corpus, with further eval utterances."""
    own = [ManifestRow(f"u-{one}", one, "eval", f"{corpus} {one}", 4.0) for one in SPEAKERS]
    own += [ManifestRow(f"u-{one}", one, "eval", one, 4.0) for one in more]
    own.append(ManifestRow("u-train", "train", "train", "t", 4.0))
    there = run.result.corpus.model_copy(update={"identity": {"corpus": corpus}})
    result = run.result.model_copy(update={"corpus": there})
    return make_run(run.label, result=result, rows=own)


@pytest.mark.parametrize("alone", [True, False])
def test_a_rank_counts_the_runs_that_have_one(make_run, make_result, alone):
    """Two of one corpus used other utterances; those of another corpus stand beside both."""
    gains = {"best": 0.9, "good": 0.7, "fair": 0.5} | ({} if alone else {"poor": 0.1})
    runs = [scored(make_run, make_result, label, gain) for label, gain in gains.items()]
    where = (("one",), ("one", "z"), ("two",), ("two",))
    found = compare_runs(
        [on_utterances(make_run, run, *place) for run, place in zip(runs, where, strict=False)]
    )
    ranks = {one.run: one for one in found.ranks}
    unlike = "not to be held against good: the eval utterances are not the same"
    assert (ranks["best"].rank, ranks["best"].reasons) == (None, (unlike,))
    told = " ".join(words_of_comparison(found))
    if alone:
        assert (ranks["fair"].rank, ranks["fair"].reasons) == (
            None, ("no other run to rank against",)
        )  # fmt: skip
        assert "fair" not in told.partition("No two runs can be ranked.")[0]
    else:
        assert (ranks["fair"].rank, ranks["poor"].rank) == (1, 2)


def test_a_run_alone_has_no_rank(make_run, make_result):
    runs = [
        scored(make_run, make_result, "leaky", 5.0, leaky=True),
        scored(make_run, make_result, "one", 0.5),
    ]
    (_, alone) = compare_runs(runs).ranks
    assert (alone.rank, alone.reasons) == (None, ("no other run to rank against",))


@pytest.mark.parametrize("score", [np.nan, np.inf], ids=str)
def test_a_run_whose_score_is_no_number_takes_no_place_from_others(make_run, make_result, score):
    runs = [
        scored(make_run, make_result, "one", 0.5),
        scored(make_run, make_result, "spoiled", 5.0, first=score),
        scored(make_run, make_result, "other", 0.2),
    ]
    comparison = compare_runs(runs)
    found = {one.run: one for one in comparison.ranks}
    assert (found["one"].rank, found["other"].rank) == (1, 2)
    assert found["spoiled"].reasons == ("the score is not a finite number",)
    told = " ".join(words_of_comparison(comparison))
    assert "spoiled is not ranked at 80 ms: the score is not a finite number." in told
    assert "inf" not in told


def test_models_of_the_same_latents_are_ranked_by_nll_where_nothing_else_was_measured(
    make_run, make_result
):
    runs = []
    for label, nll in (("poor", 3.0), ("good", 2.0)):
        noise = np.random.default_rng(0).normal(size=FRAMES * len(SPEAKERS))
        runs.append(measured(make_run, make_result, label, {"nll": nll + noise}, {}))
    found = compare_runs(runs).ranks
    assert [(one.figure, one.rank) for one in found] == [("nll", 2), ("nll", 1)]


def test_the_score_that_is_ranked_by_and_the_rank_are_in_every_table(make_run, make_result):
    runs = [scored(make_run, make_result, one, gain) for one, gain in (("a", 0.1), ("b", 0.5))]
    found = compare_runs(runs)
    exported = comparison_page(found).tables[0]
    shown = [one for one in comparison_report(found, full=True) if isinstance(one, Table)]
    for columns in (exported.columns, [one for table in shown for one in table.columns]):
        cells = {one.name or one.heading: one.cells for one in columns}
        assert cells["rank"] == ("2", "1")
        assert [float(one) for one in cells["nll"]] == pytest.approx([8.9, 8.5], abs=0.1)


def test_ranks_stand_in_the_csv_in_rows_of_all_eval_frames(make_run, make_result):
    runs = [
        sampled(make_run, make_result, "a", energy=0.1, variogram=0.3, own=True),
        sampled(make_run, make_result, "b", energy=0.2, variogram=0.1, own=True),
        scored(make_run, make_result, "leaky", 5.0, leaky=True),
    ]
    found = compare_runs(runs)
    rows = list(csv.DictReader(io.StringIO(comparison_csv(found))))
    columns = ("ranked_by", "rank", "not_ranked", "ranked_beside_by", "rank_beside")
    assert {one["run"]: tuple(one[name] for name in columns) for one in rows} == {
        "a": ("energy_skill", "2", "", "variogram_skill", "1"),
        "b": ("energy_skill", "1", "", "variogram_skill", "2"),
        "leaky": ("energy_skill", "", "leaky", "", ""),
    }
    assert float(rows[0]["ranked_value"]) == pytest.approx(0.1)
    assert float(rows[0]["ranked_beside_value"]) == pytest.approx(0.3)


def test_a_score_that_was_measured_as_a_figure_stands_in_one_column(make_run, make_result):
    figures = {"energy_score": 1.0, "energy_skill": 0.1}
    scores = np.random.default_rng(0).random(FRAMES * len(SPEAKERS))
    runs = [
        measured(make_run, make_result, label, {"energy_score": scores + more}, figures)
        for label, more in (("a", 0.0), ("b", 1.0))
    ]
    columns = comparison_page(compare_runs(runs)).tables[0].columns
    assert [one.name for one in columns].count("energy_score") == 1


def orders(make_run, *stalenesses):
    """What is said of the ranks of two runs, by energy score and beside it, at each staleness."""
    found = compare_runs([make_run("a"), make_run("b")], "frames")
    ranks = [
        Rank(
            run=run,
            matched=f"k={k}",
            figure="energy_score",
            value=float(rank),
            rank=rank,
            beside="variogram_score",
            value_beside=float(beside),
            rank_beside=beside,
        )
        for k, (energy, variogram) in enumerate(stalenesses, 1)
        for run, rank, beside in zip("ab", energy, variogram, strict=True)
    ]
    return words_of_comparison(
        found.model_copy(update={"ranks": tuple(ranks), "horizons": (), "against": ()})
    )


def test_the_order_is_the_same_where_it_is_by_both_scores(make_run):
    assert orders(make_run, ((1, 2), (2, 1)), ((1, 2), (2, 1)))[-1] == (
        "The order is the same at k=2."
    )
    told = orders(make_run, ((1, 2), (1, 2)), ((1, 2), (2, 1)))
    assert not any(one.startswith("The order is the same") for one in told)
    assert told[-2].startswith("At k=2, by energy score, from the best model: 1. a (1.0")
    assert told[-1].startswith("At k=2, by variogram score, from the best model: 1. b (1.0")


def lengths(make_run, *ranks, frames=(1, 4, 16)):
    """Three runs of rising contexts, at 80 ms a frame, and their ranks."""
    found = compare_runs([make_run("a"), make_run("b"), make_run("c")], "frames")
    runs = tuple(
        one.model_copy(update={"context_ms": 80.0 * count})
        for one, count in zip(found.runs, frames, strict=True)
    )
    told = [
        Rank(run=run, matched="80 ms", figure="r2i", rank=rank)
        for run, rank in zip("abc", ranks, strict=True)
    ]
    changed = found.model_copy(update={"runs": runs, "ranks": tuple(told), "horizons": ()})
    return list(_length(changed))


def test_how_long_a_context_matters_is_one_sentence(make_run):
    (enough,) = lengths(make_run, 3, 1, 1)
    assert enough == (
        "At 80 ms a context of 320 ms is enough: none up to 1280 ms is told to be better, and one "
        "of 80 ms is worse."
    )
    (nothing,) = lengths(make_run, 1, 1, 1)
    assert nothing == "At 80 ms no context longer than 80 ms is told to help, up to 1280 ms."
    (longest,) = lengths(make_run, 3, 2, 1)
    assert longest.startswith("At 80 ms the longest context, 1280 ms, is the first that no other")


def test_runs_of_one_length_or_left_out_have_no_such_sentence(make_run):
    assert lengths(make_run, 1, 2, 3, frames=(4, 4, 4)) == []
    assert lengths(make_run, None, None, 1) == []


def test_a_score_stands_in_its_own_column_and_what_is_not_fitted_in_none(make_run, make_result):
    cut = Convergence(steps=9, best_step=9, converged=False)
    result = make_result()
    one, two, unfit = result.horizons[:3]
    unfit = unfit.model_copy(update={"convergence": {"predictor": (cut,)}})
    short = result.model_copy(update={"horizons": (one, two, unfit)})
    found = compare_runs([make_run(label, result=short) for label in "ab"])
    by = {
        "80 ms": ("nll", ""),
        "160 ms": ("energy_score", "variogram_score"),
        "320 ms": ("nll", ""),
    }
    ranks = tuple(
        Rank(run=run, matched=at, figure=by[at][0], value=7.0, beside=by[at][1],
             value_beside=0.2 if by[at][1] else None)
        for at in by
        for run in "ab"
    )  # fmt: skip
    against = tuple(
        FigureDifference(run="b", matched=at, name=name, unit="", value=0.5,
                         verdict="withheld" if at == "320 ms" else "distinguishable",
                         reason="b not fitted" if at == "320 ms" else "")
        for at in by
        for name in ("nll", "energy_score")
    )  # fmt: skip
    ranks = (ranks[0].model_copy(update={"rank": 1}), *ranks[1:])
    changed = found.model_copy(update={"ranks": ranks, "against": against})
    parts = list(comparison_report(changed))
    table = next(one for one in parts if isinstance(one, Table))
    cells = {one.name or one.heading: one.cells for one in table.columns}
    assert cells["nll"] == ("7.00", "7.00", "-", "-", "-", "-")
    assert cells["energy_score"] == ("-", "-", "7.000", "7.000", "-", "-")
    assert cells["variogram_score"] == ("-", "-", "0.2000", "0.2000", "-", "-")
    assert cells["less a"] == ("-", "0.50 *", "-", "0.500 *", "-", "- ?")
    told = [one.text for one in parts if isinstance(one, Line)]
    assert any("of NLL at 80 ms and 320 ms, energy score at 160 ms;" in one for one in told)
