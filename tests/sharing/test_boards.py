"""Rows share a rank where they cannot be told apart; protocols and audio are kept apart."""

import math

import pytest

from latentbench.sharing.boards import boards_of
from latentbench.sharing.submissions import Submission, name_of


def submitted(*results):
    return [Submission(name_of(one), "", one) for one in results]


def ranks(*results):
    (board,) = boards_of(submitted(*results))
    (rows,) = board.stalenesses.values()
    return {row.submission.result.encoder.name: row.rank or row.reason for row in rows}


@pytest.mark.parametrize(("apart", "rank"), [(1.01, 2), (0.99, 1)])
def test_rows_are_apart_where_the_interval_of_their_difference_excludes_0(
    make_submitted, apart, rank
):
    # Of independent normal figures with half widths 3 and 4, that of the difference has 5.
    ours = make_submitted("ours", 0.5, 0.03)
    theirs = make_submitted("theirs", 0.5 - 0.05 * apart, 0.04)
    assert ranks(theirs, ours) == {"ours": 1, "theirs": rank}


def test_a_rank_counts_who_is_better_beyond_chance(make_submitted):
    found = ranks(*(make_submitted(n, v) for n, v in (("a", 0.3), ("b", 0.295), ("c", 0.2))))
    assert found == {"a": 1, "b": 1, "c": 3}


def test_what_takes_no_part_says_why_and_comes_last(make_submitted):
    leaky = make_submitted("leaky", 0.9)
    horizon = leaky.horizons[0].model_copy(update={"leaky": True})
    found = ranks(
        leaky.model_copy(update={"horizons": (horizon,)}),
        make_submitted("bare", 0.8, None),
        make_submitted("nan", math.nan),
        make_submitted("a", 0.3),
        make_submitted("b", 0.1),
    )
    assert list(found)[:2] == ["a", "b"]
    assert found["leaky"] == "leaky"
    assert found["bare"] == "there is no interval"
    assert found["nan"] == "R²_I was not measured"


def test_a_value_outside_its_own_interval_is_not_ranked(make_submitted):
    odd = make_submitted("odd", 0.2)
    figures = tuple(one.model_copy(update={"value": 9.0}) for one in odd.horizons[0].figures)
    horizon = odd.horizons[0].model_copy(update={"figures": figures})
    found = ranks(
        odd.model_copy(update={"horizons": (horizon,)}),
        make_submitted("a", 0.3),
        make_submitted("b", 0.1),
    )
    assert found == {"a": 1, "b": 2, "odd": "there is no interval"}


def test_one_row_alone_has_no_rank(make_submitted):
    assert ranks(make_submitted("a", 0.3)) == {"a": "no other row to rank against"}


def test_predictors_share_a_board_and_protocols_and_audio_do_not(make_submitted):
    first = make_submitted("a", 0.3)
    audio = first.provenance.model_copy(update={"digests": {"corpus": "other"}})
    boards = boards_of(
        submitted(
            first,
            make_submitted("b", 0.1, protocol="lb1 with predictor=linear, predictor.ridge=[1, 2]"),
            make_submitted("c", 0.1, protocol="lb1 with seeds=[0], predictor=linear"),
            make_submitted("d", 0.1, provenance=audio),
        )
    )
    told = [
        (one.protocol, [row.submission.result.encoder.name for row in one.stalenesses[80.0]])
        for one in boards
    ]
    assert told == [("lb1", ["a", "b"]), ("lb1", ["d"]), ("lb1 with seeds=[0]", ["c"])]
    assert len({one.name for one in boards}) == 3
