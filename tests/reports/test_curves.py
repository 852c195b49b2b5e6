"""The losses of a run, a line for each network."""

import io
from types import SimpleNamespace

import pyarrow as pa
import pytest
from rich.console import Console

from latentbench.predictors.learning_curve import Convergence
from latentbench.reports.curves import NO_CURVES, curves_report
from latentbench.reports.tables import show


def shown(curves, horizons=()):
    console = Console(file=io.StringIO(), width=120)
    show(curves_report(SimpleNamespace(horizons=horizons), curves), console)
    return console.file.getvalue()


def test_a_line_falls_as_its_losses_do():
    rows = [
        {
            "horizon": 1,
            "seed": 0,
            "role": "predictor",
            "step": 10 * at,
            "split": split,
            "loss": loss,
        }
        for at, loss in enumerate((8.0, 4.0, 1.0, 2.0), 1)
        for split in ("train", "validation")
    ]
    ended = Convergence(steps=40, best_step=30, train_loss=0.5, converged=True)
    horizon = SimpleNamespace(k=1, seeds=(0,), convergence={"predictor": (ended,)})
    found = shown(pa.Table.from_pylist(rows), [horizon])
    assert "█▄▁▂" in found
    for text in ("validation", "8.00", "1.00", "30", "2.00", "0.50", "converged"):
        assert text in found
    assert "in nats per frame where it is the NLL, else in a unit of its own" in " ".join(
        found.split()
    )


@pytest.mark.parametrize("curves", [NO_CURVES])
def test_closed_forms_have_none(curves):
    assert "there are no losses" in shown(curves)
