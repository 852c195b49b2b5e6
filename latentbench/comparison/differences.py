"""What is the same in all runs of a comparison, what differs, and what must not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentbench.comparison.schema import Difference
from latentbench.results.schema import SPLITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from latentbench.comparison.runs import FinishedRun
    from latentbench.results import Result

__all__ = ["Differences", "find_differences"]

BLANK = "-"
COMPARED = ("encoder", "predictor", "corpus")
# Frames of context and staleness follow from the frame rate and stand in the tables.
TASK = ("target", "frame_set", "horizons_ms")


@dataclass(frozen=True)
class Differences:
    """What `find_differences` found: warnings, what differs, and what does not."""

    warnings: tuple[str, ...]
    differences: tuple[Difference, ...]
    same: tuple[str, ...]


def find_differences(runs: Sequence[FinishedRun]) -> Differences:
    """Compare the circumstances of runs.

    Options of the components that are compared count where two runs use the same component.
    """
    facts = {run.label: dict(_facts(run)) for run in runs}
    topics: dict[str, list[Difference]] = {}
    for topic, key in dict.fromkeys(key for found in facts.values() for key in found):
        values = {label: found.get((topic, key), BLANK) for label, found in facts.items()}
        differing = topics.setdefault(topic, [])
        if len(set(values.values())) > 1:
            differing.append(Difference(what=key, values=values))
    libraries = topics.setdefault("software", [])
    libraries.extend(_common_only(runs, lambda result: result.provenance.libraries, ""))
    options = [found for section in COMPARED for found in _options(runs, section)]
    return Differences(
        warnings=tuple(_warnings(runs)),
        differences=tuple([one for found in topics.values() for one in found] + options),
        same=tuple(topic for topic, found in topics.items() if not found),
    )


def _facts(run: FinishedRun) -> Iterator[tuple[tuple[str, str], str]]:
    """(Topic, circumstance) -> what it is; all but libraries and the options compared."""
    result = run.result
    config, frame = result.config, 1000 / result.encoder.frame_rate
    yield ("encoder", "encoder"), config["encoder"]["name"]
    yield ("predictor", "predictor"), config["predictor"]["name"]
    yield ("corpus", "corpus"), result.corpus.name
    used = sorted(_used(run).items())
    yield ("utterances", "utterances"), f"{len(used):,} ({_digest(used)})"
    sides = [sorted(result.corpus.speakers[split]) for split in SPLITS]
    counts = " + ".join(f"{len(side):,}" for side in sides)
    whose = _digest([sorted(result.corpus.identity.items()), sides])
    yield ("speaker split", "train + eval speakers"), f"{counts} ({whose})"
    yield ("resampling", "resampled to"), f"{result.encoder.sample_rate:,.0f} Hz"
    yield ("resampling", "preparation"), result.provenance.preparation or "unknown"
    task = config["task"]
    yield ("task", "context"), f"{frame * task['context_frames']:.1f} ms"
    if task["target"] == "delta":
        yield ("task", "delta over"), f"{frame * task['step_frames']:.1f} ms"
    for key in TASK:
        yield ("task", f"task.{key}"), str(task.get(key))
    yield ("transforms", "transforms"), str(config["transforms"] or "none")
    for topic, sections in (
        ("training", ("training",)),
        ("evaluation", ("evaluation", "rollout", "baseline")),
        ("utterance choice", ("utterances", "split")),
    ):
        for section in sections:
            for key, value in config[section].items():
                yield (topic, f"{section}.{key}"), str(value)
    parameters = sorted({found.parameters for found in result.horizons if found.seeds})
    yield ("parameters", "parameters"), "/".join(f"{count:,}" for count in parameters) or BLANK
    yield ("scored audio", "scored audio"), _scored(result)
    seeds = dict.fromkeys(seed for found in result.horizons for seed in found.seeds)
    yield ("seeds", "seeds"), ", ".join(map(str, seeds)) or BLANK
    made = result.provenance
    commit = f" ({made.git_commit})" if made.git_commit else ""
    yield ("software", "latentbench"), f"{made.latentbench}{commit}"
    yield ("software", "python"), made.python
    yield ("machine", "platform"), made.platform
    yield ("machine", "device"), made.device


def _scored(result: Result) -> str:
    """Whether `evaluation.max_frames` left frames out: then less time of a faster encoder."""
    cut = max(
        (found for found in result.horizons if found.scored != found.frames),
        key=lambda found: found.k,
        default=None,
    )
    if cut is None:
        return "all"
    minutes = (cut.scored.get(side, 0) / result.encoder.frame_rate / 60 for side in SPLITS)
    return "the first " + " + ".join(f"{one:.1f}" for one in minutes) + " min (train + eval)"


def _options(runs: Sequence[FinishedRun], section: str) -> Iterator[Difference]:
    """Options, weights and libraries that differ between runs of one component."""
    by_name: dict[str, list[FinishedRun]] = {}
    for run in runs:
        by_name.setdefault(run.result.config[section]["name"], []).append(run)
    for name, group in by_name.items():
        prefix = f"{section} {name}: "
        yield from _common_only(group, lambda result: result.config[section], prefix)
        if section == "encoder":
            known = set(group[0].result.config[section])
            yield from _common_only(
                group,
                lambda result, known=known: {
                    key: value
                    for key, value in result.encoder.fingerprint.items()
                    if key not in known
                },
                prefix,
            )


def _common_only(runs: Sequence[FinishedRun], values: Any, prefix: str) -> Iterator[Difference]:
    """What differs among the keys that all the runs have."""
    found: dict[str, Mapping[str, Any]] = {run.label: values(run.result) for run in runs}
    first = next(iter(found.values()))
    for key in first:
        told = {label: str(one[key]) for label, one in found.items() if key in one}
        if len(told) == len(found) and len(set(told.values())) > 1:
            yield Difference(what=f"{prefix}{key}", values=told)


def _warnings(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """Runs that are meant to use the same audio and do not, with counts."""
    for audio in dict.fromkeys(run.audio for run in runs):
        group = [run for run in runs if run.audio == audio]
        used = [_used(run) for run in group]
        if all(one == used[0] for one in used):
            continue
        shared = set.intersection(*(set(one.items()) for one in used))
        counts = ", ".join(
            f"{run.label} {len(one):,}" for run, one in zip(group, used, strict=True)
        )
        ids = set.intersection(*(set(one) for one in used))
        changed = len(ids) - len({name for name, _ in shared})
        other = f"; {changed:,} of the same name are other audio or on the other side"
        yield (
            f"The runs did not use the same utterances: {counts}; {len(shared):,} are in all"
            f"{other if changed else ''}."
        )


def _used(run: FinishedRun) -> dict[str, tuple[str, str]]:
    """Utterance id -> digest of its audio, side of the split; those skipped left out."""
    return {row.utterance: (row.audio, row.split) for row in run.utterances if not row.skipped}


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]
