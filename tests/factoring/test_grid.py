"""`--vary`: which points a grid has."""

import pytest

from latentbench.api import configure
from latentbench.config import axes
from latentbench.errors import UsageError
from latentbench.factoring.grid import points_of
from latentbench.plugins import load_registry


@pytest.mark.parametrize("asked", ["a.x", "a.x=", "=1", "a.x=1,,2"])
def test_what_names_no_values_is_refused(asked):
    with pytest.raises(UsageError, match="names no values"):
        axes([asked])


@pytest.mark.parametrize("asked", [["a.x=1,1"], ["a.x=1", "a.x=2"]])
def test_nothing_is_varied_twice(asked):
    with pytest.raises(UsageError, match="given twice"):
        axes(asked)


@pytest.fixture
def points():
    def make(factorization, *vary):
        return points_of(configure(factorization=factorization), vary, load_registry())

    return make


def test_every_combination_the_last_key_fastest(points):
    found = points("linear", "factorization.dim=3,5", "factorization.keep=0.001,0.01")
    assert [(one["dim"], one["keep"]) for one in found] == [
        (3, 0.001),
        (3, 0.01),
        (5, 0.001),
        (5, 0.01),
    ]


def test_points_name_what_is_varied_and_what_was_set(points):
    assert points({"name": "linear", "lags": 2}, "factorization.dim=3,5") == [
        {"name": "linear", "lags": 2, "dim": 3},
        {"name": "linear", "lags": 2, "dim": 5},
    ]
    assert points("pca") == [{"name": "pca", "dim": 8}]


def test_only_options_of_the_factorisation_are_varied(points):
    with pytest.raises(UsageError, match=r"--vary training\.steps: factorize varies"):
        points("linear", "training.steps=1,2")
    with pytest.raises(UsageError, match=r"'dims' is no option .* 'linear'"):
        points("linear", "factorization.dims=1,2")
    with pytest.raises(UsageError, match="nothing to factorize"):
        points("none")


@pytest.mark.parametrize(
    ("name", "dims", "wanted"),
    [("linear", (2, 4), {"lags"}), ("linear", (2,), {"lags"}), ("pca", (2,), set())],
)
def test_labels_leave_out_what_all_points_share(name, dims, wanted):
    from latentbench.factoring.factorize import _common

    assert _common([{"name": name, "lags": 3, "dim": dim} for dim in dims]) == wanted
