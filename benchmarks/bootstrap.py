"""Intervals from per-speaker sums against resampling the frames themselves.

One million frames of 51 speakers, 2,000 resamples. Ours reduces the frames to sums per speaker
once; the naive bootstrap gathers every frame of every drawn speaker, is timed on a few
resamples and multiplied up. Prints seconds, their ratio, and both standard errors, which agree
up to the few resamples of the naive one. The next line is a difference of two runs, the last a
figure of the frames themselves: computed anew without each speaker in turn, for a jackknife.

Usage: python benchmarks/bootstrap.py [--frames N] [--speakers G] [--resamples B] [--naive R]
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np

from latentbench.metrics.statistics import R2, Mean, OfFrames, Quantile
from latentbench.results.uncertainty import difference, estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from latentbench.metrics.statistics import Statistic

    Floats = NDArray[np.float64]

STATISTICS: dict[str, Statistic] = {
    "dnll": Mean("nll", minus="nll_baseline"),
    "logmag_r2": R2("log_norm", "log_norm_mean"),
    "median": Quantile("nll"),
}
PLAIN: dict[str, Callable[[Mapping[str, Floats]], float]] = {
    "dnll": lambda c: float((c["nll"] - c["nll_baseline"]).mean()),
    "logmag_r2": lambda c: float(
        1
        - np.square(c["log_norm"] - c["log_norm_mean"]).sum()
        / np.square(c["log_norm"] - c["log_norm"].mean()).sum()
    ),
    "median": lambda c: float(np.median(c["nll"])),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--speakers", type=int, default=51)
    parser.add_argument("--resamples", type=int, default=2_000)
    parser.add_argument("--naive", type=int, default=20)
    arguments = parser.parse_args()
    columns, codes = make_frames(arguments.frames, arguments.speakers)
    names = [str(g) for g in range(arguments.speakers)]
    print(
        f"{arguments.frames:,} frames, {arguments.speakers} speakers, "
        f"{arguments.resamples:,} resamples"
    )
    print("figure         ours   naive (extrapolated)   ratio   standard error: ours  naive")
    for name, plain in PLAIN.items():
        statistic = STATISTICS[name]
        started = time.perf_counter()
        found = estimate(statistic.reduce(columns, codes, names), resamples=arguments.resamples)
        ours = time.perf_counter() - started
        started = time.perf_counter()
        values = naive(columns, codes, plain, arguments.naive)
        theirs = (time.perf_counter() - started) * arguments.resamples / arguments.naive
        print(
            f"{name:10s} {ours:7.3f} s   {theirs:12.1f} s     {theirs / ours:9,.0f}x"
            f"   {found.standard_error:15.4g} {np.std(values, ddof=1):10.4g}",
            flush=True,
        )
    started = time.perf_counter()
    sides = (Mean("nll"), STATISTICS["dnll"])
    first, second = (statistic.reduce(columns, codes, names) for statistic in sides)
    difference(first, second, resamples=arguments.resamples)
    print(f"difference {time.perf_counter() - started:7.3f} s")
    started = time.perf_counter()
    anew = estimate(OfFrames(("nll", "nll_baseline"), PLAIN["dnll"]).reduce(columns, codes, names))
    print(
        f"anew       {time.perf_counter() - started:7.3f} s   without each of {len(names)} speakers"
        f"           {anew.standard_error:27.4g}"
    )


def make_frames(count: int, speakers: int) -> tuple[dict[str, Floats], NDArray[np.intp]]:
    """Columns of frames whose level is their speaker's, in stream order."""
    rng = np.random.default_rng(0)
    codes = np.sort(rng.integers(0, speakers, count))
    level = rng.normal(size=speakers)[codes]
    columns = {
        "nll": 1_100.0 + 20.0 * level + 50.0 * rng.normal(size=count),
        "nll_baseline": 1_260.0 + 15.0 * level + 40.0 * rng.normal(size=count),
        "log_norm": 3.0 + 0.1 * level + 0.2 * rng.normal(size=count),
    }
    columns["log_norm_mean"] = 0.5 * columns["log_norm"] + 1.2 + 0.1 * rng.normal(size=count)
    return columns, codes


def naive(
    columns: dict[str, Floats],
    codes: NDArray[np.intp],
    plain: Callable[[Mapping[str, Floats]], float],
    resamples: int,
) -> list[float]:
    """Draw speakers, gather all their frames, compute the figure."""
    rng = np.random.default_rng(1)
    rows_of = [np.flatnonzero(codes == g) for g in range(int(codes.max()) + 1)]
    values = []
    for _ in range(resamples):
        rows = np.concatenate([rows_of[g] for g in rng.integers(0, len(rows_of), len(rows_of))])
        values.append(plain({name: column[rows] for name, column in columns.items()}))
    return values


if __name__ == "__main__":
    main()
