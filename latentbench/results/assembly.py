"""From finished cells to a result: figures, tables, weights and `result.json`."""

from __future__ import annotations

import math
import os
import shutil
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from latentbench.config import ComponentConfig, density_of, make
from latentbench.files import disk_full_explained, reading, sealed, write_sealed
from latentbench.latents.degeneracy import degeneracies
from latentbench.metrics.metric import NO_LOG_DENSITY, lacking
from latentbench.models import MODELS
from latentbench.protocols import followed
from latentbench.results.figures import GAP, Figures
from latentbench.results.folder import AGAIN, CURVES, read_record
from latentbench.results.horizons import FIGURES, horizons_csv
from latentbench.results.schema import ALONE, SPLITS, CellRecord, HorizonResult, Result
from latentbench.results.standing import BOUND
from latentbench.results.summary import summarise_frames, summarise_rollouts
from latentbench.specs import PredictorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from latentbench.config import RunConfig
    from latentbench.metrics import Metric
    from latentbench.plugins import Registry
    from latentbench.results.folder import RunFolder
    from latentbench.results.schema import (
        CorpusFacts,
        EncoderFacts,
        LatentFacts,
        Provenance,
        Split,
    )
    from latentbench.specs import Density

__all__ = ["assemble", "metric_of", "metrics_of"]

# What each control of a run is fitted for.
CONTROL_METRICS = {
    "unconditional": ("dnll_capacity", "dnll_context"),
    "x_target": ("x_gain",),
}
ALL = "all"
NOT_RUN = "it was not run"
# What the cells of all seeds of a horizon have in common.
ALIKE = ("parameters", "dim", "iid_floor", "frames", "scored", "too_short")


def assemble(
    run: RunFolder,
    config: RunConfig,
    registry: Registry,
    *,
    encoder: EncoderFacts,
    corpus: CorpusFacts,
    provenance: Provenance,
    stamps: Sequence[str] = (),
    latents: Mapping[Split, LatentFacts] = MappingProxyType({}),
) -> Result:
    """Sum up every cell of a run and write all files of its folder.

    Args:
        run: the open folder; its cells have ended.
        config: the resolved configuration.
        registry: where the metrics are.
        encoder: the encoder as it was.
        corpus: the corpus as it was used.
        provenance: what made the numbers.
        stamps: of the encoder; those of a split by file, of a limit, of a slice alone, of a leaky
            horizon, of degenerate latents and of a predictor without its controls are added here.
        latents: what the frames of each side look like.

    Raises:
        LatentbenchError: the disk is full.
        DamagedFileError: a file of a cell is not what was written.
    """
    metrics, density = metrics_of(config, registry), density_of(config.predictor, registry)
    horizons = [
        _horizon(run, config, metrics, density, encoder=encoder, k=k) for k in config.task.horizons
    ]
    leaky = [f"k={found.k}" for found in horizons if found.leaky]
    limit = config.utterances.limit
    result = Result(
        config=config.model_dump(mode="json"),
        protocol=followed(config, registry),
        encoder=encoder,
        corpus=corpus,
        horizons=tuple(horizons),
        stamps=(
            *stamps,
            *(["same speakers"] if config.split.by == "file" else []),
            *([ALONE] if _alone(config.predictor, registry) else []),
            *([f"limited to {limit} utterances"] if limit else []),
            *([f"only {config.task.only} frames"] if config.task.only != ALL else []),
            *([f"leaky: {', '.join(leaky)}"] if leaky else []),
            *dict.fromkeys(
                found.name
                for facts in latents.values()
                for found in degeneracies(facts)
                if found.bounds_nothing
            ),
        ),
        latents=dict(latents),
        provenance=provenance,
    )
    _write(run, result, config.seeds)
    return result


def metrics_of(config: RunConfig, registry: Registry) -> list[Metric]:
    """The metrics asked for, those of the controls, and the baseline's NLL that ΔNLL is against."""
    of_controls = [name for control in config.controls for name in CONTROL_METRICS[control]]
    asked = [one.name for one in config.evaluation.metrics]
    names = dict.fromkeys((*asked, "nll_baseline", *of_controls))
    return [metric_of(name, config, registry) for name in names]


def metric_of(name: str, config: RunConfig, registry: Registry) -> Metric:
    """The metric of that name with the options it has in a run, its defaults filled in.

    Raises:
        UsageError: there is no such metric, or it does not take these options.
    """
    asked = {one.name: one for one in config.evaluation.metrics}
    metric: Metric = make(asked.get(name, ComponentConfig(name=name)), "metric", registry)
    return metric


def _horizon(
    run: RunFolder,
    config: RunConfig,
    metrics: Sequence[Metric],
    density: Density,
    *,
    encoder: EncoderFacts,
    k: int,
) -> HorizonResult:
    seeds = config.seeds
    records = {
        seed: read_record(run.cell(k, seed))
        or CellRecord(horizon=k, seed=seed, status="failed", error=NOT_RUN)
        for seed in seeds
    }
    done = {seed: record for seed, record in records.items() if record.status == "done"}
    errors = [
        f"seed {seed}: {record.error}" if len(seeds) > 1 else record.error
        for seed, record in records.items()
        if record.status == "failed"
    ]
    frames, rollouts = (
        [file for seed in done if (file := run.cell(k, seed) / name).exists()]
        for name in ("frames.parquet", "rollout.parquet")
    )
    first = next(iter(done.values()), None)
    dim = first.dim if first else 0
    absent = {one.name: lacking(one, density, config.controls, dim) for one in metrics}
    by = config.split.by
    figures = summarise_frames(frames, metrics, config.task.slices, absent, by) if done else ()
    alike = {name: getattr(first, name) for name in ALIKE} if first else {}
    horizon = HorizonResult(
        k=k,
        milliseconds=1000 * k / encoder.frame_rate,
        leaky=k <= encoder.look_ahead,
        status="failed" if errors else "done",
        errors=tuple(errors),
        seeds=tuple(done),
        figures=tuple(figures),
        rollout=summarise_rollouts(rollouts, by) if done else None,
        facts=_facts(list(done.values())),
        steps=max((one.steps for one in done.values() if one.steps is not None), default=None),
        convergence={
            role: tuple(one.convergence[role] for one in done.values())
            for role in (first.convergence if first else {})
        },
        seconds=_sums([record.seconds for record in done.values()]),
        taken_over=_taken_over(list(done.values())),
        **alike,
    )
    return horizon.model_copy(update={"notes": tuple(_notes(horizon, config, density))})


def _taken_over(records: Sequence[CellRecord]) -> dict[str, tuple[str, ...]]:
    """Roles of models -> the runs beside this one that fitted them."""
    found: dict[str, set[str]] = {}
    for record in records:
        for role, run in record.taken_over.items():
            found.setdefault(role, set()).add(run)
    return {role: tuple(sorted(runs)) for role, runs in found.items()}


def _facts(records: Sequence[CellRecord]) -> dict[str, float]:
    """What the predictors tell of themselves, means over seeds."""
    names = dict.fromkeys(name for one in records for name in one.facts)
    told = {name: [one.facts[name] for one in records if name in one.facts] for name in names}
    return {name: sum(values) / len(values) for name, values in told.items()}


def _alone(predictor: ComponentConfig, registry: Registry) -> bool:
    """Whether a predictor has controls that always stand beside it, and is none of them."""
    spec = registry.get("predictor", predictor.name).spec
    controls = spec.controls.values() if isinstance(spec, PredictorSpec) else ()
    options = predictor.model_dump()
    return bool(controls) and not any(
        all(options.get(key) == value for key, value in one.items()) for one in controls
    )


def _notes(horizon: HorizonResult, config: RunConfig, density: Density) -> list[str]:
    """What the predictor tells, and why figures are blank or have no interval, one each."""
    if not horizon.seeds:
        return ["no figures: every cell failed"]
    told = ", ".join(f"{name} {value:.4g}" for name, value in horizon.facts.items())
    notes = [f"{config.predictor.name}: {told}"] if told else []
    for split in SPLITS:
        if not horizon.frames.get(split):
            short = horizon.too_short.get(split, 0)
            notes.append(f"{split}: no frame has a whole context; {short} utterances too short")
            continue
        of_split = [one for one in horizon.figures if one.split == split]
        empty = {one.slice for one in of_split if not one.n and not one.interval_note}
        notes.extend(
            f"{split}, {name}: none of the scored frames is in the slice"
            for name in config.task.slices
            if name in empty
        )
        blank = {one.name: one.interval_note for one in of_split if not one.n}
        for reason in filter(None, dict.fromkeys(blank.values())):
            names = [name for name, its in blank.items() if its == reason]
            notes.append(f"{split}: no {', '.join(names)}: {reason}")
    if horizon.rollout is not None and not horizon.rollout.n:
        reason = "no eval utterance drawn is long enough"
        if not config.rollout.utterances:
            reason = "rollout.utterances is 0"
        elif horizon.rollout.mode == "sample" and horizon.rollout.utterances:
            reason = f"by samples and without a gap: {NO_LOG_DENSITY}"
        notes.append(f"rollout: {reason}")
    if density == "bound":
        notes.append(BOUND)
    measured = {one.name for one in horizon.figures}
    published = dict.fromkeys(name for _, name, _ in FIGURES.values() if name != GAP)
    notes.extend(
        f"{name}: not among evaluation.metrics" for name in published if name not in measured
    )
    notes.extend(_without_interval(horizon))
    return notes


def _without_interval(horizon: HorizonResult) -> Iterator[str]:
    """What has no interval over speakers, and why; one note for all figures of one reason."""
    for split in SPLITS:
        counted = [one for one in horizon.figures if one.split == split and one.n]
        reasons: dict[str, list[str]] = {}
        for one in counted:
            if one.low is None:
                name = one.name if one.slice == ALL else f"{one.name} ({one.slice})"
                reasons.setdefault(one.interval_note, []).append(name)
        for reason, names in reasons.items():
            whose = "any figure" if len(names) == len(counted) else ", ".join(names)
            yield f"{split}: no interval of {whose}: {reason}"
    if (rollout := horizon.rollout) is not None and rollout.n:
        gaps = {
            "mean gap": (rollout.mean_gap, rollout.mean_interval),
            "median gap": (rollout.median_gap, rollout.median_interval),
        }
        for name, (gap, interval) in gaps.items():
            if interval.low is None and math.isfinite(gap):  # an infinite one says why itself
                yield f"rollout: no interval of the {name}: {interval.note}"


def _sums(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}


def _write(run: RunFolder, result: Result, seeds: Sequence[int]) -> None:
    """Tables and weights first, `result.json` last: where it is, all of it is."""
    done = [(found.k, seed) for found in result.horizons for seed in found.seeds]
    frames = _existing_of(run, done, "frames.parquet")
    rollouts = _existing_of(run, done, "rollout.parquet")
    curves = _existing_of(run, done, CURVES)
    parts = (*frames, *rollouts, *curves)
    needed = sum(file.stat().st_size for file in parts) + len(result.to_json())
    with disk_full_explained(run.path, needed):
        _merge(curves, run.curves_file)
        _merge(frames, run.frames_file)
        _merge(rollouts, run.rollout_file)
        for k, seed in done:
            weights = run.cell(k, seed) / MODELS
            if weights.exists():
                _link_or_copy(weights, run.model(k, seed, len(seeds)))
        write_sealed(run.horizons_file, horizons_csv(result))
        write_sealed(run.figures_file, Figures.of(result, run.path.name).to_csv())
        write_sealed(run.result_file, result.to_json())


def _existing_of(run: RunFolder, cells: Sequence[tuple[int, int]], name: str) -> list[Path]:
    files = [run.cell(k, seed) / name for k, seed in cells]
    return [file for file in files if file.exists()]


def _merge(parts: Sequence[Path], merged: Path) -> None:
    """Write the rows of all parts, in their order, as one Parquet file.

    One row group is in memory at a time. Nothing is written where there are no parts.
    """
    if not parts:
        return
    with sealed(merged) as partial, pa.OSFile(str(partial), "wb") as sink:
        with reading(parts[0], AGAIN):
            schema = pq.read_schema(parts[0])
        with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            for part in parts:
                for rows in _row_groups(part):
                    writer.write_table(rows)


def _row_groups(part: Path) -> Iterator[pa.Table]:
    with reading(part, AGAIN), pq.ParquetFile(part) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)


def _link_or_copy(source: Path, target: Path) -> None:
    """Put a file at a second place, without a second copy where the file system allows it."""
    with sealed(target) as partial:
        with suppress(OSError):
            os.link(source, partial)
        if not partial.exists():
            shutil.copyfile(source, partial)
