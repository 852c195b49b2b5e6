"""A control without a context: forward one row and broadcast, against a forward of every row.

`mdn-robust` at D = 512, W = 8, width 1024, batch 256. Both take the loss of one batch and its
gradients in turn, round after round in one process, and are compared by their medians.
One run on one busy core: 458 ms against 64 ms, 7.2 times, and losses equal to the bit.

Usage: python benchmarks/control.py [--rounds 9] [--threads N]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from latentbench.predictors.one_row import Repeated
from latentbench.predictors.plugin import MdnRobustOptions
from latentbench.predictors.robust import RobustNetwork

W, D, BATCH = 8, 512, 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = RobustNetwork(MdnRobustOptions(), context_frames=W, dim=D)
    target, nothing = torch.randn(BATCH, D), torch.zeros(BATCH, W, D)

    def every_row() -> torch.Tensor:
        return -model(nothing).log_prob(target).mean()

    def one_row() -> torch.Tensor:
        return -Repeated(model(nothing[:1]), BATCH).log_prob(target).mean()

    taken: dict[str, list[float]] = {"every row": [], "one row": []}
    losses = {}
    for _ in range(arguments.rounds + 1):
        for name, loss_of in (("every row", every_row), ("one row", one_row)):
            model.zero_grad()
            start = time.perf_counter()
            loss = loss_of()
            loss.backward()  # type: ignore[no-untyped-call] # torch has no types for it
            taken[name].append(time.perf_counter() - start)
            losses[name] = float(loss.detach())
    every, one = (statistics.median(seconds[1:]) for seconds in taken.values())
    apart = abs(losses["every row"] - losses["one row"])
    print(f"every row {1e3 * every:.1f} ms, one row {1e3 * one:.1f} ms: {every / one:.1f} times")
    print(f"losses {losses['every row']:.4f} nats, {apart:.1e} apart ({apart / D:.1e} a dimension)")


if __name__ == "__main__":
    main()
