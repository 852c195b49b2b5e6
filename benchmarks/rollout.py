"""Rollout of all utterances at once against the loop one would write, utterance by utterance.

Phase 1's MDN (W = 8, D = 512, K = 8, width 1024) with random weights on 16 utterances of 150 to
400 frames, one run after the other in one process. Two plain loops: `frame by frame` asks the
model twice a frame, for the teacher-forced NLL and for the rollout; `teacher batched` asks for
the teacher-forced NLLs of an utterance at once and rolls out frame by frame. Both use
torch.distributions' mixture. Prints seconds and the ratios, and how far the gaps differ.

The last line says what bounds the ratio on a CPU: the time of the network alone, with the batch
of one a loop has, which reads every weight for every frame, and with the batches a rollout has,
16 at k = 1 and 16 k at k, which are bound by arithmetic.

Usage: python benchmarks/rollout.py [--horizons 1,8] [--threads N] [--frames 150,400]
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from latentbench.latents import Latents
from latentbench.plugins import load_registry
from latentbench.rollout.engine import rollout, rollout_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from latentbench.predictors import Predictor
    from latentbench.tasks import TaskFrames

W, D, UTTERANCES = 8, 512, 16
CPU = torch.device("cpu")

T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--horizons", default="1,8")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--frames", default="150,400")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    latents = make_latents(*map(int, arguments.frames.split(",")))
    model, baseline = make_predictors()
    print(f"{UTTERANCES} utterances, W={W} D={D} K=8 width=1024, {arguments.threads} thread(s)")
    print("k  frames   ours    frame by frame    teacher batched   largest relative difference")
    for k in map(int, arguments.horizons.split(",")):
        frames = rollout_frames(
            latents,
            range(UTTERANCES),
            context_frames=W,
            horizon=k,
            target="delta",
            count=UTTERANCES,
            max_frames=2_000,
        )
        show(k, frames, model, baseline)
    one, all_at_once = matmul_seconds(model, 1), matmul_seconds(model, UTTERANCES)
    wide = matmul_seconds(model, 8 * UTTERANCES)
    print(
        f"network alone, ms a call: batch 1 {one * 1e3:.2f}, batch {UTTERANCES} "
        f"{all_at_once * 1e3:.2f}, batch {8 * UTTERANCES} {wide * 1e3:.2f}; per frame "
        f"{one * UTTERANCES / all_at_once:.1f}x and {one * 8 * UTTERANCES / wide:.1f}x cheaper"
    )


def show(k: int, frames: TaskFrames, model: Predictor, baseline: Predictor) -> None:
    """One row: our seconds, those of both loops as ratios, and whether they agree."""

    def batched() -> NDArray[np.float64]:
        return rollout(model, baseline, frames, batch_size=2_048, device=CPU)["nll_rollout"]

    # Ours between the loops, so that a machine with other work slows them alike.
    before, found = timed(batched)
    by_frame, expected = timed(lambda: plain(model, baseline, frames, batched_teacher=False))
    between, _ = timed(batched)
    by_utterance, _ = timed(lambda: plain(model, baseline, frames, batched_teacher=True))
    after, _ = timed(batched)
    ours = float(np.median([before, between, after]))
    apart = np.abs(found / expected - 1).max()
    print(
        f"{k}  {len(frames):6d}  {ours:5.2f} s  {by_frame:6.2f} s {by_frame / ours:5.1f}x  "
        f"{by_utterance:6.2f} s {by_utterance / ours:5.1f}x   {apart:.1e}",
        flush=True,
    )


def make_latents(low: int, high: int) -> Latents:
    """White noise of as many frames as utterances of LibriSpeech have at 12.5 Hz."""
    rng = np.random.default_rng(0)
    names = [f"u{i}" for i in range(UTTERANCES)]
    arrays = {
        name: rng.normal(size=(int(rng.integers(low, high + 1)), D)).astype(np.float32)
        for name in names
    }
    return Latents.from_arrays(arrays, dict.fromkeys(names, "s"))


def make_predictors() -> tuple[Predictor, Predictor]:
    """Phase 1's network; the baseline ignores its context and keeps its initial state."""
    registry, made = load_registry(), []
    torch.manual_seed(0)
    for name in ("mdn", "marginal"):
        component = registry.get("predictor", name)
        options = component.spec.options()
        made.append(component.create(options, context_frames=W, dim=D).eval())
    return made[0], made[1]


def plain(
    model: Predictor, baseline: Predictor, frames: TaskFrames, *, batched_teacher: bool
) -> NDArray[np.float64]:
    """The loop: NLL of every frame under the model's own frames."""
    k, rolled = frames.horizon, []
    t0 = W - 1 + k
    with torch.no_grad():
        for u in dict.fromkeys(frames.utterance.tolist()):
            true = frames.latents.utterance(u)
            own = true.clone()
            if batched_teacher:
                windows = torch.stack(
                    [true[t - k - W + 1 : t - k + 1] for t in range(t0, len(true))]
                )
                mixture(model, windows).log_prob(true[t0:] - true[t0 - 1 : -1])
            for t in range(t0, len(true)):
                target = (true[t] - true[t - 1])[None]
                if not batched_teacher:
                    context = true[None, t - k - W + 1 : t - k + 1]
                    mixture(model, context).log_prob(target)
                    baseline(context).log_prob(target)
                density = mixture(model, own[None, t - k - W + 1 : t - k + 1])
                own[t] = own[t - 1] + density.mean[0]
                rolled.append(-density.log_prob(target).item())
    return np.array(rolled)


def mixture(model: Predictor, context: torch.Tensor) -> MixtureSameFamily:
    """The density of the same network as torch.distributions writes it."""
    density = model(context)
    components = Normal(density.component_means, density.component_log_sigmas.exp())
    return MixtureSameFamily(Categorical(logits=density.logits), Independent(components, 1))


def matmul_seconds(model: Predictor, batch: int, repeats: int = 20) -> float:
    """Median time of the network without its density."""
    context = torch.randn(batch, W, D)
    with torch.inference_mode():
        return float(np.median([timed(lambda: model(context))[0] for _ in range(repeats)]))


def timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main()
