"""Rollouts of states, decoded into frames of x: whether they go on as true states do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.metrics.statistics import Sums
from latentbench.opened import OpenedRun
from latentbench.rollout.engine import frames_made, rollout_frames

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from latentbench.metrics.statistics import SpeakerTable
    from latentbench.plugins import Registry
    from latentbench.workspace import Workspace

__all__ = ["rolled_into_x"]

NAMES = ("step", "true_step", "spread", "true_spread")


def rolled_into_x(
    folder: Path, horizon: int, workspace: Workspace, registry: Registry
) -> tuple[SpeakerTable, SpeakerTable] | None:
    """Movement and variance of a run's rollouts by samples, decoded, over those of true states.

    Both are of what z_dyn alone says of x, so 1 is a rollout that goes on as the true states do:
    the root of the mean squared step over that of true states, and the mean squared distance from
    their mean over theirs. The utterances are those the run rolled out, by the model of its first
    seed; inf where a frame is not finite.

    Returns:
        The tables over speakers; None where the run rolls nothing out.

    Raises:
        DamagedFileError: a file of the run is not what was written.
    """
    run = OpenedRun(folder, workspace, registry)
    task, rolled = run.config.task, run.config.rollout
    frames = rollout_frames(
        run.latents,
        run.sides["eval"],
        context_frames=task.context_frames,
        horizon=horizon,
        target=task.target,
        step=task.step_frames,
        count=rolled.utterances,
        max_frames=rolled.max_frames,
        seed=run.config.rollout_seed,
    )
    if not len(frames):
        return None
    seed = next(one.seeds[0] for one in run.result.horizons if one.k == horizon)
    model = run.model(horizon, seed)
    made = frames_made(model, frames, device=run.device, mode="sample", seed=seed)
    pairs = []
    for index in dict.fromkeys(frames.utterance.tolist()):
        mine = torch.from_numpy(frames.utterance == index)
        t = frames.t[frames.utterance == index]
        true = run.latents.utterance(index)[: int(t[-1]) + 1]
        whole = torch.cat([true[: int(t[0])], made[mine]])
        pairs.append((int(t[0]), run.as_encoded(whole), run.as_encoded(true)))
    centre = torch.cat([true[start:] for start, _, true in pairs]).double().mean(0)
    columns = {name: np.concatenate(parts) for name, parts in _columns(pairs, centre).items()}
    owners = [run.latents.utterances[int(one)].speaker for one in frames.utterance]
    speakers, codes = np.unique(owners, return_inverse=True)

    def table(over: str, under: str, power: float) -> SpeakerTable:
        statistic = Sums(
            (over, under), lambda c: [c[over], c[under]], lambda _n, a, b: (a / b) ** power
        )
        return statistic.reduce(columns, codes, tuple(map(str, speakers)))

    return table("step", "true_step", 0.5), table("spread", "true_spread", 1.0)


def _columns(
    pairs: list[tuple[int, torch.Tensor, torch.Tensor]], centre: torch.Tensor
) -> dict[str, list[NDArray[np.float64]]]:
    """Squared steps and distances from the mean of all frames that were rolled out."""
    columns: dict[str, list[NDArray[np.float64]]] = {name: [] for name in NAMES}
    for start, made, true in pairs:
        for frames, step, spread in ((made, NAMES[0], NAMES[2]), (true, NAMES[1], NAMES[3])):
            frames = frames.double()  # noqa: PLW2901 - the same frames
            columns[step].append(_squares(frames.diff(dim=0)[start - 1 :]))
            columns[spread].append(_squares((frames - centre)[start:]))
    return columns


def _squares(rows: torch.Tensor) -> NDArray[np.float64]:
    """Of each row, inf where it is not finite."""
    found: NDArray[np.float64] = rows.square().sum(-1).nan_to_num(nan=np.inf).numpy()
    return found
