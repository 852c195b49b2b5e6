"""A grid of factorisations, each beside its controls, as ordinary runs below one folder."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from latentbench.comparisons.comparison import Failure
from latentbench.errors import BusyError, CellFailedError, LatentbenchError, UsageError
from latentbench.experiment import as_they_come_free, run_experiment
from latentbench.factoring.frames import principal_errors, scored_frames_of
from latentbench.factoring.record import FactoredRow, Factoring, Measure, PointAnswer
from latentbench.factoring.rolled import rolled_into_x
from latentbench.factorizations.plugin import ProjectionOptions
from latentbench.files import write_text
from latentbench.metrics.statistics import Mean
from latentbench.opened import OpenedRun
from latentbench.results.folder import read_result
from latentbench.results.standing import FEW_NUMBERS, sampled, withheld, worded
from latentbench.results.uncertainty import difference, estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from latentbench.config import ComponentConfig, RunConfig
    from latentbench.factoring.frames import ScoredFrames
    from latentbench.factoring.rolled import RolledIntoX
    from latentbench.metrics.statistics import SpeakerTable
    from latentbench.plugins import Registry
    from latentbench.progress import Progress
    from latentbench.results import Result
    from latentbench.results.uncertainty import Estimate
    from latentbench.workspace import Workspace

    # The factorisation as a mapping of name and options, or none -> the run's configuration.
    Configure: TypeAlias = Callable[[Mapping[str, Any]], RunConfig]

__all__ = ["CONTROLS", "factorize", "foreseen", "label_of"]

CONTROLS = ("pca", "random")
COORDINATES = tuple(one.name for one in fields(ProjectionOptions))  # what each of them is asked
STILL = 0.05  # movement below which a state stands still; a published one moved less
OFF_BUDGET = 0.2
OFF = "off budget"
# How stamps begin that leave a state its answer. Fewer dimensions are fewer numbers, of no fewer
# frames: by these alone every small state would be without one beside an x that has one.
ANSWERED = (OFF, FEW_NUMBERS)
Role = Literal["latents", "point", "control"]


def factorize(
    points: Sequence[Mapping[str, Any]],
    configure: Configure,
    out: Path,
    workspace: Workspace,
    registry: Registry,
) -> Factoring:
    """Make the runs that are not there, and put the states side by side.

    A point that fails, or a control of it, is told and named among the failures; the others go on.

    Args:
        points: name and options of each factorisation of the grid.
        configure: gives the run of one.
        out: folder of the runs; `factorization.csv` and `.json` are written there.
        workspace: cache and progress.
        registry: where components are looked up.

    Raises:
        UsageError: the run has no control without a context, or at every staleness the context has
            seen the target.
        LatentbenchError: the run of x failed, or no point could be made; that of the first.
    """
    grid = _Grid(configure, out, workspace, registry, _common(points))
    _refuse_blind(grid.config)
    grid.make({"name": "none"}, *points)
    rows, answers = [grid.row({"name": "none"}, "latents")], []
    grid.make_controls(points)
    for point in points:
        for of_point, answer in grid.beside_controls(point):
            rows += of_point
            answers.append(answer)
    failed = {
        label: grid.errors[label] for label in map(grid.label, points) if label in grid.errors
    }
    if not answers:
        raise next(iter(failed.values()))
    found = Factoring(
        folder=str(out),
        encoder=grid.config.encoder.name,
        corpus=grid.result.corpus.name,
        predictor=grid.config.predictor.name,
        k=grid.horizon,
        ms=1000 * grid.horizon / grid.result.encoder.frame_rate,
        rows=_once(rows),
        answers=tuple(answers),
        failures=tuple(Failure(label=label, error=str(one)) for label, one in failed.items()),
        sampled=sampled(grid.result),
    )
    write_text(out / "factorization.json", found.model_dump_json(indent=2), shared=True)
    write_text(out / "factorization.csv", found.to_csv(), shared=True)
    return found


def foreseen(
    points: Sequence[Mapping[str, Any]], configure: Configure, most: int
) -> dict[str, Mapping[str, Any]]:
    """The factorisations of all runs that `factorize` is known to make before one is made.

    The components that rebuild x about as well as a point are as many as the runs will show.

    Args:
        points: as of `factorize`; so is the next.
        configure: gives the run of one.
        most: D of the latents; a state may have more, and no projection.

    Returns:
        Label -> name and options, in the order of the runs.

    Raises:
        UsageError: as `factorize`.
    """
    _refuse_blind(configure({"name": "none"}))
    found, common = [{"name": "none"}, *points], _common(points)
    for point in points:
        dim = getattr(configure(point).factorization.options, "dim", None)
        found += [_control(point, configure, name, min(dim, most)) for name in CONTROLS if dim]
    return {_label(one, common): one for one in found}


class _Run(NamedTuple):
    label: str
    config: RunConfig
    folder: Path


@dataclass
class _Grid:
    """The runs of a grid, each read once."""

    configure: Configure
    out: Path
    workspace: Workspace
    registry: Registry
    common: frozenset[str]  # options that tell no points apart

    def __post_init__(self) -> None:
        self.results: dict[str, Result] = {}
        self.frames: dict[str, ScoredFrames] = {}
        self.rows: dict[str, FactoredRow] = {}
        self.errors: dict[str, LatentbenchError] = {}
        self.principal: dict[float, NDArray[np.float64]] = {}

    @property
    def config(self) -> RunConfig:
        return self.configure({"name": "none"})

    @property
    def result(self) -> Result:
        """Of x.

        Raises:
            LatentbenchError: its run failed.
        """
        if "x" in self.errors:
            raise self.errors["x"]
        return self.results["x"]

    @property
    def horizon(self) -> int:
        """The smallest staleness at which the context has not seen the target.

        Raises:
            UsageError: there is none.
        """
        sound = [one.k for one in self.result.horizons if not one.leaky]
        if not sound:
            encoder = self.result.encoder
            raise UsageError(
                f"At every staleness here the context has seen the target: frames of "
                f"{encoder.name} see {encoder.sight}.",
                "Set task.horizons_ms to more than that, or take a causal encoder.",
            )
        return min(sound)

    def folder(self, point: Mapping[str, Any]) -> Path:
        return self.out / ("none" if point["name"] == "none" else label_of(point).replace(" ", "-"))

    def label(self, point: Mapping[str, Any]) -> str:
        """Design and options, but those that all points share."""
        return _label(point, self.common)

    def principal_errors(self, keep: float) -> NDArray[np.float64]:
        """Of x from 1, 2, ... principal components, over the frames that are scored."""
        if keep not in self.principal:
            x = OpenedRun(self.folder({"name": "none"}), self.workspace, self.registry)
            self.principal[keep] = principal_errors(x, self.horizon, keep)
        return self.principal[keep]

    def make(self, *points: Mapping[str, Any]) -> None:
        """Make the run of each; what another process is at, last."""
        runs = [_Run(self.label(one), self.configure(one), self.folder(one)) for one in points]

        def make(one: _Run, progress: Progress) -> None:
            workspace = replace(self.workspace, progress=progress)
            try:
                run_experiment(one.config, one.folder, workspace, self.registry)
                self.results[one.label] = read_result(one.folder)
            except BusyError:
                raise
            except LatentbenchError as error:
                progress.say(f"{one.label} failed: {error}")
                self.errors[one.label] = error

        as_they_come_free(runs, make, self.workspace.progress)

    def beside_controls(
        self, point: Mapping[str, Any]
    ) -> Iterator[tuple[list[FactoredRow], PointAnswer]]:
        """A state, its controls, and whether it is easier to model; nothing if one failed."""
        try:
            controls = self.controls(point)
            rows = [self.row(point, "point"), *(self.row(one, "control") for one in controls)]
        except LatentbenchError as error:
            self.errors[self.label(point)] = error
        else:
            yield rows, self.answer(point, controls[-1])

    def controls(self, point: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Projections of as many dimensions, and last the components that rebuild x as well.

        Raises:
            LatentbenchError: the point failed.
        """
        row = self.row(point, "point")
        errors = self.principal_errors(_keep(self.configure(point)))
        near = 1 + int(np.abs(errors - row.error.value).argmin())
        dim = min(row.dim, len(errors))  # the state may have more dimensions than x
        asked = [*((name, dim) for name in CONTROLS), ("pca", near)]
        return [_control(point, self.configure, name, dim) for name, dim in asked]

    def make_controls(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Make those of all points at once, so that processes share them out."""
        wanted: dict[str, dict[str, Any]] = {}
        for point in points:
            with suppress(LatentbenchError):  # a point that failed has none
                wanted |= {self.label(one): one for one in self.controls(point)}
        known = self.results.keys() | self.errors.keys()
        self.make(*(one for label, one in wanted.items() if label not in known))

    def row(self, point: Mapping[str, Any], role: Role) -> FactoredRow:
        """Run one factorisation, if that is not done, and describe its state.

        Raises:
            LatentbenchError: it failed, here or before.
        """
        label = self.label(point)
        if label in self.rows:
            return self.rows[label]
        config, folder = self.configure(point), self.folder(point)
        if label not in {**self.results, **self.errors}:
            self.make(point)
        self._require_figures(label)
        opened = OpenedRun(folder, self.workspace, self.registry)
        one = scored_frames_of(opened, self.horizon)
        self.frames[label] = one
        known = "kl" in one.columns
        kl = _measured(one.mean("kl")) if known else None
        told = _measured(one.ratio("still_missed", "energy")) if known else None
        movement = _measured(one.movement())
        rolled = rolled_into_x(opened, self.horizon)
        self.rows[label] = FactoredRow(
            label=label,
            role=role,
            folder=str(folder),
            dim=one.dim,
            error=_measured(one.ratio("missed", "energy")),
            rebuilt_error=told,
            kl=kl,
            movement=movement,
            rank=one.rank,
            gain=_measured(one.mean("nll_unconditional", "nll")),
            r2i=_measured(one.r2i()),
            excess=self._excess(label, config),
            **(self._rollouts(rolled) if rolled else {}),
            stamps=(
                *self._withheld(label),
                *_cut(config, one),
                *_stamps(config.factorization, one, movement, kl),
            ),
        )
        return self.rows[label]

    def _require_figures(self, label: str) -> None:
        """Refuse a run that failed, or of which every cell did at the staleness looked at.

        Raises:
            LatentbenchError: says why.
        """
        if label in self.errors:
            raise self.errors[label]
        for one in self.results[label].horizons:
            if one.k == self.horizon and not one.seeds:
                raise CellFailedError(f"{label} has no figures at k = {one.k}: {one.errors[0]}")

    def _withheld(self, label: str) -> tuple[str, ...]:
        """Why the gain of a run takes no part in any comparison."""
        result = self.results[label]
        return next(withheld(result, one) for one in result.horizons if one.k == self.horizon)

    def _rollouts(self, rolled: RolledIntoX) -> dict[str, Any]:
        """The figures of rollouts, by the names that a row calls them."""
        until, death, known = rolled.life
        frame = 1000 / self.result.encoder.frame_rate
        return {
            "rolled": _measured(rolled.movement),
            "rolled_spread": _measured(rolled.spread),
            "stable_milliseconds": until * frame if known else None,
            "dead_at": death.depth if death else None,
        }

    def _excess(self, label: str, config: RunConfig) -> Measure | None:
        """Nats of the state and the rest over those of x, frame by frame."""
        one, x = self.frames[label], self.frames["x"]
        comparable = (
            "innovation" in one.columns
            and config.task.target == "x"
            and _coordinates(config) == _keep(config)
            and np.array_equal(one.place, x.place)
        )
        if label == "x" or not comparable:
            return None
        if one.past_only:
            if self.horizon > 1:  # the state of t is not known from a staler past
                return None
            one.columns["bill"] = one.columns["innovation"]
        else:
            one.columns["bill"] = one.columns["nll"] - one.log_volume + one.columns["innovation"]
        one.columns["nll_x"] = x.columns["nll"]
        found = _measured(one.table(Mean("bill", "nll_x")))
        return None if math.isnan(found.value) else found

    def answer(self, point: Mapping[str, Any], matched: Mapping[str, Any]) -> PointAnswer:
        """Say whether a state is easier to model than as good a summary of x."""
        mine, other = self.label(point), self.label(matched)
        apart = difference(self.frames[mine].r2i(), self.frames[other].r2i())
        row = self.rows[mine]
        note = worded(apart.note, sampled(self.result)[:-1])
        barred = _barred(row, self.rows[other], note)
        verdict = "withheld" if barred else _verdict(apart.low, apart.high)
        found = _measure(apart, len(self.frames[mine].speaker))
        return PointAnswer(
            label=mine,
            matched=other,
            difference=found,
            verdict=verdict,
            sentence=f"{_left(row)}. No answer: {'; '.join(barred)}."
            if barred
            else _sentence(row, self.rows[other], self.rows["x"], found, verdict),
        )


def label_of(point: Mapping[str, Any]) -> str:
    """Design and options of a factorisation in a few words."""
    if point["name"] == "none":
        return "x"
    options = (f"{key}={value}" for key, value in point.items() if key != "name")
    return " ".join((point["name"], *options))


def _label(point: Mapping[str, Any], common: frozenset[str]) -> str:
    return label_of({key: point[key] for key in point if key not in common})


def _common(points: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The options of one value in all points; none where a point might be taken for a control."""
    first = points[0]
    if first["name"] in CONTROLS:
        return frozenset()
    shared = {key for key in first if all(one.get(key) == first[key] for one in points)}
    return frozenset(shared - {"name", "dim"})


def _control(point: Mapping[str, Any], configure: Configure, name: str, dim: int) -> dict[str, Any]:
    """A projection in the coordinates of a point, its options in the same order."""
    alike = isinstance(configure(point).factorization.options, ProjectionOptions)
    shared = {key: point[key] for key in point if key in COORDINATES and (alike or key == "dim")}
    return {"name": name, **shared, "dim": dim}


def _keep(config: RunConfig) -> float:
    """The least share of variance by which a factorisation chooses the coordinates of nats."""
    options = config.factorization.options
    return options.keep if isinstance(options, ProjectionOptions) else ProjectionOptions.keep


def _once(rows: Sequence[FactoredRow]) -> tuple[FactoredRow, ...]:
    return tuple({row.label: row for row in rows}.values())


def _coordinates(config: RunConfig) -> float | None:
    """The `keep` of the whitening that a run looks through; None where it looks otherwise."""
    if len(config.transforms) != 1 or config.transforms[0].name != "pca":
        return None
    options = config.transforms[0].options
    return float(options.keep) if options.whiten and not options.components else None


def _measured(table: SpeakerTable) -> Measure:
    return _measure(estimate(table), table.frames)


def _measure(found: Estimate, frames: int) -> Measure:
    low, high = (None if math.isnan(one) else one for one in (found.low, found.high))
    return Measure(value=found.value, low=low, high=high, n=frames, speakers=found.speakers)


def _cut(config: RunConfig, one: ScoredFrames) -> list[str]:
    """Says that transforms leave out some of a state: what it rebuilds is told by all of it."""
    asked = any(getattr(each.options, "components", 0) for each in config.transforms)
    return [f"cut: {one.dim} of {one.width} dimensions"] if asked and one.dim < one.width else []


def _stamps(
    component: ComponentConfig, one: ScoredFrames, movement: Measure, kl: Measure | None
) -> list[str]:
    """What makes the figures of a state mean something else than they say."""
    found = []
    if not movement.value >= STILL:
        found.append(f"collapsed: movement {movement.value:.3f}")
    if one.rank < one.width / 4:
        found.append(f"collapsed: effective rank {one.rank:.1f} of {one.width}")
    budget = getattr(component.options, "budget", 0.0)
    if budget and kl is not None and abs(kl.value / budget - 1) > OFF_BUDGET:
        found.append(f"{OFF}: KL {kl.value:.2f} of {budget:g} nats")
    return found


def _barred(row: FactoredRow, matched: FactoredRow, note: str) -> list[str]:
    """Why a state has no answer beside the summary that it is matched with."""
    found = _unsound(row)
    found += [f"{matched.label}: {one}" for one in _unsound(matched) if one not in found]
    if row.label == matched.label:
        found.append("these are the principal components themselves")
    if _tells_too_little(row.error.value, matched):
        found.append(f"{matched.label} leaves {matched.error.value:.0%}, so none tells as little")
    return [*found, *([f"no interval: {note}"] if note else [])]


def _unsound(row: FactoredRow) -> list[str]:
    """Its stamps that leave no answer."""
    return [one for one in row.stamps if not one.startswith(ANSWERED)]


def _tells_too_little(error: float, matched: FactoredRow) -> bool:
    """Whether a state is nearer to no principal component than to a single one."""
    return matched.dim == 1 and not error <= (1 + matched.error.value) / 2


def _verdict(low: float, high: float) -> Literal["easier", "harder", "not distinguishable"]:
    if low > 0:
        return "easier"
    return "harder" if high < 0 else "not distinguishable"


def _left(row: FactoredRow) -> str:
    """What a state gives up."""
    return f"{row.label} leaves {row.error.value:.0%} of the variance of x untold"


def _sentence(
    row: FactoredRow, matched: FactoredRow, x: FactoredRow, apart: Measure, verdict: str
) -> str:
    """The answer, with what was given up for it."""
    bounds = "" if apart.low is None else f" ({apart.low:+.3f} to {apart.high:+.3f})"
    text = (
        f"{_left(row)}, and {matched.label} {matched.error.value:.0%}. R²_I is {row.r2i.value:.3f} "
        f"against {matched.r2i.value:.3f}, {apart.value:+.3f}{bounds}{_beside(x)}: at matched "
        f"reconstruction the state is {verdict}"
        f"{' from it' if verdict == 'not distinguishable' else ' to model'}."
    )
    return f"{text}{_bill(row)}"


def _beside(x: FactoredRow) -> str:
    """R²_I of the latents, where it may be quoted."""
    return "" if _unsound(x) else f", and {x.r2i.value:.3f} of x itself"


def _bill(row: FactoredRow) -> str:
    """Whether the state and the rest together cost less than x."""
    one = row.excess
    if one is None:
        return ""
    bounds = "" if one.low is None else f" ({one.low:+.2f} to {one.high:+.2f})"
    text = f" State and rest together cost {one.value:+.2f}{bounds} nats a frame against x"
    if one.high is not None and one.high < 0:
        return f"{text}: no factorisation adds information, so the model of x is the poorer one."
    return f"{text}."


def _refuse_blind(config: RunConfig) -> None:
    """Refuse runs without the control that G is counted from.

    Raises:
        UsageError: says which key to change.
    """
    if "unconditional" not in config.controls:
        raise UsageError(
            "factorize counts the gain from the control without a context, which is not among "
            "`controls`.",
            "Add --set controls=[unconditional], or take --preset lb1.",
        )
