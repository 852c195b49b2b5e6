"""Per-frame scores of a predictor: one code path for train and eval."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.distributions import Distribution

from latentbench.device import seeded
from latentbench.errors import LatentbenchError
from latentbench.metrics.controls import Controls
from latentbench.metrics.metric import Prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from latentbench.predictors import Predictor
    from latentbench.progress import Meter
    from latentbench.tasks import TaskFrames

__all__ = ["score", "unvalidated"]

NO_CONTROLS = Controls()


def score(
    predictor: Predictor,
    baseline: Predictor,
    frames: TaskFrames,
    columns: Mapping[str, Callable[[Prediction], torch.Tensor]],
    *,
    max_frames: int,
    batch_size: int,
    device: torch.device,
    controls: Controls = NO_CONTROLS,
    seed: int = 42,
    meter: Meter | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Score the first `max_frames` frames in stream order.

    Args:
        predictor: moved to `device` and left in evaluation mode.
        baseline: likewise.
        frames: N frames of either split.
        columns: of `latentbench.metrics.metric.merge_columns`.
        max_frames: at most so many frames are scored.
        batch_size: how many at once; scores do not depend on it beyond rounding.
        device: where the densities are computed.
        controls: what else the columns may look at; moved like the predictor.
        seed: of torch's generators while columns are computed, for those that draw; the
            generators of the process are left as they were.
        meter: advanced by the frames scored.

    Returns:
        Each column, float64 [min(N, max_frames)]; not-finite scores are left as they are.

    Raises:
        LatentbenchError: a column did not give one number per frame.
    """
    for one in (predictor, baseline, *controls.by_role().values()):
        one.to(device).eval()
    total = min(len(frames), max_frames)
    scores = {name: np.empty(total, dtype=np.float64) for name in columns}
    with torch.inference_mode(), unvalidated(), seeded(seed, device):
        controls = controls.sharing(frames, device)
        for start in range(0, total, batch_size):
            which = np.arange(start, min(start + batch_size, total), dtype=np.int64)
            batch = frames.batch(which)
            context = batch.context.to(device)
            model = predictor.densities(frames, which, context)
            base = baseline.densities(frames, which, context)
            prediction = Prediction(model, base, batch.target.to(device))
            prediction = controls.beside(prediction, context, frames, which)
            for name, column in columns.items():
                scores[name][which] = _per_frame(name, column(prediction), len(which))
            if meter is not None:
                meter.advance(len(which))
    return scores


@contextmanager
def unvalidated() -> Iterator[None]:
    """Let distributions hold numbers that are not finite.

    A model that diverged is to be scored as infinitely bad, not to end the run with the error
    by which torch.distributions refuses such parameters.
    """
    before = Distribution._validate_args  # noqa: SLF001 - torch has a setter but no getter
    Distribution.set_default_validate_args(value=False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(value=before)


def _per_frame(name: str, values: torch.Tensor, count: int) -> NDArray[np.float64]:
    if tuple(values.shape) != (count,):
        raise LatentbenchError(
            f"The column '{name}' gave shape {list(values.shape)} for {count} frames, "
            f"expected [{count}].",
            "A column is one number per frame; a density of batch shape [B] and event shape [D] "
            "gives it.",
        )
    return values.double().cpu().numpy()
