"""The schema of `result.json` and `cell.json`: every number with its n and its unit.

`schema_version` is raised by every change of the schema.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict

from latentbench.corpora.selection import Counts  # noqa: TC001 - pydantic reads it
from latentbench.encoders.encoder import sight_text
from latentbench.errors import UsageError, nearest
from latentbench.latents.degeneracy import LatentFacts
from latentbench.predictors.learning_curve import Convergence
from latentbench.records import Number, Record
from latentbench.rollout.alive import Ending  # noqa: TC001 - pydantic reads it

__all__ = [
    "ALONE",
    "SCHEMA_VERSION",
    "SPLITS",
    "CellRecord",
    "Convergence",
    "CorpusFacts",
    "DepthGap",
    "EncoderFacts",
    "Figure",
    "GapInterval",
    "HorizonResult",
    "LatentFacts",
    "Number",
    "Provenance",
    "Record",
    "Result",
    "RolloutFigures",
    "Side",
    "Skipped",
    "Split",
]

SCHEMA_VERSION = 1

Side = Literal["train", "validation", "eval"]
# What is scored.
Split = Literal["train", "eval"]
SPLITS: tuple[Split, Split] = ("train", "eval")
# The stamp of a predictor that is always compared with controls, where these are not beside it.
ALONE = "without its controls"


class CellRecord(Record):
    """How one cell ended (`cell.json`).

    Attributes:
        horizon: k, in frames.
        seed: of initialisation and sampling.
        status: `failed` where its files are not complete.
        error: why it failed, as the user is told; empty where it did not.
        frames: frames of each split that have a whole context.
        scored: those that were scored: at most `evaluation.max_frames`.
        too_short: utterances of each split without a valid frame.
        parameters: learned numbers of the predictor.
        facts: what the predictor tells of itself, by name.
        steps: it was trained for, 0 for a closed form; None where an older version ran it.
        convergence: how each training by gradient descent ended, by the role of its model.
        dim: D of what was predicted, after the transforms.
        iid_floor: ΔNLL that white latents would score, nats per frame (docs/metrics.md).
        seconds: wall time of `fit`, `score` and `rollout`.
        peak_memory_bytes: of the process that ran it, 0 where unknown.
        inputs: digest of the configuration, the corpus and the transforms.
        fits: digest of all that decided each model, by its role.
        taken_over: the run beside this one that fitted a model, by its role, where one had.
    """

    model_config = ConfigDict(extra="forbid", frozen=False)  # filled in as the cell goes on

    horizon: int
    seed: int
    status: Literal["done", "failed"]
    error: str = ""
    frames: dict[Split, int] = {}
    scored: dict[Split, int] = {}
    too_short: dict[Split, int] = {}
    parameters: int = 0
    facts: dict[str, Number] = {}
    steps: int | None = None
    convergence: dict[str, Convergence] = {}
    dim: int = 0
    iid_floor: float = 0.0
    seconds: dict[str, float] = {}
    peak_memory_bytes: int = 0
    inputs: str = ""
    fits: dict[str, str] = {}
    taken_over: dict[str, str] = {}


class Figure(Record):
    """One number over the scored frames of one split and slice.

    Attributes:
        split: whose frames.
        slice: which of them.
        name: of the metric, e.g. `dnll`.
        value: mean over seeds; NaN where it is undefined, as for n = 0.
        n: frames it is computed from, the same for every seed.
        unit: e.g. `nats/frame`; empty for a pure number.
        better: which way is better: down, up, or the closer to `nominal`.
        nominal: the ideal value where `better` is `nominal`.
        low: lower bound of the 95 % interval over speakers; None where there is none.
        high: upper bound.
        speakers: whose frames they are.
        speaker_error: standard error over speakers of the mean over seeds.
        seed_error: standard error over seeds, same speakers; None for one seed.
        interval_note: why there is no interval.
    """

    split: Split
    slice: str
    name: str
    value: Number
    n: int
    unit: str = ""
    better: Literal["lower", "higher", "nominal"]
    nominal: float | None = None
    low: Number | None = None
    high: Number | None = None
    speakers: int = 0
    speaker_error: Number | None = None
    seed_error: Number | None = None
    interval_note: str = ""


class DepthGap(Record):
    """The rollout gap at one depth j = t - t0 - k + 1: the model's j-th frame is in the context.

    Attributes:
        depth: j.
        n: frames, one per seed and utterance that reaches so far.
        median_gap: over them, NaN where n = 0.
        mean_gap: infinite where one of them is.
        non_finite: how many of them have no finite gap.
        movement: median change of the frames made over the true one.
        variance_ratio: of the frames made over the true ones.
        autocorrelation: of the frames made and those before them.
        true_autocorrelation: of true frames.
        energy_distance: of the frames made from true ones, 0 of one distribution, at most 1.
    """

    depth: int
    n: int
    median_gap: Number
    mean_gap: Number
    non_finite: int
    movement: Number = math.nan
    variance_ratio: Number = math.nan
    autocorrelation: Number = math.nan
    true_autocorrelation: Number = math.nan
    energy_distance: Number = math.nan


class GapInterval(Record):
    """The 95 % interval of a gap over speakers; `note` says why where there is none."""

    low: Number | None = None
    high: Number | None = None
    note: str = ""


class RolloutFigures(Record):
    """The rollout gap: NLL under the model's own past minus NLL under the true one.

    And until when its frames move and vary as true ones do, by the depths 1, 2, 4, ...

    Attributes:
        mode: what the model moved by: its mean, or samples where it gives nothing else; then
            there is no gap, and n is 0.
        mean_gap: over all n frames, infinite where one of them is; NaN where n = 0.
        median_gap: over all n frames.
        n: frames with a gap, of all seeds together.
        non_finite: how many of them have no finite gap.
        utterances: eval utterances rolled out, the same for every seed.
        unit: of all gaps.
        depths: the same gap at a few depths; `latentbench rollout` shows the whole curve.
        speakers: of those utterances.
        mean_interval: of `mean_gap`.
        median_interval: of `median_gap`.
        stable_depth: the deepest of those depths before movement or variance leaves a half to
            twice the true one; 0: it never stays; None: no frame tells.
        dead_at: the depth at which it does; None: it stays alive at all of them.
        ending: how it ends there.
    """

    mode: Literal["mean", "sample"] = "mean"
    mean_gap: Number
    median_gap: Number
    n: int
    non_finite: int
    utterances: int
    unit: str = "nats/frame"
    depths: tuple[DepthGap, ...] = ()
    speakers: int = 0
    mean_interval: GapInterval = GapInterval()
    median_interval: GapInterval = GapInterval()
    stable_depth: int | None = None
    dead_at: int | None = None
    ending: Ending | None = None


class HorizonResult(Record):
    """All that was found at one horizon.

    Attributes:
        k: staleness, in frames.
        milliseconds: the same in time.
        leaky: k is within the encoder's look-ahead, so the context has seen the target.
        status: `failed` where any seed failed; figures are then of the seeds that did not.
        errors: one line per seed that failed.
        seeds: that the figures are means over.
        parameters: learned numbers of the predictor.
        facts: what the predictor tells of itself, by name, means over seeds: of `lookup` and
            `engram` the `ceiling` in nats, of `engram` hit rates on eval, collisions and the
            `gate`.
        steps: it was trained for, 0 for a closed form; None where an older version ran it.
        convergence: how each training by gradient descent ended, by the role of its model, one for
            each of `seeds`.
        dim: D of what was predicted, after the transforms.
        iid_floor: ΔNLL that white latents would score, nats per frame (docs/metrics.md).
        frames: frames of each split that have a whole context.
        scored: those that were scored.
        too_short: utterances of each split without a valid frame.
        figures: every metric of every split and slice.
        rollout: None where no seed is done.
        notes: the facts, and why figures are blank or have no interval.
        seconds: wall time per phase, summed over seeds.
        taken_over: the runs beside this one that fitted its models, by their roles; what they
            took is not in `seconds`.
    """

    k: int
    milliseconds: float
    leaky: bool = False
    status: Literal["done", "failed"]
    errors: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    parameters: int = 0
    facts: dict[str, Number] = {}
    steps: int | None = None
    convergence: dict[str, tuple[Convergence, ...]] = {}
    dim: int = 0
    iid_floor: float = 0.0
    frames: dict[Split, int] = {}
    scored: dict[Split, int] = {}
    too_short: dict[Split, int] = {}
    figures: tuple[Figure, ...] = ()
    rollout: RolloutFigures | None = None
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = {}
    taken_over: dict[str, tuple[str, ...]] = {}

    @property
    def lacking(self) -> str:
        """Why there is no model; empty where there is one."""
        if not self.seeds:
            return "no finished cell"
        return "no train frame has a whole context" if self.frames.get("train") == 0 else ""

    @property
    def fitted(self) -> bool:
        """Whether there is a model of each seed that is done."""
        return not self.lacking

    def find(self, split: str, slice_: str, name: str) -> Figure | None:
        """The figure of that split, slice and metric; None where it was not measured."""
        for found in self.figures:
            if (found.split, found.slice, found.name) == (split, slice_, name):
                return found
        return None

    def figure(self, split: str, slice_: str, name: str) -> Figure:
        """The figure of that split, slice and metric.

        Raises:
            UsageError: it was not measured; says which were.
        """
        if (found := self.find(split, slice_, name)) is not None:
            return found
        asked = f"{split}, {slice_}, {name}"
        known = [f"{one.split}, {one.slice}, {one.name}" for one in self.figures]
        raise UsageError(f"k = {self.k} has no figure '{asked}'.", nearest(asked, known))


class EncoderFacts(Record):
    """The encoder as it was: D, frame rate in Hz, hop in samples, look-ahead in frames."""

    name: str
    dim: int
    frame_rate: float
    hop: int
    sample_rate: float
    look_ahead: int = 0
    fingerprint: dict[str, str] = {}

    @property
    def sight(self) -> str:
        """How far ahead a frame sees, for readers."""
        return sight_text(self.look_ahead)


class Skipped(Record):
    """An utterance that could not be used, and why in a few words."""

    utterance: str
    reason: str


class CorpusFacts(Record):
    """The corpus as it was used: speaker ids, utterances and seconds of audio per split.

    `counts` says of the utterances of each side, and of speakers who are on neither, how many were
    listed and used, and how many dropped or skipped, by reason.
    """

    name: str
    identity: dict[str, str] = {}
    speakers: dict[Side, tuple[str, ...]]
    utterances: dict[Side, int]
    seconds: dict[Side, float]
    skipped: tuple[Skipped, ...] = ()
    counts: dict[str, Counts] = {}


class Provenance(Record):
    """What made the numbers.

    Attributes:
        latentbench: its version.
        git_commit: of the checkout latentbench runs from; None where it is no checkout.
        python: its version.
        libraries: distribution -> version.
        platform: operating system and machine.
        device: what the predictors ran on.
        preparation: how decoded audio became what the encoder takes.
        digests: `config`, `corpus`, `weights`: hex digests of what went in.
        seconds: wall time per phase of the run.
        peak_memory_bytes: of the largest process, 0 where unknown.
    """

    latentbench: str
    git_commit: str | None = None
    python: str
    libraries: dict[str, str]
    platform: str
    device: str
    preparation: str = ""
    digests: dict[str, str] = {}
    seconds: dict[str, float] = {}
    peak_memory_bytes: int = 0


def _of_train(found: Any) -> Any:
    """Results were once of the train side only."""
    if isinstance(found, Mapping):
        return {"train": found} if "frames" in found else found
    return found or {}


class Result(Record):
    """A finished run (`result.json`).

    Attributes:
        config: the resolved configuration, as plain values.
        protocol: that it follows, and what it changes of it: `lb1 with seeds=[0]`; empty where an
            older version ran it.
        stamps: what a reader must know before comparing, e.g. `random weights`.
        latents: what the frames of each side look like, where any were looked at.
    """

    schema_version: Literal[1] = 1
    config: dict[str, Any]
    protocol: str = ""
    encoder: EncoderFacts
    corpus: CorpusFacts
    horizons: tuple[HorizonResult, ...]
    stamps: tuple[str, ...] = ()
    latents: Annotated[dict[Split, LatentFacts], BeforeValidator(_of_train)] = {}
    provenance: Provenance

    @property
    def slices(self) -> tuple[str, ...]:
        """The slices of the run, in the order of its configuration."""
        return tuple(self.config["task"]["slices"])

    @property
    def steps(self) -> int:
        """Of the training of each horizon; 0 where the predictor is fitted in closed form."""
        known = [one.steps for one in self.horizons if one.steps is not None]
        return max(known) if known else int(self.config["training"]["steps"])

    @property
    def failed(self) -> tuple[HorizonResult, ...]:
        """The horizons with a cell that failed."""
        return tuple(found for found in self.horizons if found.status == "failed")
