"""How often lb1's 95 % interval of the gain holds the truth, over worlds drawn anew.

Each world is drawn with several seeds, `linear` is fitted by the protocol lb1 at its four
stalenesses, and every interval is held against the closed form. A correct interval misses one
truth in twenty; so the count is what can be tested, not each of them. Printed beside it: how far
the mean estimate is from the truth, in nats, which is the price of fitting W·D·D numbers on few
frames.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import latentbench as lb
from latentbench.worlds.plugin import build_world, world_options

WORLDS = {"ar1": {}, "var": {}, "state-space": {}, "factored": {"predictable": 1}, "iid": {}}
SETTINGS = [
    "predictor.covariance=full",
    "utterances.min_seconds=0",
    "evaluation.metrics=[nll, dnll, gain, r2i]",
    "rollout.utterances=0",
    "seeds=[0]",
    "device=cpu",
]


def intervals(world: str, options: dict[str, int], folder: Path) -> list[tuple[float, bool]]:
    """The miss of each staleness's gain, and whether its interval holds the truth."""
    layers = [f"corpus.{name}={value}" for name, value in options.items()]
    result = lb.run(
        preset="lb1",
        encoder="latents",
        corpus=f"world:{world}",
        predictor="linear",
        set=[*SETTINGS, *layers],
        out=folder / "run",
        cache=folder / "cache",
        progress=False,
    )
    known = build_world(world_options(world)(**options))
    found = []
    for horizon in result.record.horizons:
        truth = known.truth(horizon.k, result.config.task.context_frames, "x")
        expected = truth.nll_unconditional - truth.nll
        gain = horizon.figure("eval", "all", "gain")
        found.append((gain.value - expected, gain.low <= expected <= gain.high))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--speakers", type=int, default=60)
    parser.add_argument("--frames", type=int, default=480, help="of each of two utterances")
    parser.add_argument("--dim", type=int, default=2)
    given = parser.parse_args()
    held = total = 0
    print(f"{'world':<14}{'intervals':>10}{'hold':>6}{'':>4}{'mean miss, nats':>16}")
    for world, own in WORLDS.items():
        found = []
        for draw in range(given.draws):
            size = {"speakers": given.speakers, "utterances": 2, "frames": given.frames}
            options = {**size, "dim": given.dim, "seed": draw, **own}
            with tempfile.TemporaryDirectory() as folder:
                found += intervals(world, options, Path(folder))
        holds = sum(ok for _, ok in found)
        miss = sum(by for by, _ in found) / len(found)
        print(f"{world:<14}{len(found):>10}{holds / len(found):>7.0%}{miss:>19.4f}", flush=True)
        held, total = held + holds, total + len(found)
    print(f"{'all':<14}{total:>10}{held / total:>7.1%}")


if __name__ == "__main__":
    main()
