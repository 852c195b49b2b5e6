"""Rollouts of states, decoded into frames of x: whether they go on as true states do."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from latentbench.latents.transform import leads_back
from latentbench.metrics.columns import NORM_FLOOR
from latentbench.metrics.statistics import Ratio
from latentbench.rollout.alive import CurvePoint, life
from latentbench.rollout.engine import frames_made, rolled_frames
from latentbench.rollout.figures import by_depth, powers_of_two

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from latentbench.metrics.statistics import SpeakerTable
    from latentbench.opened import OpenedRun
    from latentbench.rollout.alive import Life
    from latentbench.rollout.engine import Mode

__all__ = ["Decoded", "RolledIntoX", "decoded_rollouts", "rolled_into_x"]

NAMES = ("step", "true_step", "spread", "true_spread")


class Decoded(NamedTuple):
    """One rollout and the true states of its utterance, both decoded into x.

    Attributes:
        utterance: index into the latents of the run.
        start: the first frame that the model made; those before are true in both.
        made: [T, D].
        true: [T, D].
    """

    utterance: int
    start: int
    made: torch.Tensor
    true: torch.Tensor


class RolledIntoX(NamedTuple):
    """Rollouts by samples, decoded, over true states, decoded too.

    Both are of what z_dyn alone says of x, so 1 is a rollout that goes on as the true states do.

    Attributes:
        movement: table over speakers of the root of the mean squared step over the true one's.
        spread: of the mean squared distance from the mean of the true states, likewise.
        life: how long both stay within a half and twice, by the depths 1, 2, 4, ...; the step
            there by the median of its ratio to the true one's.
    """

    movement: SpeakerTable
    spread: SpeakerTable
    life: Life


def rolled_into_x(run: OpenedRun, horizon: int) -> RolledIntoX | None:
    """Movement, variance and life of a run's rollouts by samples, decoded.

    The utterances are those the run rolled out, by the model of its first seed; figures are inf
    where a frame is not finite. None where the run rolls nothing out, or a transform has no way
    back.

    Raises:
        DamagedFileError: a file of the run is not what was written.
    """
    back = leads_back(run.config, run.registry)
    rollouts = decoded_rollouts(run, horizon, "sample") if back else ()
    if not rollouts:
        return None
    centre = torch.cat([one.true[one.start :] for one in rollouts]).double().mean(0)
    parts = [_columns(one, centre, horizon) for one in rollouts]
    columns = {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}
    owners = [run.latents.utterances[one.utterance].speaker for one in rollouts]
    speakers, codes = np.unique(owners, return_inverse=True)
    speaker = np.repeat(codes, [len(one["depth"]) for one in parts])

    def table(over: str, under: str, power: float) -> SpeakerTable:
        return Ratio(over, under, power).reduce(columns, speaker, tuple(map(str, speakers)))

    return RolledIntoX(
        movement=table("step", "true_step", 0.5),
        spread=table("spread", "true_spread", 1.0),
        life=life(_points(columns)),
    )


def decoded_rollouts(run: OpenedRun, horizon: int, mode: Mode) -> Sequence[Decoded]:
    """Roll the utterances of a run out by the model of its first seed, and decode them into x.

    Args:
        run: finished.
        horizon: of the run.
        mode: what the model moves by.

    Raises:
        DamagedFileError: a file of the run is not what was written.
    """
    frames = rolled_frames(run.config, run.latents, run.sides["eval"], horizon)
    if not len(frames):
        return ()
    seed = next(one.seeds[0] for one in run.result.horizons if one.k == horizon)
    made = frames_made(run.model(horizon, seed), frames, device=run.device, mode=mode, seed=seed)
    found = []
    for index in dict.fromkeys(frames.utterance.tolist()):
        mine = torch.from_numpy(frames.utterance == index)
        t = frames.t[frames.utterance == index]
        true = run.latents.utterance(index)[: int(t[-1]) + 1]
        whole = torch.cat([true[: int(t[0])], made[mine]])
        found.append(Decoded(index, int(t[0]), run.as_encoded(whole), run.as_encoded(true)))
    return found


def _columns(one: Decoded, centre: torch.Tensor, horizon: int) -> dict[str, NDArray[np.float64]]:
    """Depth, squared steps and squared distances from the mean of the frames rolled out."""
    columns: dict[str, NDArray[np.float64]] = {}
    for frames, step, spread in ((one.made, *NAMES[::2]), (one.true, *NAMES[1::2])):
        columns[step] = _squares(frames.double().diff(dim=0)[one.start - 1 :])
        columns[spread] = _squares((frames.double() - centre)[one.start :])
    columns["depth"] = np.arange(len(one.made) - one.start, dtype=np.float64) - horizon + 1
    return columns


def _points(columns: dict[str, NDArray[np.float64]]) -> list[CurvePoint]:
    at = by_depth(columns)
    depths = powers_of_two(max(at))
    return [_point(depth, at[depth]) for depth in depths if depth in at]


def _point(depth: int, columns: dict[str, NDArray[np.floating]]) -> CurvePoint:
    true = np.maximum(np.sqrt(columns["true_step"]), NORM_FLOOR)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = columns["spread"].mean() / columns["true_spread"].mean()
    return CurvePoint(
        depth=depth,
        n=len(true),
        magnitude_ratio=float(np.median(np.sqrt(columns["step"]) / true)),
        variance_ratio=float(spread),
    )


def _squares(rows: torch.Tensor) -> NDArray[np.float64]:
    """Of each row, inf where it is not finite."""
    return rows.square().sum(-1).nan_to_num(nan=np.inf).numpy()
