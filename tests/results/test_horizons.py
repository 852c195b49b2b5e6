"""horizons.csv has the published header, order and number formats."""

import csv
import io
from pathlib import Path

import pytest

from latentbench.results.horizons import HEADER, horizons_csv

PUBLISHED = """\
horizon_k,slice,train_nll,train_nll_baseline,train_dnll,eval_nll,eval_nll_baseline,eval_dnll,\
eval_direction_cos,eval_logmag_r2,rollout_gap_nll,rollout_gap_dnll
1,all,3288.57,1260.34,2028.23,1075.45,1260.89,-185.44,0.6114,-0.5949,,
2,all,13117.18,1260.34,11856.85,1129.82,1260.89,-131.07,0.3924,-4.8140,,
4,all,1177.05,1260.34,-83.28,1176.04,1260.89,-84.85,0.1068,-33.8358,inf,inf
8,all,1332.29,1258.14,74.15,1191.87,1258.67,-66.79,0.0384,-56.2588,56921627075.45,56921627075.45
"""


def test_the_published_numbers_give_the_published_file(make_result):
    assert horizons_csv(make_result()) == PUBLISHED


def test_header_is_that_of_the_reference_data():
    reference = Path(__file__).parents[3] / "shared/data/reference/phase1-reference.csv"
    if not reference.exists():
        pytest.skip("the published table is not beside the checkout (../shared/data/reference)")
    with reference.open(newline="") as file:
        header = next(csv.reader(file))
    assert list(HEADER) == header[header.index("horizon_k") :]


def test_rollout_stands_in_the_slice_all_only(make_result):
    text = horizons_csv(make_result(slices=("all", "high_energy")))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["horizon_k"], row["slice"]) for row in rows[:3]] == [
        ("1", "all"),
        ("1", "high_energy"),
        ("2", "all"),
    ]
    gaps = {row["slice"]: row["rollout_gap_nll"] for row in rows if row["horizon_k"] == "4"}
    assert gaps == {"all": "inf", "high_energy": ""}


@pytest.mark.parametrize(("n", "text"), [(0, ""), (1, "nan")])
def test_undefined_is_blank_only_without_frames(make_result, n, text):
    result = make_result()
    first = result.horizons[0]
    undefined = [one.model_copy(update={"value": float("nan"), "n": n}) for one in first.figures]
    changed = first.model_copy(update={"figures": tuple(undefined)})
    row = next(
        csv.DictReader(
            io.StringIO(horizons_csv(result.model_copy(update={"horizons": (changed,)})))
        )
    )
    assert row["eval_logmag_r2"] == text


def test_a_failed_horizon_keeps_its_row(make_result):
    result = make_result()
    failed = result.horizons[0].model_copy(
        update={"status": "failed", "figures": (), "rollout": None, "seeds": ()}
    )
    text = horizons_csv(result.model_copy(update={"horizons": (failed,)}))
    assert text.splitlines()[1] == "1,all" + "," * 10
