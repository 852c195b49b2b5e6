"""Every run against the first one given: which figures can be told apart.

At each horizon that both have, the difference of a figure is taken over the speakers that both
evaluated, on the same draws of them (docs/uncertainty.md), each figure being the mean over the
seeds of its run; where they have no speaker in common, over those of each, apart. Where the
latents are not the same, nats are per dimension: a nat per frame of one encoder is not a nat per
frame of another. No verdict is given on rows that are not alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentbench.comparison.cell_tables import CellTables, read_tables
from latentbench.comparison.schema import PairedDifference
from latentbench.config import RunConfig
from latentbench.errors import UsageError
from latentbench.metrics.statistics import SpeakerTable
from latentbench.results.assembly import metric_of
from latentbench.results.uncertainty import difference, difference_apart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from latentbench.comparison.runs import FinishedRun
    from latentbench.comparison.schema import Verdict
    from latentbench.metrics import Metric
    from latentbench.plugins import Registry
    from latentbench.results.schema import HorizonResult

__all__ = ["paired_differences"]

HEADLINES = ("dnll_context", "dnll")
IN_NATS = (*HEADLINES, "x_gain")
OTHERS = ("x_gain", "direction_cos", "logmag_r2", "logmag_r2_var")
# Likelihoods themselves, of which other latents have others, and what is won without context.
NOT_COMPARED = ("nll", "nll_baseline", "dnll_capacity")
OTHER_UTTERANCES = "the eval utterances are not the same"
OTHER_SCORED = "evaluation.max_frames left different utterances to score"
OTHER_TARGET = "the targets are not the same, {} and {}"
OTHER_OPTIONS = "its options are not the same"
OTHER_LATENTS = "it is in units of the latents, and these are not the same"
NATS = "nats/frame"
OF_LATENTS = "latent units"
NOT_KNOWN = "no metric '{}' is installed or given by --plugin"


@dataclass(frozen=True)
class _Side:
    """One run at one horizon; `horizon` is None where it has no such horizon.

    `unusable` are the metrics that cannot be made here, and why; `metrics` the others.
    """

    run: FinishedRun
    horizon: HorizonResult | None
    cell: CellTables
    unusable: Mapping[str, str]
    metrics: Mapping[str, Metric]

    @property
    def measured(self) -> dict[str, str]:
        return _measured(self.horizon)

    def lack(self, name: str) -> str:
        """Why it has no figure of that name; empty where it has."""
        label = self.run.label
        if self.horizon is None:
            return f"{label} has no such horizon"
        if not self.horizon.seeds:
            return f"{label} failed there"
        if name not in self.measured:
            return f"{label} has no such figure"
        if name in self.unusable:
            return self.unusable[name]
        if self.cell.problem:
            return self.cell.problem
        return "" if name in self.cell.figures else f"{label} kept no scores of it per frame"


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


def paired_differences(
    runs: Sequence[FinishedRun], labels: Sequence[Mapping[int, str]], registry: Registry
) -> Iterator[PairedDifference]:
    """Every run minus the first, per horizon and figure, with what can be said of it.

    Args:
        runs: the reference first.
        labels: for each run: horizon k -> label; horizons of one label are compared.
        registry: where the metrics of the runs are.
    """
    if len(runs) == 1:
        return
    by_label = [
        {names[horizon.k]: horizon for horizon in run.result.horizons}
        for run, names in zip(runs, labels, strict=True)
    ]
    for matched in dict.fromkeys(label for found in by_label for label in found):
        reference, *others = (
            _side(run, found.get(matched), registry)
            for run, found in zip(runs, by_label, strict=True)
        )
        for other in others:
            for name in _names(other.measured, reference.measured):
                yield _compared(matched, name, other, reference)


def _side(run: FinishedRun, horizon: HorizonResult | None, registry: Registry) -> _Side:
    metrics: dict[str, Metric] = {}
    unusable: dict[str, str] = {}
    config = RunConfig.model_validate(run.result.config)
    for name in _measured(horizon):
        if name not in NOT_COMPARED:
            try:
                metrics[name] = _metric(registry, name, config)
            except UsageError as error:
                unusable[name] = error.message
    found = CellTables({})
    if horizon is not None and metrics:
        found = read_tables(run, horizon, metrics)
    return _Side(run, horizon, found, unusable, metrics)


def _metric(registry: Registry, name: str, config: RunConfig) -> Metric:
    """The metric of that name as the run had it.

    Raises:
        UsageError: there is none, or more than one, or it cannot be made here.
    """
    if all(one.spec.name != name for one in registry.of_kind("metric")):
        raise UsageError(NOT_KNOWN.format(name))
    return metric_of(name, config, registry)


def _measured(horizon: HorizonResult | None) -> dict[str, str]:
    """Figure -> unit, of those over all eval frames that were measured."""
    figures = () if horizon is None else horizon.figures
    whole = (one for one in figures if (one.split, one.slice) == ("eval", "all") and one.n)
    return {one.name: one.unit for one in whole}


def _names(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The part due to context where both have it, else ΔNLL, then what either has."""
    there = {**other, **one}
    both = one.keys() & other.keys() if one and other else there.keys()
    headline = [name for name in HEADLINES if name in both] or [HEADLINES[1]]
    ordered = dict.fromkeys((headline[0], *OTHERS, *there))
    apart = {*HEADLINES, *NOT_COMPARED} - {headline[0]}
    return [name for name in ordered if name in there and name not in apart]


def _compared(matched: str, name: str, other: _Side, reference: _Side) -> PairedDifference:
    unit = {**other.measured, **reference.measured}.get(name, "")
    other_latents = not _same_latents(other.run, reference.run)
    per_dim = other_latents and (name in IN_NATS or unit == NATS)
    if name in IN_NATS or per_dim:
        unit = "nats/dim" if per_dim else NATS
    lacking = reference.lack(name) or other.lack(name)
    if lacking or other.horizon is None or reference.horizon is None:
        return PairedDifference(
            run=other.run.label,
            matched=matched,
            name=name,
            unit=unit,
            verdict="no interval",
            reason=lacking,
        )
    tables = [
        _PerDimension(side.cell.figures[name], horizon.dim) if per_dim else side.cell.figures[name]
        for side, horizon in ((other, other.horizon), (reference, reference.horizon))
    ]
    paired = _same_people(other.run, reference.run) and not set(tables[0].speakers).isdisjoint(
        tables[1].speakers
    )
    found = difference(*tables) if paired else difference_apart(*tables)
    verdict: Verdict = "no interval"
    reason = found.note
    unlike = _unlike(other, reference, same_speakers=paired)
    if other.metrics[name].options != reference.metrics[name].options:
        unlike = unlike or OTHER_OPTIONS
    if other_latents and unit == OF_LATENTS:
        unlike = unlike or OTHER_LATENTS
    if unlike:
        verdict, reason = "withheld", unlike
    elif found.distinguishable is not None:
        verdict = "distinguishable" if found.distinguishable else "not distinguishable"
    return PairedDifference(
        run=other.run.label,
        matched=matched,
        name=name,
        unit=unit,
        value=_known(found.value),
        low=_known(found.low),
        high=_known(found.high),
        speakers=found.speakers,
        left_out=found.left_out,
        paired=paired,
        verdict=verdict,
        reason=reason,
    )


def _unlike(other: _Side, reference: _Side, *, same_speakers: bool) -> str:
    """Why the difference of two rows says nothing of the runs; empty where it does.

    Other speakers have other utterances; the same speakers with other utterances are no pair.
    """
    targets = [side.run.result.config["task"]["target"] for side in (other, reference)]
    if targets[0] != targets[1]:
        return OTHER_TARGET.format(*targets)
    leaky = [
        side.run.label
        for side in (reference, other)
        if side.horizon is not None and side.horizon.leaky
    ]
    if leaky:
        return f"{' and '.join(leaky)} leaky: the context has seen the target"
    if not same_speakers:
        return ""
    if _utterances(other.run, "eval") != _utterances(reference.run, "eval"):
        return OTHER_UTTERANCES
    if (_cut(other) or _cut(reference)) and other.cell.utterances != reference.cell.utterances:
        return OTHER_SCORED
    return ""


def _cut(side: _Side) -> bool:
    """Whether `evaluation.max_frames` left eval frames out."""
    horizon = side.horizon
    return horizon is not None and horizon.scored.get("eval") != horizon.frames.get("eval")


def _same_latents(one: FinishedRun, other: FinishedRun) -> bool:
    """Whether the same audio has the same latents in both; transforms are fitted on train."""
    first, second = one.result, other.result
    return (
        first.encoder == second.encoder
        and first.provenance.preparation == second.provenance.preparation
        and first.config["transforms"] == second.config["transforms"]
        and (
            not first.config["transforms"]
            or _utterances(one, "train") == _utterances(other, "train")
        )
    )


def _same_people(one: FinishedRun, other: FinishedRun) -> bool:
    """Whether a speaker id means the same person in both.

    It does within one corpus, and where corpora share audio. Otherwise equal ids are chance: two
    corpora may each have a speaker `1`.
    """
    if one.result.corpus.identity == other.result.corpus.identity:
        return True
    heard = [set(_utterances(run, "eval").values()) for run in (one, other)]
    return not heard[0].isdisjoint(heard[1])


def _utterances(run: FinishedRun, split: str) -> dict[str, str]:
    """Utterance id -> digest of its audio, of those used on one side of the split."""
    return {
        row.utterance: row.audio for row in run.utterances if row.split == split and not row.skipped
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
