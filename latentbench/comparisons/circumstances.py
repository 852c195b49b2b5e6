"""What is the same in all runs of a comparison, what differs, and what must not."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from latentbench.results.schema import SPLITS, Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from latentbench.results.finished import FinishedRun
    from latentbench.results.schema import Result

__all__ = ["Circumstance", "different_utterances", "find_circumstances"]

BLANK = "-"
COMPARED = ("encoder", "predictor", "corpus")
# Frames of context and staleness follow from the frame rate and stand in the tables.
TASK = ("target", "frame_set", "horizons_ms")


class Circumstance(Record):
    """One circumstance that is not the same in all runs: run label -> what it is there."""

    what: str
    values: dict[str, str]


def find_circumstances(
    runs: Sequence[FinishedRun],
) -> tuple[tuple[Circumstance, ...], tuple[str, ...]]:
    """The circumstances that differ, and those that were checked and do not.

    Options of the components that are compared count where two runs use the same component.
    """
    facts = {run.label: dict(_facts(run)) for run in runs}
    topics: dict[str, list[Circumstance]] = {}
    for topic, key in dict.fromkeys(key for found in facts.values() for key in found):
        values = {label: found.get((topic, key), BLANK) for label, found in facts.items()}
        topics.setdefault(topic, [])
        if len(set(values.values())) > 1:
            topics[topic].append(Circumstance(what=key, values=values))
    libraries = {run.label: run.result.provenance.libraries for run in runs}
    topics.setdefault("software", []).extend(_common(libraries))
    options = [found for section in COMPARED for found in _options(runs, section)]
    differing = [one for found in topics.values() for one in found] + options
    return tuple(differing), tuple(topic for topic, found in topics.items() if not found)


def _facts(run: FinishedRun) -> Iterator[tuple[tuple[str, str], str]]:
    """(Topic, circumstance) -> what it is; all but libraries and the options compared."""
    result = run.result
    config, frame = result.config, 1000 / result.encoder.frame_rate
    yield ("encoder", "encoder"), config["encoder"]["name"]
    yield ("predictor", "predictor"), config["predictor"]["name"]
    yield ("corpus", "corpus"), result.corpus.name
    used = sorted(run.used().items())
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
    yield ("factorization", "factorization"), str(config.get("factorization") or "none")
    yield ("transforms", "transforms"), str(config["transforms"] or "none")
    for topic, sections in (
        ("training", ("training",)),
        ("evaluation", ("evaluation", "rollout", "baseline")),
        ("utterance choice", ("utterances", "split")),
    ):
        for section in sections:
            for key, value in config[section].items():
                yield (topic, f"{section}.{key}"), str(value)
    parameters = sorted({found.parameters for found in result.horizons if found.fitted})
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


def _options(runs: Sequence[FinishedRun], section: str) -> Iterator[Circumstance]:
    """Options, weights and libraries that differ between runs of one component."""
    by_name: dict[str, list[FinishedRun]] = {}
    for run in runs:
        by_name.setdefault(run.result.config[section]["name"], []).append(run)
    for name, group in by_name.items():
        facts: dict[str, Mapping[str, Any]] = {
            run.label: run.result.config[section] for run in group
        }
        if section == "encoder":
            made = {run.label: run.result.encoder.fingerprint for run in group}
            facts = {label: {**made[label], **options} for label, options in facts.items()}
        yield from _common(facts, f"{section} {name}: ")


def _common(facts: Mapping[str, Mapping[str, Any]], prefix: str = "") -> Iterator[Circumstance]:
    """What differs among the keys that all the runs have."""
    for key in next(iter(facts.values())):
        told = {label: str(one[key]) for label, one in facts.items() if key in one}
        if len(told) == len(facts) and len(set(told.values())) > 1:
            yield Circumstance(what=f"{prefix}{key}", values=told)


def different_utterances(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """Runs that are meant to use the same audio and do not, with counts."""
    for audio in dict.fromkeys(run.audio for run in runs):
        group = [run for run in runs if run.audio == audio]
        used = [run.used() for run in group]
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


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]
