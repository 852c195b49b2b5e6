"""The scored eval frames of a run: what its state rebuilds, how it moves, what each frame costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import torch

from latentbench.factorizations.factorization import Unfactored
from latentbench.factorizations.stored import fitted_file, is_factored, restore_factorization
from latentbench.factorizations.whitening import Whitening
from latentbench.files import reading
from latentbench.latents.transform import moments
from latentbench.metrics.statistics import Mean, Ratio, Sums
from latentbench.specs import NoOptions
from latentbench.tensors import load_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from numpy.typing import NDArray

    from latentbench.config import RunConfig
    from latentbench.factorizations import Factorization
    from latentbench.latents import Latents
    from latentbench.metrics.statistics import SpeakerTable, Statistic
    from latentbench.opened import OpenedRun

    Floats: TypeAlias = NDArray[np.float64]

__all__ = ["ScoredFrames", "principal_errors", "scored_frames_of"]

AGAIN = "Give the same command again: it is computed again."
READ = ("seed", "utterance", "segment", "frame", "speaker", "nll", "nll_unconditional")


@dataclass(frozen=True)
class ScoredFrames:
    """Columns over the scored eval frames of one horizon.

    Attributes:
        width: d, of the state.
        dim: d, of what the transforms leave of it and is predicted.
        columns: float64 [N] each. `nll` and `nll_unconditional`, means over seeds, in the
            coordinates of the run; `energy` |x - mean|²; `missed` |x - decoded|²; `step`
            |z_t - z_{t-1}|² and `spread` |z_t - mean|²; where they are known `still_missed`,
            with the innovation told, `kl` and `innovation`.
        speaker: of each frame, an index into `speakers`, [N].
        speakers: by id.
        place: utterance, segment and frame, one number each, [N, 3].
        rank: effective rank of the state.
        past_only: of the factorisation.
        log_volume: log |det| of the run's map of states to its coordinates; nan where there is
            none.
    """

    width: int
    dim: int
    columns: dict[str, Floats]
    speaker: NDArray[np.intp]
    speakers: tuple[str, ...]
    place: NDArray[np.int64]
    rank: float
    past_only: bool
    log_volume: float

    def table(self, statistic: Statistic) -> SpeakerTable:
        """The table of a statistic of the columns."""
        return statistic.reduce(self.columns, self.speaker, self.speakers)

    def mean(self, column: str, minus: str = "") -> SpeakerTable:
        """The mean of a column, or of the difference of two."""
        return self.table(Mean(column, minus))

    def ratio(self, over: str, under: str) -> SpeakerTable:
        """The mean of one column over that of another."""
        return self.table(Ratio(over, under))

    def movement(self) -> SpeakerTable:
        """Root mean square of one step over that of the distance from the mean."""
        return self.table(Ratio("step", "spread", 0.5))

    def r2i(self) -> SpeakerTable:
        """R²_I = 1 - exp(-2G/d)."""
        return self.table(
            Sums(
                ("nll_unconditional", "nll"),
                lambda c: [c["nll_unconditional"] - c["nll"]],
                lambda n, total: -np.expm1(-2 * total / n / self.dim),
            )
        )


def scored_frames_of(run: OpenedRun, horizon: int) -> ScoredFrames:
    """Read what was scored of a run, and encode its eval utterances once more.

    Raises:
        DamagedFileError: a file of the run is not what was written.
    """
    latents, folder = run.encoded, run.folder.path
    made = _factorization(run)
    read = _scores(folder, horizon)
    centre = torch.from_numpy(moments(latents, run.sides["train"])[0])
    columns: dict[str, Floats] = {
        "nll": read["nll"],
        "nll_unconditional": read["nll_unconditional"],
    }
    count, states = len(read["nll"]), np.empty((len(read["nll"]), made.dim))
    for index, rows in _stretches(read, latents, run.sides["eval"]):
        found, state = _of_stretch(made, latents.utterance(index), centre)
        t = read["frame"][rows]
        states[rows] = state[t]
        for key, values in found.items():
            columns.setdefault(key, np.empty(count))[rows] = values[t]
    spread, rank = _shape(states)
    speakers, codes = np.unique(read["speaker"], return_inverse=True)
    numbers = np.unique(read["utterance"], return_inverse=True)[1]
    return ScoredFrames(
        width=made.dim,
        dim=next(one.dim for one in run.result.horizons if one.k == horizon),
        columns={**columns, "spread": spread},
        speaker=codes,
        speakers=tuple(speakers),
        place=np.stack([numbers, read["segment"], read["frame"]], 1),
        rank=rank,
        past_only=made.past_only,
        log_volume=_log_volume(run.config, folder),
    )


def principal_errors(run: OpenedRun, horizon: int, keep: float) -> Floats:
    """Squared error of x from 1, 2, ... principal components, over its variance, [K].

    Of the eval frames that were scored; components and mean are those of train.

    Args:
        run: finished.
        horizon: of the run.
        keep: least share of the largest variance that a component must have.
    """
    latents = run.encoded
    whitening = Whitening.fitted(latents, run.sides["train"], keep)
    size = whitening.back.double().square().sum(1)
    explained, energy = torch.zeros_like(size), 0.0
    read = _scores(run.folder.path, horizon)
    for index, rows in _stretches(read, latents, run.sides["eval"]):
        frames = latents.utterance(index)[read["frame"][rows]]
        explained += whitening.whiten(frames).double().square().sum(0) * size
        energy += float((frames - whitening.mean).double().square().sum())
    return np.asarray(1 - explained.cumsum(0).numpy() / energy)


def _factorization(run: OpenedRun) -> Factorization:
    if is_factored(run.config):
        file = fitted_file(run.folder.path, run.config.factorization.name)
        return restore_factorization(run.config, run.registry, file)
    made = Unfactored(NoOptions())
    made.restore({"dim": torch.tensor(run.encoded.dim)})
    return made


def _scores(folder: Path, horizon: int) -> dict[str, NDArray[Any]]:
    """The eval frames of `frames.parquet`, with means over seeds."""
    file = folder / "frames.parquet"
    with reading(file, AGAIN):
        filters = [("split", "=", "eval"), ("horizon", "=", horizon)]
        table = pq.read_table(file, columns=list(READ), filters=filters)
    read = {name: table[name].to_numpy() for name in READ}
    seeds = np.unique(read.pop("seed")).size
    count = len(table) // seeds  # every seed scores the same frames in the same order
    found = {name: values[:count] for name, values in read.items()}
    for name in ("nll", "nll_unconditional"):
        found[name] = read[name].astype(np.float64).reshape(seeds, count).mean(0)
    return found


def _stretches(
    read: Mapping[str, NDArray[Any]], latents: Latents, side: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each utterance that has scored frames, and the rows of these."""
    for index in side:
        one = latents.utterances[index]
        mine = (read["utterance"] == one.id) & (read["segment"] == one.segment)
        if mine.any():
            yield index, np.flatnonzero(mine)


def _of_stretch(
    made: Factorization, frames: torch.Tensor, centre: torch.Tensor
) -> tuple[dict[str, Floats], Floats]:
    """The columns of every frame of one stretch, and its states."""
    with torch.inference_mode():
        states = made.encode(frames)
        account = made.account(frames)
        missed = (frames - made.decode(states)).double().square().sum(-1)
    found = {"energy": (frames.double() - centre).square().sum(-1), "missed": missed}
    step = states.double().diff(dim=0).square().sum(-1)
    found["step"] = torch.cat([step.new_zeros(1), step])  # no frame before any is scored
    if account is not None and account.innovation is not None:
        found["innovation"] = account.innovation.double()
    if account is not None and account.kl is not None:
        found["still_missed"] = (frames - account.rebuilt).double().square().sum(-1)
        found["kl"] = account.kl.double()
    return {name: values.numpy() for name, values in found.items()}, states.double().numpy()


def _shape(states: Floats) -> tuple[Floats, float]:
    """Squared distance of each state from their mean, and their effective rank."""
    centred = states - states.mean(0)
    values = np.linalg.eigvalsh(centred.T @ centred).clip(0)
    spread = np.asarray((centred**2).sum(1))
    if not values.any():
        return spread, 0.0
    share = values[values > 0] / values.sum()
    return spread, float(np.exp(-(share * np.log(share)).sum()))


def _log_volume(config: RunConfig, folder: Path) -> float:
    """Log |det| of the affine transforms of a run, in turn."""
    total = 0.0
    for number, one in enumerate(config.transforms):
        file = folder / f"transform-{number}-{one.name}.safetensors"
        matrix = load_tensors(file, AGAIN).get("matrix")
        total += np.nan if matrix is None else _log_det(matrix.double().numpy())
    return total


def _log_det(matrix: Floats) -> float:
    if matrix.ndim == 1:
        return float(np.log(np.abs(matrix)).sum())
    rows, columns = matrix.shape
    return float(np.linalg.slogdet(matrix)[1]) if rows == columns else float("nan")
