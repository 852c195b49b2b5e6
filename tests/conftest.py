"""What all tests share: one core per worker, Ctrl-C as at a terminal, the published result."""

import math
import os
import signal
from typing import Any

import pytest
import torch

from latentbench.config import RunConfig
from latentbench.results.schema import (
    CorpusFacts,
    EncoderFacts,
    Figure,
    HorizonResult,
    Provenance,
    Result,
    RolloutFigures,
    Skipped,
)

# Split -> horizon -> NLL, baseline, ΔNLL, cosine, R²: the published table of Phase 1; its
# train cosine and R² were never published, these are made up.
PUBLISHED = {
    "train": {
        1: (3288.57, 1260.34, 2028.23, 0.62, -0.5),
        2: (13117.18, 1260.34, 11856.85, 0.4, -4.5),
        4: (1177.05, 1260.34, -83.28, 0.11, -33.0),
        8: (1332.29, 1258.14, 74.15, 0.04, -56.0),
    },
    "eval": {
        1: (1075.45, 1260.89, -185.44, 0.6114, -0.5949),
        2: (1129.82, 1260.89, -131.07, 0.3924, -4.8140),
        4: (1176.04, 1260.89, -84.85, 0.1068, -33.8358),
        8: (1191.87, 1258.67, -66.79, 0.0384, -56.2588),
    },
}
GAPS = {1: None, 2: None, 4: math.inf, 8: 56921627075.45}


def pytest_configure(config: pytest.Config) -> None:
    """Workers side by side compute with one thread each, and so do processes they start.

    With as many threads as cores in every worker they wait for one another most of the time.

    A shell that starts the tests in the background has them ignore Ctrl-C, `nohup` a hang-up, and
    so would all processes they start.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)


def _figures(k: int, slices: tuple[str, ...]) -> list[Figure]:
    figures = []
    for split, table in PUBLISHED.items():
        nll, baseline, dnll, cosine, r2 = table[k]
        values = {
            "nll": nll,
            "nll_baseline": baseline,
            "dnll": dnll,
            "direction_cos": cosine,
            "logmag_r2": r2,
            "logmag_r2_var": r2 / 2,
        }
        figures += [
            Figure(split=split, slice=name, name=metric, value=value, n=200_000, better="lower")
            for name in slices
            for metric, value in values.items()
        ]
    return figures


def _rollout(k: int) -> RolloutFigures:
    gap = GAPS[k]
    if gap is None:
        return RolloutFigures(
            mean_gap=math.nan, median_gap=math.nan, n=0, non_finite=0, utterances=0
        )
    return RolloutFigures(
        mean_gap=gap, median_gap=412.5, n=2345, non_finite=int(gap == math.inf), utterances=16
    )


def _horizon(k: int, slices: tuple[str, ...]) -> HorizonResult:
    rollout = _rollout(k)
    return HorizonResult(
        k=k,
        milliseconds=80.0 * k,
        status="done",
        seeds=(42,),
        parameters=13_650_952,
        dim=512,
        frames={"train": 3_400_000, "eval": 880_000},
        scored={"train": 200_000, "eval": 200_000},
        figures=tuple(_figures(k, slices)),
        rollout=rollout,
        notes=() if rollout.n else ("rollout: no eval utterance is long enough",),
    )


@pytest.fixture
def make_result():
    """Make the published result, with what a test wants otherwise."""

    def make(slices: tuple[str, ...] = ("all",), **changes: Any) -> Result:
        config = RunConfig.model_validate({"task": {"slices": slices}})
        facts: dict[str, Any] = {
            "config": config.model_dump(mode="json"),
            "encoder": EncoderFacts(
                name="mimi", dim=512, frame_rate=12.5, hop=1920, sample_rate=24_000
            ),
            "corpus": CorpusFacts(
                name="librispeech train-clean-100",
                speakers={
                    "train": tuple(map(str, range(200))),
                    "eval": tuple(map(str, range(51))),
                },
                utterances={"train": 22_673, "eval": 5_866},
                seconds={"train": 288_000.0, "eval": 73_000.0},
            ),
            "horizons": tuple(_horizon(k, slices) for k in (1, 2, 4, 8)),
            "provenance": Provenance(
                latentbench="0", python="3", libraries={}, platform="any", device="cpu"
            ),
        }
        return Result(**(facts | changes))

    return make


@pytest.fixture
def skipped() -> tuple[Skipped, ...]:
    """Five utterances that could not be used."""
    return tuple(Skipped(utterance=f"utt-{i}", reason="no samples") for i in range(5))
