"""result.json is read by any JSON reader and reads back to what was written."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentbench.errors import UsageError
from latentbench.results.schema import CellRecord, Figure, Result


@given(value=st.floats(), n=st.integers(min_value=0))
def test_any_number_survives_strict_json(value, n):
    figure = Figure(split="eval", slice="all", name="nll", value=value, n=n, better="lower")

    def refuse(constant):
        raise AssertionError(constant)

    plain = json.loads(figure.to_json(), parse_constant=refuse)
    back = Figure.model_validate_json(figure.to_json())
    assert plain["n"] == n
    assert back.value == value or (math.isnan(back.value) and math.isnan(value))


def test_special_numbers_are_named_as_strings(make_result):
    rollouts = [one["rollout"] for one in json.loads(make_result().to_json())["horizons"]]
    assert [one["mean_gap"] for one in rollouts[:3]] == ["NaN", "NaN", "Infinity"]


def test_a_result_reads_back_as_it_was(make_result):
    result = make_result(stamps=("random weights",))
    assert Result.model_validate_json(result.to_json()).to_json() == result.to_json()


def test_a_cell_record_reads_back_as_it_was():
    record = CellRecord(
        horizon=2,
        seed=42,
        status="failed",
        error="training diverged",
        frames={"train": 10, "eval": 0},
        seconds={"fit": 1.5},
    )
    assert CellRecord.model_validate_json(record.to_json()) == record


def test_figures_are_found_by_split_slice_and_name(make_result):
    horizon = make_result().horizons[0]
    assert horizon.figure("eval", "all", "dnll").value == -185.44
    assert horizon.figure("train", "all", "dnll").value == 2028.23
    assert horizon.find("eval", "high_energy", "dnll") is None
    with pytest.raises(UsageError, match=r"no figure 'eval, all, dnl'\.\nDid you mean 'eval, all"):
        horizon.figure("eval", "all", "dnl")
