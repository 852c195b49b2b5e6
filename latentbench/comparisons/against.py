"""Runs against one another: which figures can be told apart.

At each horizon that both have, the difference of a figure is taken over the speakers that both
evaluated, on the same draws of them (docs/uncertainty.md), each figure being the mean over the
seeds of its run; where they have no speaker in common, over those of each, apart. Where the
latents are not the same, nats are per dimension: a nat per frame of one encoder is not a nat per
frame of another. No verdict is given on rows that are not alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from latentbench.config import RunConfig
from latentbench.digest import XXH3, file_digest
from latentbench.errors import UsageError
from latentbench.factorizations.stored import fitted_file
from latentbench.files import DamagedFileError, reading
from latentbench.metrics.statistics import SeedMean, SpeakerTable
from latentbench.metrics.units import NATS, PER_DIM
from latentbench.results.assembly import metric_of
from latentbench.results.figures import HEADLINES, SCORES
from latentbench.results.folder import AGAIN, RunFolder
from latentbench.results.schema import Number, Record
from latentbench.results.standing import NOT_FITTED, not_fitted, sampled, worded
from latentbench.results.summary import speaker_codes
from latentbench.results.uncertainty import difference, difference_apart, known

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from latentbench.metrics import Metric
    from latentbench.plugins import Registry
    from latentbench.results.finished import FinishedRun
    from latentbench.results.schema import HorizonResult

__all__ = [
    "FigureDifference",
    "Side",
    "Verdict",
    "compared",
    "differences_from_first",
    "same_latents",
    "sides_of",
]

Verdict: TypeAlias = Literal["distinguishable", "not distinguishable", "no interval", "withheld"]
IN_NATS = (*HEADLINES, "x_gain")
OTHERS = ("x_gain", "direction_cos", "logmag_r2", "logmag_r2_var")
# A score of what is no model here, and what is won without context.
NOT_COMPARED = ("nll_baseline", "dnll_capacity")
OF_LATENTS = "latent units"


class FigureDifference(Record):
    """A figure of one run minus that of the first run, over the eval speakers both have.

    Where they have none in common, as on two corpora, over those of each side, apart.

    Attributes:
        run: label.
        matched: label of the horizon.
        name: of the figure, over all eval frames.
        unit: that of the figure, but `nats/dim` for nats where the latents are not the same;
            empty for a pure number.
        value: None where there is none.
        low: lower bound of the 95 % interval over speakers, None where there is none.
        high: upper bound.
        speakers: that both have; where they have none in common, those of the two together.
        paired: whether the interval is over the same speakers in both.
        left_out: speakers that only one of them has, where it is.
        verdict: `distinguishable` where the interval excludes 0; `withheld` where the rows are
            not alike, whatever the interval.
        reason: why there is no interval or no verdict.
    """

    run: str
    matched: str
    name: str
    unit: str
    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    speakers: int = 0
    left_out: int = 0
    paired: bool = True
    verdict: Verdict
    reason: str = ""


@dataclass
class Side:
    """One run at one horizon.

    Attributes:
        run: that it is of.
        horizon: None where the run has no such horizon.
        metrics: name -> those that can be made here.
        tables: metric -> the table of its speakers, the mean over the seeds of the run.
        utterances: that have a scored frame.
        unusable: metric -> why it cannot be made here.
        problem: why there are no tables.
    """

    run: FinishedRun
    horizon: HorizonResult | None
    metrics: dict[str, Metric] = field(default_factory=dict)
    tables: dict[str, SpeakerTable] = field(default_factory=dict)
    utterances: frozenset[str] = frozenset()
    unusable: dict[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def units(self) -> dict[str, str]:
        """Figure -> unit, of those over all eval frames that were measured, and of scores."""
        figures = () if self.horizon is None else self.horizon.figures
        whole = (one for one in figures if (one.split, one.slice) == ("eval", "all") and one.n)
        scores = {name: self.metrics[name].unit for name in SCORES if name in self.tables}
        return scores | {one.name: one.unit for one in whole}

    @property
    def target(self) -> str:
        """What the run predicted."""
        return str(self.run.result.config["task"]["target"])

    @property
    def cut(self) -> bool:
        """Whether `evaluation.max_frames` left eval frames out."""
        found = self.horizon
        return found is not None and found.scored.get("eval") != found.frames.get("eval")

    def lack(self, name: str) -> str:
        """Why it has no figure of that name; empty where it has."""
        label = self.run.label
        if self.horizon is None:
            return f"{label} has no such horizon"
        if not self.horizon.seeds:
            return f"{label} failed there"
        if name not in self.units:
            return f"{label} has no such figure"
        if name in self.tables:
            return ""
        return (
            self.unusable.get(name) or self.problem or (f"{label} kept no scores of it per frame")
        )


class _PerDimension(SpeakerTable):
    """A figure in nats per frame, per dimension."""

    def __init__(self, table: SpeakerTable, dim: int) -> None:
        self.table = table
        self.dim = dim
        self.speakers = table.speakers
        self.frames = table.frames
        self.costly = table.costly

    def values(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.table.values(weights) / self.dim


def sides_of(
    runs: Sequence[FinishedRun], labels: Sequence[Mapping[int, str]], registry: Registry
) -> dict[str, list[Side]]:
    """Label of a horizon -> each run there, in their order.

    Args:
        runs: that are compared.
        labels: of each run: horizon k -> label; those of one label are compared.
        registry: where the metrics of the runs are.
    """
    by_label = [
        {names[horizon.k]: horizon for horizon in run.result.horizons}
        for run, names in zip(runs, labels, strict=True)
    ]
    return {
        matched: [
            _side(run, found.get(matched), registry)
            for run, found in zip(runs, by_label, strict=True)
        ]
        for matched in dict.fromkeys(label for found in by_label for label in found)
    }


def differences_from_first(sides: Mapping[str, Sequence[Side]]) -> Iterator[FigureDifference]:
    """The differences of every run but the first from it, by horizon and run."""
    for matched, (first, *others) in sides.items():
        for other in others:
            alike = same_latents(other.run, first.run)
            for name in _names(other.units, first.units, alike=alike):
                yield compared(matched, name, other, first)


def _side(run: FinishedRun, horizon: HorizonResult | None, registry: Registry) -> Side:
    side = Side(run, horizon)
    config = RunConfig.model_validate(run.result.config)
    for name in dict.fromkeys((*side.units, *SCORES)):
        if name not in NOT_COMPARED:
            try:
                side.metrics[name] = _metric(registry, name, config)
            except UsageError as error:
                side.unusable[name] = error.message
    if horizon is not None and side.metrics:
        _read_tables(side, horizon)
    return side


def _metric(registry: Registry, name: str, config: RunConfig) -> Metric:
    """The metric of that name as the run had it.

    Raises:
        UsageError: there is none, or more than one, or it cannot be made here.
    """
    if all(one.spec.name != name for one in registry.of_kind("metric")):
        raise UsageError(f"no metric '{name}' is installed or given by --plugin")
    return metric_of(name, config, registry)


def _read_tables(side: Side, horizon: HorizonResult) -> None:
    """Fill in the tables of those metrics whose columns are in `frames.parquet`."""
    file = RunFolder(side.run.folder).frames_file
    if not file.exists():
        side.problem = f"{side.run.label} has no {file.name} any more"
        return
    reads = {name: tuple(metric.columns) for name, metric in side.metrics.items()}
    per_seed: dict[str, list[SpeakerTable]] = {}
    try:
        for rows in _rows_of_seeds(file, horizon, {one for read in reads.values() for one in read}):
            side.utterances = frozenset(rows["utterance"].unique().to_pylist())
            codes, speakers = speaker_codes(rows)
            for name, read in reads.items():
                if set(read) <= set(rows.column_names):
                    columns = {one: rows[one].to_numpy().astype(np.float64) for one in read}
                    table = side.metrics[name].statistic.reduce(columns, codes, speakers)
                    per_seed.setdefault(name, []).append(table)
    except DamagedFileError:
        side.problem = f"{file.name} of {side.run.label} cannot be read"
        return
    side.tables = {name: SeedMean(found) for name, found in per_seed.items()}


def _rows_of_seeds(file: Path, horizon: HorizonResult, columns: set[str]) -> Iterator[pa.Table]:
    """The scored eval frames of each seed, those of the columns that are there."""
    with reading(file, AGAIN):
        there = sorted(columns & set(pq.read_schema(file).names))
        for seed in horizon.seeds:
            yield pq.read_table(
                file,
                columns=["speaker", "utterance", *there],
                filters=[("split", "=", "eval"), ("horizon", "=", horizon.k), ("seed", "=", seed)],
            )


def _names(one: Mapping[str, str], other: Mapping[str, str], *, alike: bool) -> list[str]:
    """The gain or the part due to context where both have it, else ΔNLL, then what either has.

    Scores themselves only where the latents are alike.
    """
    there = {**other, **one}
    measured = [name for name in HEADLINES if name in there]
    both = [name for name in measured if name in one and name in other]
    headline = next(iter(both or measured), "dnll")
    apart = {*HEADLINES, *NOT_COMPARED, *(() if alike else SCORES)} - {headline}
    ordered = dict.fromkeys((headline, *OTHERS, *there))
    return [name for name in ordered if name in there and name not in apart]


def compared(matched: str, name: str, other: Side, first: Side) -> FigureDifference:
    """One figure of a run minus that of another, at one horizon.

    Args:
        matched: label of the horizon.
        name: of the figure.
        other: that it is the difference of.
        first: that it stands against.
    """
    unit = {**other.units, **first.units}.get(name, "")
    other_latents = not same_latents(other.run, first.run)
    per_dim = other_latents and (name in IN_NATS or unit == NATS)
    if name in IN_NATS or per_dim:
        unit = PER_DIM if per_dim else NATS
    place: dict[str, Any] = {"run": other.run.label, "matched": matched, "name": name, "unit": unit}
    lacking = first.lack(name) or other.lack(name)
    if lacking or other.horizon is None or first.horizon is None:
        return FigureDifference(**place, verdict="no interval", reason=lacking)
    tables = [
        _PerDimension(side.tables[name], horizon.dim) if per_dim else side.tables[name]
        for side, horizon in ((other, other.horizon), (first, first.horizon))
    ]
    paired = _same_people(other.run, first.run) and not set(tables[0].speakers).isdisjoint(
        tables[1].speakers
    )
    found = difference(*tables) if paired else difference_apart(*tables)
    verdict: Verdict = "no interval"
    reason = worded(found.note, sampled(first.run.result)[:-1])
    unlike = _unfit(other, first) or _unlike(other, first, same_speakers=paired)
    if other.metrics[name].options != first.metrics[name].options:
        unlike = unlike or "its options are not the same"
    if other_latents and unit == OF_LATENTS:
        unlike = unlike or "it is in units of the latents, and these are not the same"
    if unlike:
        verdict, reason = "withheld", unlike
    elif found.distinguishable is not None:
        verdict = "distinguishable" if found.distinguishable else "not distinguishable"
    return FigureDifference(
        **place,
        value=known(found.value),
        low=known(found.low),
        high=known(found.high),
        speakers=found.speakers,
        left_out=found.left_out,
        paired=paired,
        verdict=verdict,
        reason=reason,
    )


def _unfit(other: Side, first: Side) -> str:
    """Which of two rows is of models that were still learning; empty where neither is."""
    sides = (first, other)
    unfit = [one.run.label for one in sides if one.horizon and not_fitted(one.horizon)]
    return f"{' and '.join(unfit)} {NOT_FITTED}" if unfit else ""


def _unlike(other: Side, first: Side, *, same_speakers: bool) -> str:
    """Why the difference of two rows says nothing of the runs; empty where it does.

    Other speakers have other utterances; the same speakers with other utterances are no pair.
    """
    if other.target != first.target:
        return f"the targets are not the same, {other.target} and {first.target}"
    sides = (first, other)
    if leaky := [one.run.label for one in sides if one.horizon is not None and one.horizon.leaky]:
        return f"{' and '.join(leaky)} leaky: the context has seen the target"
    if not same_speakers:
        return ""
    if other.run.used("eval") != first.run.used("eval"):
        return "the eval utterances are not the same"
    if (other.cut or first.cut) and other.utterances != first.utterances:
        return "evaluation.max_frames left different utterances to score"
    return ""


def same_latents(one: FinishedRun, other: FinishedRun) -> bool:
    """Whether the same audio has the same latents in both; maps of them are fitted on train.

    A factorisation that trains learns other states on another machine, or by more threads.
    """
    first, second = one.result, other.result
    maps, others = (
        (one.config.get("factorization"), one.config["transforms"]) for one in (first, second)
    )
    return (
        first.encoder == second.encoder
        and first.provenance.preparation == second.provenance.preparation
        and maps == others
        and (not any(maps) or one.used("train") == other.used("train"))
        and _learned(one) == _learned(other)
    )


def _learned(run: FinishedRun) -> str:
    """Digest of what the factorisation of a run has learned; empty where that is not at hand."""
    chosen = run.result.config.get("factorization", {})
    file = fitted_file(run.folder, chosen.get("name", ""))
    return file_digest(file, XXH3) if file.is_file() else ""


def _same_people(one: FinishedRun, other: FinishedRun) -> bool:
    """Whether a speaker id means the same person in both.

    It does within one corpus, and where corpora share audio. Otherwise equal ids are chance: two
    corpora may each have a speaker `1`.
    """
    if one.result.corpus.identity == other.result.corpus.identity:
        return True
    heard = [{audio for audio, _ in run.used("eval").values()} for run in (one, other)]
    return not heard[0].isdisjoint(heard[1])
