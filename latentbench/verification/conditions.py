"""Under which conditions a run was made, held against those of Phase 1."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from latentbench.config import RunConfig, dotted, read_layers, resolve
from latentbench.encoders.mimi import MimiEncoder
from latentbench.results.schema import Record
from latentbench.tasks import WindowTask
from latentbench.verification.references import HORIZONS, eval_speakers, reference_runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from latentbench.plugins import Registry
    from latentbench.results import Result
    from latentbench.verification.references import ReferenceRun

__all__ = ["SHOWN_BESIDE", "Condition", "conditions", "first_frame", "latents_of", "runs_beside"]

CORPUS = {"corpus": "librispeech", "subset": "train-clean-100"}
SPEAKERS = 251
# The beginnings of the digests of the published weights.
WEIGHTS = {"mimi": f"sha256:{MimiEncoder.weights_file.sha256}", "encodec-24k": "sha256:d7cc33bc"}
PCA = {"mimi-pca32": 32, "mimi-pca64": 64}
SHOWN_BESIDE = "mimi"
STEPS = (15_000, 25_000)  # of the reruns, and of the published run

# Keys that change no figure of the table: where things are, what else is measured, and how fast;
# corpus, weights and split have conditions of their own.
NO_MATTER = (
    "corpus.",
    "engine.",
    "controls",
    "device",
    "encoder.weights",
    "encoder.name",
    "evaluation.batch_size",
    "evaluation.metrics",
    "rollout.seed",  # another choice of utterances, as each rerun made
    "task.context_ms",  # a result has all its times in frames
    "task.frame_set",  # by the first frame predicted at each k
    "task.horizons",
    "task.slices",
    "task.step_ms",
    "transforms",
)
TOLERATED = {"training.steps": STEPS}


class Condition(Record):
    """One condition of Phase 1, as it was met.

    Attributes:
        name: `latents`, `weights`, `corpus`, `split`, `protocol`, or a key of the configuration.
        matches: whether a comparison may stand on it.
        found: in this run.
        expected: by Phase 1.
    """

    name: str
    matches: bool
    found: str
    expected: str


def latents_of(result: Result) -> str:
    """What the reference table calls the latents of a run; empty where it has none like them."""
    name = result.encoder.name
    transforms = result.config["transforms"]
    for latents, components in PCA.items():
        pca = {"name": "pca", "components": components, "whiten": False}
        if name == "mimi" and len(transforms) == 1 and pca.items() <= transforms[0].items():
            return latents
    known = {run.latents for run in reference_runs()}
    mapped = transforms or "factorization" in result.config
    return name if name in known and not mapped else ""


def runs_beside(result: Result, latents: str) -> list[ReferenceRun]:
    """The reference runs of these latents by a network as wide; of the first width where none is.

    Args:
        result: whose network it is.
        latents: of the reference table.
    """
    runs = [run for run in reference_runs() if run.latents == latents]
    width = result.config["predictor"].get("width")
    return [run for run in runs if run.width == width] or [
        run for run in runs if run.width == runs[0].width
    ]


def first_frame(result: Result, k: int) -> int:
    """The first frame of an utterance that a run predicted at staleness k."""
    task = result.config["task"]
    return WindowTask(
        task["context_frames"],
        k,
        frame_set=task["frame_set"],
        horizons=tuple(task["horizons"]),
        step=task["step_frames"],
        earliest=task.get("first_frame", 0),
    ).first_frame


def conditions(result: Result, registry: Registry) -> Iterator[Condition]:
    """Encoder, weights, corpus, split and protocol, the last key by key."""
    yield _encoder(result)
    yield _weights(result)
    yield _corpus(result)
    yield _split(result)
    runs = runs_beside(result, latents_of(result) or SHOWN_BESIDE)
    yield _frames(result, runs)
    yield from _protocol(result, registry, width=runs[0].width)


def _encoder(result: Result) -> Condition:
    transforms = "".join(
        f", {one['name']}:{one['components']}" if "components" in one else f", {one['name']}"
        for one in result.config["transforms"]
    )
    known = ", ".join(dict.fromkeys(run.latents for run in reference_runs()))
    return Condition(
        name="latents",
        matches=bool(latents_of(result)),
        found=result.encoder.name + transforms,
        expected=known,
    )


def _weights(result: Result) -> Condition:
    found = result.provenance.digests.get("weights", "")
    expected = WEIGHTS.get(result.encoder.name, "")
    random = "random weights" in result.stamps
    return Condition(
        name="weights",
        matches=bool(expected) and not random and found.startswith(expected),
        found="random weights" if random else found or "unknown",
        expected=expected or "those of an encoder that the table has",
    )


def _corpus(result: Result) -> Condition:
    limit = result.config["utterances"]["limit"]
    whole = limit is None and not result.corpus.skipped
    found = result.corpus.name
    if not whole:
        found += f", limited to {limit}" if limit else f", {len(result.corpus.skipped)} skipped"
    return Condition(
        name="corpus",
        matches=dict(result.corpus.identity) == CORPUS and whole,
        found=found,
        expected="librispeech train-clean-100, all of it",
    )


def _split(result: Result) -> Condition:
    train, evaluated = (set(result.corpus.speakers[side]) for side in ("train", "eval"))
    wanted = eval_speakers()
    shared = len(evaluated & wanted)
    return Condition(
        name="split",
        matches=evaluated == wanted and len(train) == SPEAKERS - len(wanted),
        found=f"{len(train)} train, {len(evaluated)} eval speakers, {shared} of them the "
        "reference's",
        expected=f"{SPEAKERS - len(wanted)} train, the {len(wanted)} eval speakers of Phase 1",
    )


def _frames(result: Result, runs: Sequence[ReferenceRun]) -> Condition:
    """Whether one of the reference runs predicted the same frames at every horizon."""
    compared = [one.k for one in result.horizons if one.k in HORIZONS]
    found = {k: first_frame(result, k) for k in compared}
    known = [{k: run.first_frame(k) for k in compared} for run in runs]
    sets = dict.fromkeys(run.frame_set for run in runs)
    return Condition(
        name="task.frame_set",
        matches=found in known,
        found=f"{result.config['task']['frame_set']}"
        + "".join(f", t >= {t} at k={k}" for k, t in found.items()),
        expected=f"{' or '.join(sets)} (of k = {', '.join(map(str, HORIZONS))})",
    )


def _protocol(result: Result, registry: Registry, *, width: int) -> Iterator[Condition]:
    """Every key of the preset phase1 that decides a figure; those that agree as one condition."""
    expected = dotted(resolve(read_layers("phase1", None, ()), registry).model_dump(mode="json"))
    if result.encoder.name != "mimi":
        expected = {key: value for key, value in expected.items() if key.split(".")[0] != "encoder"}
        expected |= {"encoder.view": "encoder"} if result.encoder.name == "encodec-24k" else {}
    expected["predictor.width"] = width
    # What an older run has no key for was as it is by default.
    found = dotted(RunConfig.model_validate(result.config).model_dump(mode="json"))
    agreed = 0
    for key in sorted(expected.keys() | found.keys()):
        if key.startswith(NO_MATTER) or (key.startswith("encoder.") and key not in expected):
            continue
        wanted, given = expected.get(key), found.get(key)
        if given == wanted or given in TOLERATED.get(key, ()):
            agreed += 1
        else:
            # Another seed is another draw of the same experiment, as each rerun is.
            yield Condition(
                name=key,
                matches=key == "seeds",
                found=json.dumps(given),
                expected=json.dumps(wanted) + (" or any other" if key == "seeds" else ""),
            )
    yield Condition(
        name="protocol", matches=True, found=f"{agreed} keys as in the preset phase1", expected=""
    )
