"""What the heads of `neural` cost, and what reading an utterance at once saves.

Heads: one training step (batch 256), one sample and one log-density per frame, on the backbone
`mlp`, each beside the head `mdn`. Frames are white noise of D dimensions in windows of 8; costs do
not depend on their values. All heads are timed in turn, round after round, and compared by their
medians.

With `--compile` also a step with `training.compile`, beside the step without; each head is compiled
first, which is not counted.

Transformer: the densities of all frames of an utterance at 8 s of context, from one pass over it
and from its windows in batches; and a step of a rollout of 16 utterances, from the keys and values
of the frames before and from the window.

Usage: python benchmarks/heads.py [--dim 64] [--rounds 5] [--threads 1] [--frame-rate 12.5]
           [--heads mdn flow ...] [--compile]
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentbench.config import TrainingConfig
from latentbench.latents import Latents
from latentbench.predictors.neural.network import neural
from latentbench.predictors.neural.options import DENSITIES, HEADS, NeuralOptions
from latentbench.predictors.training import Descent, Training
from latentbench.progress import SILENT
from latentbench.tasks import WindowTask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from latentbench.predictors.neural.network import NeuralPredictor
    from latentbench.tasks import TaskFrames

W, BATCH, SAMPLES, ROLLED = 8, 256, 32, 16
DEMO_STEPS = 400
CONTEXT_SECONDS, UTTERANCE_SECONDS = 8.0, 30.0
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--frame-rate", type=float, default=12.5)
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=HEADS, help="mdn among them")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report_heads(arguments.heads, arguments.dim, arguments.rounds, compiled=arguments.compile)
    report_transformer(arguments.dim, arguments.frame_rate, arguments.rounds)


def report_heads(heads: Sequence[str], dim: int, rounds: int, *, compiled: bool) -> None:
    rows = {head: timed_parts(head, dim, compiled=compiled) for head in heads}
    taken: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for head, parts in rows.items():
            for what, (run, per) in parts.items():
                taken.setdefault((head, what), []).append(seconds(run) / per)
    cost = {key: statistics.median(values) for key, values in taken.items()}
    print(f"heads on mlp, W = {W}, D = {dim}, width 256, batch {BATCH}")
    print(f"{'head':14}{'ms/step':>9}{'x mdn':>7}{'us/sample':>11}{'x mdn':>8}", end="")
    print(f"{'us/log p':>10}{'x mdn':>8}{f'{DEMO_STEPS} steps':>11}", end="")
    print(f"{'compiled':>10}{'times':>7}" if compiled else "")
    for head in heads:
        print(f"{head:14}", end="")
        for what, unit, width in (("step", 1e3, 9), ("sample", 1e6, 11), ("log_prob", 1e6, 10)):
            value = cost.get((head, what))
            shown = "-" if value is None else f"{unit * value:.1f}"
            times = "-" if value is None else f"{value / cost['mdn', what]:.1f}"
            print(f"{shown:>{width}}{times:>{7 if what == 'step' else 8}}", end="")
        print(f"{DEMO_STEPS * cost[head, 'step']:>9.1f} s", end="")
        if compiled:
            fused = cost[head, "compiled"]
            print(f"{1e3 * fused:>10.1f}{cost[head, 'step'] / fused:>7.2f}", end="")
        print(flush=True)


def timed_parts(
    head: str, dim: int, *, compiled: bool
) -> dict[str, tuple[Callable[[], object], int]]:
    """What is timed of a head, and by how much to divide it; each has run once."""
    predictor = made(dim, W, head=head)
    frames = noise_frames(dim, W, 2_000)
    predictor.standardise_by(frames, "neural")
    batch = frames.batch(np.arange(BATCH))

    def sample() -> None:
        with torch.inference_mode():
            predictor(batch.context).sample((SAMPLES,))

    def log_prob() -> None:
        with torch.inference_mode():
            predictor(batch.context).log_prob(batch.target)

    def steps(config: TrainingConfig) -> Callable[[], None]:
        descent = Descent(predictor.train(), Training(config, 0, CPU, None, SILENT))

        def run() -> None:
            for _ in range(4):  # lsd computes its second term in every fourth
                descent.step(batch)

        return run

    parts: dict[str, tuple[Callable[[], object], int]] = {
        "step": (steps(TrainingConfig()), 4),
        "sample": (sample, SAMPLES * BATCH),
    }
    if compiled:
        parts["compiled"] = (steps(TrainingConfig(compile=True)), 4)
    if DENSITIES[head] == "exact":
        parts["log_prob"] = (log_prob, BATCH)
    for run, _ in parts.values():
        run()
    return parts


def report_transformer(dim: int, frame_rate: float, rounds: int) -> None:
    context = round(CONTEXT_SECONDS * frame_rate)
    frames = noise_frames(dim, context, round(UTTERANCE_SECONDS * frame_rate))
    predictor = made(dim, context, backbone="transformer", layers=4).eval()
    which = np.arange(len(frames))

    def at_once() -> torch.Tensor:
        with torch.inference_mode():
            nothing = torch.empty(0)  # the windows, which it does not look at
            density = predictor.densities(frames, which, nothing)
            return density.log_prob(frames.targets(which))

    def by_windows() -> torch.Tensor:
        with torch.inference_mode():
            parts = [frames.batch(some) for some in np.array_split(which, -(-len(which) // 64))]
            return torch.cat([predictor(one.context).log_prob(one.target) for one in parts])

    difference = float((at_once() - by_windows()).abs().max())
    times = {run.__name__: [] for run in (at_once, by_windows)}
    for _ in range(rounds):
        for run in (at_once, by_windows):
            times[run.__name__].append(seconds(run))
    fast, slow = (statistics.median(values) for values in times.values())
    print(
        f"\ntransformer, 4 layers of width 256, context {CONTEXT_SECONDS:g} s = {context} frames,"
    )
    print(f"{len(frames)} frames of an utterance of {UTTERANCE_SECONDS:g} s: ", end="")
    print(f"at once {1e3 * fast:.1f} ms, by windows {1e3 * slow:.0f} ms, {slow / fast:.0f} times;")
    print(f"largest difference {difference:.1e} nats")
    report_rollout_step(predictor, rounds)


def report_rollout_step(predictor: NeuralPredictor, rounds: int) -> None:
    window = torch.randn(ROLLED, predictor.context_frames, predictor.dim)
    with torch.inference_mode():
        _, memory = predictor.go_on(window[:, :-1], None)
        found, _ = predictor.go_on(window[:, -1:], memory)
        difference = float((found[:, -1] - predictor.states(window)[:, -1]).abs().max())
        going_on, anew = (
            statistics.median(seconds(run) for _ in range(4 * rounds))
            for run in (
                lambda: predictor.go_on(window[:, -1:], memory),
                lambda: predictor.states(window),
            )
        )
    print(
        f"a rollout step of {ROLLED}: from keys and values {1e3 * going_on:.1f} ms, by windows "
        f"{1e3 * anew:.0f} ms, {anew / going_on:.0f} times; states differ by {difference:.1e}"
    )


def made(dim: int, context_frames: int, **options: object) -> NeuralPredictor:
    torch.manual_seed(0)
    return neural(NeuralOptions(**options), context_frames=context_frames, dim=dim)


def noise_frames(dim: int, context_frames: int, count: int) -> TaskFrames:
    rows = np.random.default_rng(0).standard_normal((count, dim), dtype=np.float32)
    latents = Latents.from_arrays({"a": rows}, {"a": "s"})
    return WindowTask(context_frames, 1, frame_set="own").frames(latents, [0])


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


if __name__ == "__main__":
    main()
