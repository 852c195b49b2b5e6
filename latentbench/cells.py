"""One cell: fit a predictor at one horizon, score it, roll it out, write its files.

The folder of a cell holds `frames.parquet` (scores per frame), `rollout.parquet`,
`curves.parquet` (losses of training), `model.safetensors` and `cell.json`. The last is written
when all else is there: a cell whose `cell.json` says `done` is not run again, and any other
continues from its training checkpoint.
"""

from __future__ import annotations

import hashlib
import sys
import time
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from latentbench.config import make
from latentbench.device import choose_device
from latentbench.digest import XXH3, file_digest
from latentbench.errors import LatentbenchError
from latentbench.factorizations.stored import is_factored
from latentbench.files import (
    DamagedFileError,
    damaged_files,
    discard,
    disk_full_explained,
    sealed,
    sweep,
    write_text,
)
from latentbench.fits import (
    SECTION_OF,
    UNCONDITIONAL,
    fit_digest,
    fitted_models,
    latents_digest,
    training_of,
    window_task,
)
from latentbench.latents.manifest import corpus_digest, open_latents, read_manifest
from latentbench.latents.store import LatentStore
from latentbench.latents.transform import restore_transforms
from latentbench.locks import locked
from latentbench.metrics.controls import Controls, iid_floor
from latentbench.metrics.metric import lacking, merge_columns
from latentbench.metrics.scoring import score
from latentbench.models import MODELS, save_models
from latentbench.predictors.training import Training
from latentbench.progress import SILENT, Titled
from latentbench.results.assembly import metrics_of
from latentbench.results.folder import CURVES, read_record, write_record
from latentbench.results.schema import SPLITS, CellRecord, Convergence, Split
from latentbench.rollout.engine import own_mode, rolled_frames, rollout
from latentbench.rollout.inflation import first_order
from latentbench.tasks.slices import energy_median, slice_mask
from latentbench.tasks.turns import in_turn, within_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from latentbench.config import EvaluationConfig, RunConfig
    from latentbench.engines import Cell, Outcome
    from latentbench.latents import Latents
    from latentbench.metrics.metric import Column
    from latentbench.plugins import Registry
    from latentbench.predictors import Predictor
    from latentbench.predictors.learning_curve import LearningCurve
    from latentbench.progress import Progress
    from latentbench.tasks import TaskFrames

    Fit: TypeAlias = Callable[[str, TaskFrames], Predictor]

__all__ = [
    "CellWork",
    "fit_controls",
    "keep_failure",
    "make_predictor",
    "run_cell",
    "score_columns",
    "scored_frames",
    "task_frames",
    "timed",
]

ALL = "all"
TRACEBACK = "traceback.txt"
LOCK = ".lock"
FRAMES = "frames.parquet"
ROLLOUT = "rollout.parquet"
CURVE_SCHEMA = pa.schema(
    [
        ("horizon", pa.int16()),
        ("seed", pa.int32()),
        ("role", pa.string()),
        ("step", pa.int32()),
        ("split", pa.string()),
        ("loss", pa.float64()),
    ]
)


class CellWork:
    """`run_cell` as engines call it; what is sent to another process leaves its display behind."""

    def __init__(self, registry: Registry, progress: Progress = SILENT) -> None:
        self.registry = registry
        self.progress = progress

    def __call__(self, cell: Cell) -> None:
        """Do all the work of a cell."""
        run_cell(cell, self.registry, self.progress)

    def __reduce__(self) -> tuple[Any, ...]:
        return CellWork, (self.registry,)


def run_cell(cell: Cell, registry: Registry, progress: Progress = SILENT) -> None:
    """Do all the work of a cell that is not done yet.

    Raises:
        LatentbenchError: the cell failed, for whatever reason; `cell.json` says so where it can
            be written, and the next run tries again.
    """
    try:
        inputs = _inputs(cell)
        if _is_done(cell.folder, inputs, progress):
            return
        cell.folder.mkdir(parents=True, exist_ok=True)
        waiting = f"Waiting for another process that works in '{cell.folder}'"
        with locked(cell.folder / LOCK, progress, waiting):
            if not _is_done(cell.folder, inputs, progress):
                _do(cell, inputs, registry, progress)
    except Exception as error:
        told = error if isinstance(error, LatentbenchError) else _unforeseen(error, cell.folder)
        # A traceback holds the tensors of its frames: those of a GPU are needed for the next cell.
        traceback.clear_frames(error.__traceback__)
        failed = CellRecord(horizon=cell.horizon, seed=cell.seed, status="failed", error=str(told))
        with suppress(OSError):  # the disk may be full
            write_record(cell.folder, failed)
        if told is error:
            raise
        raise told from error
    for leftover in (*cell.folder.glob("*.checkpoint"), cell.folder / TRACEBACK):
        discard(leftover)


def _do(cell: Cell, inputs: str, registry: Registry, progress: Progress) -> None:
    """Do the work of a cell whose folder is ours alone."""
    sweep(cell.folder)
    with disk_full_explained(cell.folder, 64_000_000):
        record = _Work(cell, registry, progress).run()
        record.inputs = inputs
        write_record(cell.folder, record)


def keep_failure(outcome: Outcome) -> None:
    """Write that a cell failed where it could not do so itself: its process died."""
    cell = outcome.unit
    with suppress(DamagedFileError):
        if (record := read_record(cell.folder)) is not None and record.status == "failed":
            return
    failed = CellRecord(horizon=cell.horizon, seed=cell.seed, status="failed", error=outcome.error)
    with suppress(OSError):  # the disk may be full
        cell.folder.mkdir(parents=True, exist_ok=True)
        write_record(cell.folder, failed)


def _inputs(cell: Cell) -> str:
    """A hex digest of what decides the numbers of a cell beside its horizon and seed."""
    _, rows = read_manifest(cell.manifest)
    parts = (
        cell.config.digest(),
        corpus_digest(rows),
        *(file_digest(file, XXH3) for file in cell.transforms),
        *([cell.store.name] if is_factored(cell.config) else []),  # named by what was fitted
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _is_done(folder: Path, inputs: str, progress: Progress) -> bool:
    """Whether the cell in `folder` was computed from these inputs and all of it is sound.

    What is damaged is said and removed.
    """
    try:
        record = read_record(folder)
    except DamagedFileError as error:
        progress.say(f"{error.message} The cell is computed again.")
        return False
    if record is None or record.status != "done":
        return False
    if record.inputs and record.inputs != inputs:
        progress.say(f"'{folder}' is of another configuration or other latents: computed again.")
        return False
    damaged = _damaged(folder, record)
    for file, reason in damaged.items():
        progress.say(f"'{file}' is damaged: {reason}. The cell is computed again.")
        discard(file)
    return not damaged


def _damaged(folder: Path, record: CellRecord) -> dict[Path, str]:
    """The files of a finished cell that are damaged or gone, and why."""
    damaged = damaged_files(folder)
    if record.frames.get("train"):  # a list of checksums that is gone names no file
        missing = (folder / name for name in (FRAMES, ROLLOUT, MODELS))
        damaged |= {file: "it is gone" for file in missing if not file.exists()}
    return damaged


def make_predictor(
    section: str, config: RunConfig, registry: Registry, *, dim: int, seed: int
) -> Predictor:
    """The untrained predictor of a config section, its weights drawn from `seed`."""
    torch.manual_seed(seed)
    predictor: Predictor = make(
        getattr(config, section),
        section,
        registry,
        context_frames=config.task.context_frames,
        dim=dim,
    )
    return predictor


def fit_controls(config: RunConfig, train: TaskFrames, fit: Fit) -> Controls:
    """Fit the controls of the configuration (docs/metrics.md).

    Args:
        config: of the run.
        train: the frames that the predictor was fitted on.
        fit: gives the model of a role, fitted on frames.
    """
    unconditional = x = x_baseline = None
    if UNCONDITIONAL in config.controls:
        unconditional = fit(UNCONDITIONAL, train.without_context())
    if "x_target" in config.controls:
        of_x = train.with_target("x")
        x_baseline = fit("x_baseline", of_x)
        if train.target != "x" and not train.sees_previous:
            x = fit("x_target", of_x)
    return Controls(unconditional, x, x_baseline)


def score_columns(config: RunConfig, registry: Registry, predictor: Predictor) -> dict[str, Column]:
    """The columns of the metrics of a run that a predictor has."""
    given = predictor.density, config.controls, predictor.dim
    return merge_columns(one for one in metrics_of(config, registry) if not lacking(one, *given))


def scored_frames(
    evaluation: EvaluationConfig, frames: TaskFrames, utterances: Sequence[int]
) -> TaskFrames:
    """Which frames of one side are scored, in stream order.

    Args:
        evaluation: says how many, and whether they are the first or of all speakers in turn.
        frames: of the side.
        utterances: of the side, as indices into the latents.
    """
    if evaluation.max_seconds_per_speaker is not None:
        seconds = evaluation.max_seconds_per_speaker
        frames = frames.where(within_seconds(frames, utterances, seconds))
    if evaluation.order == "round_robin":
        return frames.where(in_turn(frames, evaluation.max_frames))
    return frames.where(np.arange(len(frames)) < evaluation.max_frames)


def task_frames(
    config: RunConfig, horizon: int, latents: Latents, sides: Mapping[str, Sequence[int]]
) -> dict[str, TaskFrames]:
    """What a run fits and scores at one horizon: side -> frames, in stream order."""
    task = window_task(config, horizon)
    frames = {side: task.frames(latents, of_side) for side, of_side in sides.items()}
    if config.task.only == ALL:
        return frames
    median = energy_median(latents, sides["train"])
    return {
        side: every.where(slice_mask(config.task.only, every, median=median))
        for side, every in frames.items()
    }


class _Work:
    """The steps of one cell, from its latents to its record."""

    def __init__(self, cell: Cell, registry: Registry, progress: Progress) -> None:
        self.cell = cell
        self.config = cell.config
        self.registry = registry
        self.progress = progress
        self.curves: dict[str, LearningCurve] = {}  # of each role that was trained
        self.fits: dict[str, str] = {}  # digest of what decided the model of each role
        self.taken_over: dict[str, str] = {}  # the run beside that fitted the model of a role
        self.seen = latents_digest(cell, registry)
        self.device = choose_device(cell.config.device)
        stored, self.sides = open_latents(
            LatentStore.at(cell.store), read_manifest(cell.manifest)[1]
        )
        self.latents = restore_transforms(stored, self.config, self.registry, cell.transforms)
        self.frames = task_frames(self.config, cell.horizon, self.latents, self.sides)

    def run(self) -> CellRecord:
        """Fit, score, roll out and save; a horizon without train frames has nothing to do."""
        seconds: dict[str, float] = {}
        scored: dict[Split, int] = {}
        parameters, facts = 0, {}
        train = self.frames["train"]
        if len(train):
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.device)
            with timed(seconds, "fit"):
                predictor = self._fit("predictor", train)
                baseline = self._fit("baseline", train)
            with timed(seconds, "controls"):
                controls = fit_controls(self.config, train, self._fit)
            with timed(seconds, "score"):
                scored = self._score(predictor, baseline, controls)
                facts = predictor.facts(self.frames["eval"])
            with timed(seconds, "rollout"):
                self._roll_out(predictor, baseline)
            models = {"predictor": predictor, "baseline": baseline, **controls.by_role()}
            save_models(self.cell.folder / MODELS, models)
            self._keep_curves()
            parameters = sum(one.numel() for one in predictor.parameters())
        return CellRecord(
            horizon=self.cell.horizon,
            seed=self.cell.seed,
            status="done",
            frames={side: len(self.frames[side]) for side in SPLITS},
            scored=scored,
            too_short={side: self._too_short(side) for side in SPLITS},
            parameters=parameters,
            facts=facts,
            steps=self._convergence["predictor"].steps if "predictor" in self._convergence else 0,
            convergence=self._convergence,
            fits=self.fits,
            taken_over=self.taken_over,
            dim=self.latents.dim,
            iid_floor=iid_floor(train),
            seconds=seconds,
            peak_memory_bytes=_peak_memory(self.device),
        )

    def _fit(self, role: str, frames: TaskFrames) -> Predictor:
        """The model of a role, fitted on `frames`."""
        self.fits[role] = fit_digest(self.cell, role, self.registry, self.seen)
        if (before := self._fitted_before(role)) is not None:
            return before
        name, section = role.replace("_", " "), SECTION_OF[role]
        validation = self.frames.get("validation")
        training = Training(
            config=training_of(role, self.config.training),
            seed=self.cell.seed,
            device=self.device,
            checkpoint=self.cell.folder / f"{name}.checkpoint",
            progress=self.progress if role == section else Titled(self.progress, name),
            validation=None if validation is None else validation.seen_as(frames),
        )
        model = self._made(section)
        model.fit(frames, training)
        self.curves[role] = training.curve
        return model.eval()

    @property
    def _convergence(self) -> dict[str, Convergence]:
        """How each training by gradient descent ended."""
        return {
            role: curve.convergence
            for role, curve in self.curves.items()
            if curve.convergence is not None
        }

    def _keep_curves(self) -> None:
        """Write the losses of each training; nothing where all is of closed form."""
        rows = [
            {"horizon": self.cell.horizon, "seed": self.cell.seed, "role": role, **one._asdict()}
            for role, curve in self.curves.items()
            for one in curve.points
        ]
        if rows:
            with sealed(self.cell.folder / CURVES) as file:
                pq.write_table(pa.Table.from_pylist(rows, CURVE_SCHEMA), file)

    def _made(self, section: str) -> Predictor:
        dim, seed = self.latents.dim, self.cell.seed
        return make_predictor(section, self.config, self.registry, dim=dim, seed=seed).to(
            self.device
        )

    def _fitted_before(self, role: str) -> Predictor | None:
        """The model of a role, where a finished cell has fitted it: here or in a run beside."""
        own = self.cell.folder.parents[1]
        for digest, found in fitted_models((own, *self.cell.beside), self.cell.seed):
            if digest == self.fits[role] and found.folder != self.cell.folder:
                model = self._made(SECTION_OF[role])
                try:
                    self.curves[role] = found.load(model)
                except LatentbenchError:  # it says so when it is its turn, or is asked for it
                    continue
                if (run := found.folder.parents[1]) != own:
                    self.taken_over[role] = run.name
                return model.eval()
        return None

    def _score(
        self, predictor: Predictor, baseline: Predictor, controls: Controls
    ) -> dict[Split, int]:
        """Score both splits by one code path and keep the scores per frame."""
        columns = score_columns(self.config, self.registry, predictor)
        median = energy_median(self.latents, self.sides["train"])
        tables: list[pa.Table] = []
        scored: dict[Split, int] = {}
        for side in SPLITS:
            frames = scored_frames(self.config.evaluation, self.frames[side], self.sides[side])
            count = scored[side] = len(frames)
            title = f"k = {self.cell.horizon}: scoring {side}"
            with self.progress.task(title, count, "frames") as meter:
                scores = score(
                    predictor,
                    baseline,
                    frames,
                    columns,
                    max_frames=count,
                    batch_size=self.config.evaluation.batch_size,
                    device=self.device,
                    controls=controls,
                    seed=self.cell.seed,
                    meter=meter,
                )
            masks = {
                f"slice_{name}": slice_mask(name, frames, median=median)
                for name in self.config.task.slices
                if name != ALL
            }
            where = self._where(frames.utterance, frames.t)
            tables.append(pa.table({"split": _repeat(side, count), **where, **masks, **scores}))
        with sealed(self.cell.folder / FRAMES) as file:
            pq.write_table(pa.concat_tables(tables).unify_dictionaries(), file, compression="zstd")
        return scored

    def _roll_out(self, predictor: Predictor, baseline: Predictor) -> None:
        """Score the model on its own frames: those of its mean, or samples if it gives those."""
        frames = rolled_frames(self.config, self.latents, self.sides["eval"], self.cell.horizon)
        most = self.config.evaluation.max_frames if len(frames) else 0
        centre = first_order(self.latents, self.sides["train"], most).mean
        title = f"k = {self.cell.horizon}: rollout"
        with self.progress.task(title, len(frames), "frames") as meter:
            columns = rollout(
                predictor,
                baseline,
                frames,
                batch_size=self.config.evaluation.batch_size,
                device=self.device,
                mode=own_mode(predictor),
                centre=torch.from_numpy(centre),
                seed=self.cell.seed,
                meter=meter,
            )
        where = self._where(columns.pop("utterance"), columns.pop("frame"))
        with sealed(self.cell.folder / ROLLOUT) as file:
            pq.write_table(pa.table({**where, **columns}), file, compression="zstd")

    def _where(self, utterance: NDArray[Any], t: NDArray[Any]) -> dict[str, Any]:
        """The columns that say which frame a row is about."""
        stored = self.latents.utterances
        attributes = dict.fromkeys(name for one in stored for name in one.attributes)
        return {
            "horizon": np.full(len(t), self.cell.horizon, np.int16),
            "seed": np.full(len(t), self.cell.seed, np.int32),
            "utterance": _dictionary(utterance, [one.id for one in stored]),
            "speaker": _dictionary(utterance, [one.speaker for one in stored]),
            "segment": np.array([one.segment for one in stored], np.int16)[utterance],
            "frame": t,
            **{
                f"attribute_{name}": _dictionary(
                    utterance, [one.attributes.get(name, "") for one in stored]
                )
                for name in attributes
            },
        }

    def _too_short(self, side: Split) -> int:
        lengths = [self.latents.utterances[index].frames for index in self.sides[side]]
        counts = window_task(self.config, self.cell.horizon).counts(lengths)
        return int(np.count_nonzero(counts == 0))


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    """Write the wall time of the block to `seconds[phase]`."""
    started = time.monotonic()
    yield
    seconds[phase] = time.monotonic() - started


def _dictionary(indices: NDArray[Any], names: Sequence[str]) -> pa.DictionaryArray:
    unique = sorted(set(names))
    position = {name: number for number, name in enumerate(unique)}
    codes = np.array([position[name] for name in names], np.int32)
    return pa.DictionaryArray.from_arrays(codes[indices], pa.array(unique, pa.string()))


def _repeat(value: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array([value]))


def _peak_memory(device: torch.device) -> int:
    """Bytes: of the device for CUDA, else the largest resident size of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _unforeseen(error: Exception, folder: Path) -> LatentbenchError:
    """An error of a plugin, a library or the machine; its traceback is kept beside the cell."""
    first, *_ = str(error).splitlines() or [""]
    hint = f"The traceback is in '{folder / TRACEBACK}'."
    with suppress(OSError):
        write_text(folder / TRACEBACK, "".join(traceback.format_exception(error)))
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        hint = f"Lower training.batch_size or evaluation.batch_size. {hint}"
    return LatentbenchError(f"{type(error).__name__}: {first}".rstrip(": "), hint)
