"""How near `rssm` comes to the least error that a budget of nats allows, on `world:factored`.

Of 16 dimensions, 4 follow their past with rho = 0.9 and 12 are white. Given the past a frame is
Gaussian, so the least squared error at B nats is known: reverse water-filling over the variances
that the past leaves (Cover & Thomas, section 10.3.3). No code lies below that curve. All options
but the budget and the steps are the defaults.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from latentbench.factorizations import Fitting
from latentbench.factorizations.plugin import RssmOptions
from latentbench.factorizations.rssm import Rssm
from latentbench.latents import Latents
from latentbench.worlds.gaussian import factored

RHO, STATE, REST = 0.9, 4, 12
LEFT = [1 - RHO**2] * STATE + [1.0] * REST  # variances given the past
START = 20  # frames until the past is known as well as it will be


def least_error(nats: float) -> float:
    """By bisection on the water level."""
    low, high = 1e-9, max(LEFT)
    for _ in range(100):
        level = np.sqrt(low * high)
        rate = sum(0.5 * np.log(one / level) for one in LEFT if one > level)
        low, high = (level, high) if rate > nats else (low, level)
    return sum(min(one, level) for one in LEFT)


def drawn(seed: int) -> Latents:
    world = factored(STATE + REST, STATE, RHO, 1.0, 1)
    rows = world.sample(60, 200, np.random.default_rng(seed)).astype(np.float32)
    arrays = {str(number): one for number, one in enumerate(rows)}
    return Latents.from_arrays(arrays, {name: name for name in arrays})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=RssmOptions().steps)
    parser.add_argument("--budgets", type=float, nargs="+", default=[2.0, 8.0, 32.0])
    given = parser.parse_args()
    train, test = drawn(1), drawn(2)
    print(
        f"{given.steps} steps\n{'budget':>8}{'KL':>8}{'error':>9}{'least':>9}{'over it':>9}{'s':>6}"
    )
    for budget in given.budgets:
        made = Rssm(RssmOptions(budget=budget, steps=given.steps))
        began = time.perf_counter()
        made.fit(train, range(60), Fitting(torch.device("cpu")))
        took = time.perf_counter() - began
        errors, rates = [], []
        for index in range(len(test.utterances)):
            x = test.utterance(index)
            told = made.account(x)
            errors.append((x - told.rebuilt).square().sum(-1)[START:])
            rates.append(told.kl[START:])
        error, rate = (float(torch.cat(one).double().mean()) for one in (errors, rates))
        least = least_error(rate)
        over = error / least - 1
        row = f"{budget:>8g}{rate:>8.2f}{error:>9.3f}{least:>9.3f}{over:>9.1%}{took:>6.0f}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
