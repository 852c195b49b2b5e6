"""The exact vector autoregression, `linear`, against the least squares one would write.

Mimi's shape by default: D = 512, W = 8 (4,096 features), 100,000 frames of utterances of 160,
full residual covariance. Ours fits in one pass over the frames. The plain way lays the windows
side by side, adds up their products in float64 chunk by chunk and solves with numpy; its sums
are timed on a tenth of the frames and scaled. Prints seconds, the ratio, how far the two
solutions differ on that tenth, and the peak memory of ours beyond the latents. Processor
seconds, beside wall time, say what a busy machine hides.

Usage: python benchmarks/linear.py [--frames N] [--dim D] [--context W] [--horizon K] [--threads N]
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np
import torch

from latentbench.config import TrainingConfig
from latentbench.latents import Latents
from latentbench.predictors import Training
from latentbench.predictors.linear import LinearPredictor
from latentbench.predictors.plugin import LinearOptions
from latentbench.progress import SILENT
from latentbench.tasks import TaskFrames, WindowTask

UTTERANCE = 160
CHUNK = 2048
TENTH = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--context", type=int, default=8)
    parser.add_argument("--horizon", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    task = WindowTask(arguments.context, arguments.horizon)
    latents = make_latents(arguments.frames, arguments.dim, task.first_frame)
    every = len(latents.utterances)
    frames, few = (task.frames(latents, range(-(-every // part))) for part in (1, TENTH))
    print(
        f"D={arguments.dim} W={arguments.context} k={arguments.horizon}: {len(frames):,} frames "
        f"of {every} utterances, {arguments.threads} thread(s)"
    )
    before = peak_bytes()
    busy = time.process_time()
    ours, predictor = fit(frames)
    busy = time.process_time() - busy
    beyond = peak_bytes() - before
    _, on_few = fit(few)
    sums, solve, weight = plain(few)
    theirs = sums * len(frames) / len(few) + solve
    apart = np.abs(on_few.weight.numpy() - weight).max() / np.abs(weight).max()
    print(f"ours        {ours:8.1f} s ({busy:.1f} s of processors), {beyond / 1e9:.2f} GB")
    print(
        f"plain       {theirs:8.1f} s ({sums:.1f} s for a tenth of the sums, {solve:.1f} s solving)"
    )
    print(f"ratio       {theirs / ours:8.1f}")
    print(f"difference  {apart:8.1e} of the largest weight")
    print(f"residual sd {float(predictor.factor.diagonal().mean()):8.3f} (truth 0.6)")


def make_latents(frames: int, dim: int, first: int) -> Latents:
    """AR(1) frames with coefficient 0.8 in every dimension, mixed by a rotation."""
    random = np.random.default_rng(0)
    utterances = -(-frames // (UTTERANCE - first))
    rows = random.standard_normal((utterances, UTTERANCE, dim), dtype=np.float32)
    for t in range(1, UTTERANCE):
        rows[:, t] = 0.8 * rows[:, t - 1] + 0.6 * rows[:, t]
    rotation = np.linalg.qr(random.normal(size=(dim, dim)))[0].astype(np.float32)
    arrays = {str(number): one @ rotation for number, one in enumerate(rows)}
    return Latents.from_arrays(arrays, {name: name for name in arrays})


def fit(frames: TaskFrames) -> tuple[float, LinearPredictor]:
    """Seconds, and what was fitted."""
    predictor = LinearPredictor(
        LinearOptions(covariance="full"), context_frames=frames.context_frames, dim=frames.dim
    )
    started = time.perf_counter()
    predictor.fit(frames, Training(TrainingConfig(), 0, torch.device("cpu"), None, SILENT))
    return time.perf_counter() - started, predictor


def plain(frames: TaskFrames) -> tuple[float, float, np.ndarray]:
    """Seconds of the sums, seconds of the solution, and the weights, [W D, D]."""
    size = frames.context_frames * frames.dim + 1
    gram = torch.zeros((size, size), dtype=torch.float64)
    cross = torch.zeros((size, frames.dim), dtype=torch.float64)
    started = time.perf_counter()
    for start in range(0, len(frames), CHUNK):
        batch = frames.batch(np.arange(start, min(start + CHUNK, len(frames))))
        features = batch.context.flatten(1).double()
        features = torch.cat([features, features.new_ones(len(features), 1)], 1)
        gram += features.T @ features
        cross += features.T @ batch.target.double()
    summed = time.perf_counter()
    weight = np.linalg.solve(gram.numpy(), cross.numpy())[:-1]
    return summed - started, time.perf_counter() - summed, weight


def peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
