"""Ranks over what can be told apart, and the words that are made of them."""

from latentbench.comparisons import compare_runs
from latentbench.comparisons.ranks import Rank
from latentbench.reports.words_of_comparison import words_of_comparison


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
        Rank(run=run, matched=matched, figure="r2i", rank=rank, reasons=() if rank else ("leaky",))
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
