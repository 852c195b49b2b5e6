"""One training step of Phase 1's MDN against a plain script and against this machine's matmul.

W = 8, D = 512, K = 8, width 1024, batch 256. All rows are timed in turn, round after round in
one process, and compared by their medians:

- plain: what one would write first, MixtureSameFamily(Categorical, Independent(Normal)),
  AdamW with its defaults and clip_grad_norm_, the same initialisation and batch;
- ours: a step of `latentbench.predictors.training`, on a batch that is there (fp32, bf16), and
  on batches gathered from latents, ahead by its thread or at the moment they are needed;
- matmul: the products of such a step alone, in its own shapes, into memory that is there;
- square: as many operations in square products of 2048.

Usage: python benchmarks/training_step.py [--rounds 9] [--threads N] [--fp32]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from latentbench.config import TrainingConfig
from latentbench.latents import Latents
from latentbench.predictors.mdn import MixtureDensityNetwork
from latentbench.predictors.plugin import MdnOptions
from latentbench.predictors.training import Descent, Training
from latentbench.predictors.training_batches import prepared_batches, sampling
from latentbench.progress import SILENT
from latentbench.tasks import Batch, WindowTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentbench.tasks import TaskFrames

W, D, K, WIDTH, BATCH = 8, 512, 8, 1024, 256
SIDE = 2048
IN_A_ROW = 4
AHEAD, INLINE = "ours fp32, batches ahead", "ours fp32, batches inline"
CPU = torch.device("cpu")
LAYERS = ((W * D, WIDTH), (WIDTH, WIDTH), (WIDTH, K), (WIDTH, K * D), (WIDTH, K * D))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--fp32", action="store_true", help="leave bf16 out: it may be slow here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    batch = Batch(torch.randn(BATCH, W, D), torch.randn(BATCH, D))
    frames = make_frames()
    indices = sampling(TrainingConfig(), len(frames), 0, 1)
    fp32, bf16, ahead, inline = (ours(precision) for precision in ("fp32", "bf16", "fp32", "fp32"))
    indices = sampling(TrainingConfig(), len(frames), 0, 1)

    def steps_ahead() -> None:
        with prepared_batches(frames, indices, CPU) as batches:
            for _ in range(IN_A_ROW):
                ahead(next(batches))

    def steps_inline() -> None:
        for _ in range(IN_A_ROW):
            inline(frames.batch(next(indices)))

    rows: dict[str, Callable[[], object]] = {
        "plain fp32": plain_step(batch),
        "ours fp32": lambda: fp32(batch),
        "ours bf16": lambda: bf16(batch),
        AHEAD: steps_ahead,
        INLINE: steps_inline,
        "matmul, own shapes": own_products(),
        "matmul, square": square_products(),
    }
    if arguments.fp32:
        del rows["ours bf16"]
    seconds = measure(rows, arguments.rounds)
    for name in (AHEAD, INLINE):
        seconds[name] /= IN_A_ROW
    report(seconds, arguments.threads)


def measure(rows: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, all taken in turn in every round; the first two warm up."""
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds + 2):
        for name, run in rows.items():
            start = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[2:]) for name, values in taken.items()}


def report(seconds: dict[str, float], threads: int) -> None:
    plain, own = seconds["plain fp32"], seconds["matmul, own shapes"]
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"{threads} thread(s), {capability}, torch {torch.__version__}{load}")
    print(f"{'':28}{'ms':>8}{'x plain':>9}{'of own matmul':>15}{'of square':>11}")
    for name, value in seconds.items():
        share, square = own / value, seconds["matmul, square"] / value
        print(f"{name:28}{1e3 * value:8.1f}{plain / value:9.2f}{share:15.2f}{square:11.2f}")


def make_frames() -> TaskFrames:
    random = np.random.default_rng(0)
    rows = random.standard_normal((20_000, D), dtype=np.float32)
    latents = Latents.from_arrays({"a": rows}, {"a": "s"})
    return WindowTask(context_frames=W, horizon=1).frames(latents, [0])


def ours(precision: str) -> Callable[[Batch], torch.Tensor]:
    torch.manual_seed(0)
    model = MixtureDensityNetwork(MdnOptions(), context_frames=W, dim=D)
    config = TrainingConfig.model_validate({"precision": precision})
    return Descent(model, Training(config, 0, CPU, None, SILENT)).step


def plain_step(batch: Batch) -> Callable[[], None]:
    torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Flatten(), nn.Linear(W * D, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU()
    )
    heads = nn.ModuleList(nn.Linear(WIDTH, size) for size in (K, K * D, K * D))
    nn.init.constant_(heads[2].bias, -1.0)
    model = nn.ModuleList([trunk, heads])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)

    def step() -> None:
        hidden = trunk(batch.context)
        logits, means, log_sigmas = (head(hidden) for head in heads)
        sigmas = log_sigmas.view(-1, K, D).clamp(-7, 2).exp()
        components = Independent(Normal(means.view(-1, K, D), sigmas), 1)
        mixture = MixtureSameFamily(Categorical(logits=logits), components)
        loss = -mixture.log_prob(batch.target).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def own_products() -> Callable[[], None]:
    """Forward, by weight, and (but for the first layer) by input; outputs allocated before."""
    cases = []
    for number, (inputs, outputs) in enumerate(LAYERS):
        x, weight, g = (
            torch.randn(*s) for s in ((BATCH, inputs), (outputs, inputs), (BATCH, outputs))
        )
        cases.append((x, weight.t(), torch.empty(BATCH, outputs)))
        cases.append((g.t(), x, torch.empty(outputs, inputs)))
        if number:
            cases.append((g, weight, torch.empty(BATCH, inputs)))

    def run() -> None:
        for left, right, out in cases:
            torch.mm(left, right, out=out)

    return run


def square_products() -> Callable[[], None]:
    """A slab of a square product, its rows chosen for as many operations as a step has."""
    weights = [inputs * outputs for inputs, outputs in LAYERS]
    operations = BATCH * (3 * sum(weights) - weights[0])
    left = torch.randn(round(operations / SIDE**2), SIDE)
    right = torch.randn(SIDE, SIDE)
    out = torch.empty(len(left), SIDE)
    return lambda: torch.mm(left, right, out=out)


if __name__ == "__main__":
    main()
