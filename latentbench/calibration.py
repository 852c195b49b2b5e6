r"""Calibration: the whole instrument on worlds whose truth is known (docs/calibration.md).

Each world is run as a user would run it: corpus, store, windows, fit, scores, result. Two models
are put in. The exact predictor has nothing to learn, so what is off is the instrument. The
mixture density network is trained, so it may be worse than the optimum, but never better.

Intervals are over eval speakers, who are independent: the jackknife of `results.uncertainty` gives
the standard error, Student's t the quantile, wide enough that *all* intervals of a calibration hold
together with 99 %. That is far in the tails, where 2,000 draws of a bootstrap say nothing. They do
not cover the training speakers. These matter through the baseline, which is fitted on finitely many
frames; its excess NLL given its fitted moments is known exactly and is part of the stated bias.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from scipy import stats

from latentbench.config import resolve
from latentbench.errors import LatentbenchError
from latentbench.experiment import run_experiment
from latentbench.files import reading
from latentbench.metrics.statistics import Mean
from latentbench.results import RunFolder
from latentbench.results.assembly import metrics_of
from latentbench.results.folder import AGAIN
from latentbench.results.summary import speaker_codes
from latentbench.results.uncertainty import standard_error
from latentbench.rollout.figures import rollout_gap
from latentbench.workspace import Workspace
from latentbench.worlds.gaussian import LinearGaussian
from latentbench.worlds.plugin import DRAWN, WORLDS, build_world, world_options
from latentbench.worlds.world_corpus import WorldCorpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from latentbench.config import RunConfig
    from latentbench.plugins import Registry
    from latentbench.progress import Progress
    from latentbench.results import Result
    from latentbench.worlds.plugin import WorldOptions
    from latentbench.worlds.world import Target, World

__all__ = ["CONFIDENCE", "Check", "Trial", "calibrate", "run_trial", "trials"]

CONFIDENCE = 0.99  # that all intervals of one calibration hold
ROUNDING = 1e-6  # relative and absolute, of float32 latents
CONTEXT_FRAMES = 8
HORIZONS = (1, 2, 4, 8)
EXCESS_PER_DIM = 0.06  # nats a trained network may be above the optimum, per dimension

Model = Literal["exact", "mdn"]

LIKELIHOODS = ("nll", "dnll")
OF_MEAN = ("direction_cos", "logmag_r2", "logmag_r2_var")
METRICS: Mapping[Model, tuple[str, ...]] = {
    "exact": (*LIKELIHOODS, *OF_MEAN, "energy_score"),
    "mdn": LIKELIHOODS,
}


@dataclass(frozen=True)
class Check:
    """One quantity at one horizon: what is true, what was found, and how sure that is.

    Attributes:
        world: its name.
        model: `exact`, or `mdn` for the trained network.
        horizon: k.
        quantity: the metric's name, or `rollout_gap`.
        truth: of the optimal predictor with endless data.
        estimate: the instrument's figure on eval.
        standard_error: of the estimate, over eval speakers.
        half_width: of its interval.
        bias: lowest and highest expected excess of the estimate over the truth.
    """

    world: str
    model: Model
    horizon: int
    quantity: str
    truth: float
    estimate: float
    standard_error: float
    half_width: float
    bias: tuple[float, float] = (0.0, 0.0)

    @property
    def error(self) -> float:
        """Estimate minus truth."""
        return self.estimate - self.truth

    @property
    def agrees(self) -> bool:
        """The interval reaches the truth, give or take the stated bias."""
        low, high = self.bias
        return low - self.half_width <= self.error <= high + self.half_width


@dataclass(frozen=True)
class Trial:
    """One run of the instrument.

    Attributes:
        world: its name without `world:`.
        model: what is put in.
        options: of the world, beyond its defaults.
        horizons: k.
        steps: of training.
        width: of the network.
    """

    world: str
    model: Model
    options: Mapping[str, Any] = field(default_factory=dict)
    horizons: tuple[int, ...] = HORIZONS
    steps: int = 1
    width: int = 128

    @property
    def world_options(self) -> WorldOptions:
        """The options of the world, complete."""
        return world_options(self.world)(**self.options)

    def config(self, registry: Registry) -> RunConfig:
        """The configuration of the run."""
        options = asdict(self.world_options)
        parameters = {name: value for name, value in options.items() if name not in DRAWN}
        exact = {"name": "exact", "world": self.world, "parameters": parameters}
        mdn = {"name": "mdn", "width": self.width, "components": 4}
        return resolve(
            {
                "encoder": {"name": "latents"},
                "corpus": {"name": f"world:{self.world}", **options},
                "predictor": exact if self.model == "exact" else mdn,
                "utterances": {"min_seconds": 0.0},
                "split": {"eval_fraction": 0.5},
                "task": {
                    "context_frames": CONTEXT_FRAMES,
                    "horizons": list(self.horizons),
                    "frame_set": "own",
                    "slices": ["all"],
                },
                "training": {"steps": self.steps, "sampling": "uniform"},
                "evaluation": {"metrics": METRICS[self.model]},
                "rollout": {"utterances": 64},
                "device": "cpu",
            },
            registry,
        )


MORE: Mapping[str, Any] = {"speakers": 96, "utterances": 8}
# Four components hold every difference of two states, and peaks of this width are soon found.
LEARNABLE: Mapping[str, Mapping[str, Any]] = {"markov": {"states": 2, "sigma": 0.3}}


def trials(*, quick: bool) -> tuple[Trial, ...]:
    """The runs of a calibration: every world with the exact predictor, and some trained."""
    worlds = [name for name in WORLDS if name != "iid"]
    if quick:
        learned = {"utterances": 8}
        return (
            Trial("iid", "exact", {"utterances": 1}, horizons=(1, 2)),
            *(Trial(name, "exact", {"utterances": 2}) for name in worlds),
            Trial("ar1", "mdn", {**learned, "dim": 8}, (1,), steps=250, width=64),
            Trial("scale-mixture", "mdn", learned, (2,), steps=250, width=64),
            Trial("factored", "mdn", {**learned, "dim": 8}, (1,), steps=250, width=64),
        )
    return (
        Trial("iid", "exact"),
        *(Trial(name, "exact", MORE) for name in worlds),
        *(
            Trial(name, "mdn", {**MORE, "dim": 8, **LEARNABLE.get(name, {})}, (1, 4), steps=600)
            for name in WORLDS
        ),
    )


def calibrate(
    registry: Registry, progress: Progress, *, quick: bool, plan: Sequence[Trial] | None = None
) -> list[Check]:
    """Run every trial in a temporary folder and compare.

    Args:
        registry: where encoder, corpora, predictors and metrics are.
        progress: told which trial is under way.
        quick: about a minute, with wider intervals.
        plan: other trials than `trials(quick=quick)`.

    Raises:
        LatentbenchError: a run failed.
    """
    plan = trials(quick=quick) if plan is None else plan
    checks: list[Check] = []
    with _one_thread(), progress.task("calibrating", len(plan), "runs") as meter:
        for trial in plan:
            meter.note(f"{trial.world}, {trial.model}")
            checks += run_trial(trial, registry)
            meter.advance()
    return _with_intervals(checks, plan)


def run_trial(trial: Trial, registry: Registry) -> list[Check]:
    """The checks of one trial; their half-widths are still 0.

    Raises:
        LatentbenchError: a cell failed.
    """
    config = trial.config(registry)
    with tempfile.TemporaryDirectory(prefix="latentbench-") as scratch:
        folder = Path(scratch) / "run"
        result = run_experiment(config, folder, Workspace(Path(scratch) / "cache"), registry)
        if result.failed:
            raise LatentbenchError(
                f"The run on world:{trial.world} failed: {'; '.join(result.failed[0].errors)}",
                "This is a bug of latentbench or of an installed plugin; please report it.",
            )
        return list(_compare(trial, config, result, RunFolder(folder), registry))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Worlds are small: threads would wait for one another longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _compare(
    trial: Trial, config: RunConfig, result: Result, run: RunFolder, registry: Registry
) -> Iterator[Check]:
    world = build_world(trial.world_options)
    train = _sequences(trial, set(result.corpus.speakers["train"]))
    metrics = metrics_of(config, registry)
    with reading(run.frames_file, AGAIN), reading(run.rollout_file, AGAIN):
        frames, rollouts = pq.read_table(run.frames_file), pq.read_table(run.rollout_file)
    for horizon in result.horizons:
        k = horizon.k
        expected = _expected(trial, world, k, train)
        here = frames.filter((pc.field("horizon") == k) & (pc.field("split") == "eval"))
        for metric in metrics:
            figure = horizon.find("eval", "all", metric.name)
            if figure is None or metric.name not in expected:
                continue
            truth, bias = expected[metric.name]
            columns = {column: here[column].to_numpy() for column in metric.columns}
            error = standard_error(metric.statistic.reduce(columns, *speaker_codes(here)))
            yield Check(
                trial.world, trial.model, k, metric.name, truth, figure.value, error, 0.0, bias
            )
        gap = world.rollout_gap(k, CONTEXT_FRAMES, "delta", trial.world_options.frames)
        if trial.model == "exact" and gap is not None and horizon.rollout is not None:
            there = rollouts.filter(pc.field("horizon") == k)
            columns = {name: there[name].to_numpy() for name in ("nll_teacher", "nll_rollout")}
            gaps = Mean("gap").reduce({"gap": rollout_gap(columns)}, *speaker_codes(there))
            found, error = horizon.rollout.mean_gap, standard_error(gaps)
            yield Check(trial.world, trial.model, k, "rollout_gap", gap, found, error, 0.0)


def _expected(
    trial: Trial, world: World, k: int, train: NDArray[np.float64]
) -> dict[str, tuple[float, tuple[float, float]]]:
    """The truth of each figure that is checked, and the bias of its estimate."""
    truth, of_x = (world.truth(k, CONTEXT_FRAMES, target) for target in ("delta", "x"))
    excess, of_x_excess = (_excess(train, target, k, world) for target in ("delta", "x"))
    known = {
        "nll_baseline": excess,
        "dnll": -excess,
        "dnll_capacity": -excess,
        "x_gain": -of_x_excess,
    }
    figures = world.figures(k, CONTEXT_FRAMES, "delta")
    if trial.model == "exact":
        return {name: (one, (known.get(name, 0.0),) * 2) for name, one in figures.items()}

    def allowed(missed: float) -> float:
        # Diagonal components are not all there is in a Gaussian world with rotated axes.
        return EXCESS_PER_DIM * world.dim + missed * isinstance(world, LinearGaussian)

    conditional = allowed(truth.nll_diagonal - truth.nll)
    marginal = allowed(truth.nll_baseline - truth.nll_unconditional)
    above = {
        "nll": (0.0, conditional),
        "nll_baseline": (0.0, 0.0),
        "dnll": (0.0, conditional),
        "dnll_capacity": (0.0, marginal),
        "dnll_context": (-marginal, conditional),
        "x_gain": (0.0, allowed(of_x.nll_diagonal - of_x.nll)),
    }
    return {
        name: (figures[name], (known.get(name, 0.0) + low, known.get(name, 0.0) + high))
        for name, (low, high) in above.items()
    }


def _sequences(trial: Trial, speakers: set[str]) -> NDArray[np.float64]:
    """What these speakers say, [sequences, frames, D]."""
    utterances = WorldCorpus(trial.world_options, Workspace()).utterances()
    return np.stack([one.source.read().T for one in utterances if one.speaker in speakers]).astype(
        np.float64
    )


def _excess(train: NDArray[np.float64], target: Target, k: int, world: World) -> float:
    """Expected NLL of the fitted diagonal Gaussian above that of the true one, nats.

    A diagonal Gaussian's NLL is quadratic in the target: this is exact for any world.
    """
    first = CONTEXT_FRAMES - 1 + k
    found = train[:, first:] - train[:, first - 1 : -1] if target == "delta" else train[:, first:]
    rows = found.reshape(-1, found.shape[-1])
    mean, variance = rows.mean(0), rows.var(0, ddof=1)
    ratio = world.target_variances(target) / variance
    return 0.5 * float((ratio - np.log(ratio) - 1 + mean**2 / variance).sum())


def _with_intervals(checks: Sequence[Check], plan: Sequence[Trial]) -> list[Check]:
    """Intervals that hold together (Bonferroni)."""
    speakers = min(trial.world_options.speakers for trial in plan) // 2
    tail = (1 - CONFIDENCE) / (2 * len(checks))
    quantile = float(stats.t.isf(tail, speakers - 1))
    return [
        replace(
            one,
            half_width=quantile * one.standard_error + ROUNDING * (1 + abs(one.truth)),
        )
        for one in checks
    ]
