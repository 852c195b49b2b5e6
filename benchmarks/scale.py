"""What 60,000 hours would take on paper, from what is measured here on small sizes.

Measured: memory and time of an utterance in the list and in the plan of batches; the time of the
CPU for the books of a shard (names, checksums, index) in a store that holds many; how fast shards
are compared with their checksums. The books are a straight line over the shards that are there: it
is fitted on the first shards, and what it says of the next ones is printed beside what they took.

Usage: python benchmarks/scale.py [--hours 60000] [--seconds 15] [--utterances 20000]
           [--shards 1200]
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import torch

from latentbench.corpora.plugin import WhiteNoiseOptions
from latentbench.corpora.white_noise import WhiteNoise
from latentbench.files import damage, seal
from latentbench.latents.encoding import SHARD_BYTES, plan_batches
from latentbench.latents.store import LatentStore, ShardEntry
from latentbench.progress import SILENT
from latentbench.workspace import Workspace

RATES = {"12.5 Hz, D 512": (12.5, 512), "75 Hz, D 128": (75.0, 128)}
SPEAKERS = 100
FITTED = 0.75  # of the shards; the others are foretold
FLOAT = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=60_000.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--utterances", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=1200)
    given = parser.parse_args()
    bytes_each, seconds_each = listing(given.utterances)
    with tempfile.TemporaryDirectory() as folder:
        base, slope = adding(Path(folder), given.shards)
        speed = checking(Path(folder))
    print(f"an utterance: {bytes_each:,.0f} bytes and {1e6 * seconds_each:.1f} us to list and plan")
    print(f"a shard: {1e3 * base:.1f} ms, and {1e6 * slope:.1f} us for each that is there")
    print(f"checksums: {speed / 1e9:.2f} GB/s")
    utterances = given.hours * 3600 / given.seconds
    print(f"\n{given.hours:,.0f} hours, {utterances:,.0f} utterances of {given.seconds:g} s")
    print(f"  list and plan: {utterances * bytes_each / 1e9:.1f} GB of memory")
    for name, (rate, dim) in RATES.items():
        size = given.hours * 3600 * rate * (dim + 1) * FLOAT
        shards = size / SHARD_BYTES
        books = shards * base + slope * shards**2 / 2
        print(
            f"  {name}: {size / 1e12:.2f} TB in {shards:,.0f} shards; bookkeeping "
            f"{books / 3600:.1f} h; all checksums {size / speed / 3600:.1f} h"
        )


def listing(count: int) -> tuple[float, float]:
    """Bytes and seconds of an utterance."""
    options = WhiteNoiseOptions(speakers=SPEAKERS, utterances=count // SPEAKERS)

    def once() -> object:
        listed = WhiteNoise(options, Workspace()).utterances()
        return listed, plan_batches(listed, 300.0)

    started = time.perf_counter()
    once()
    seconds = time.perf_counter() - started
    tracemalloc.start()
    kept = once()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return size / count, seconds / count


def adding(folder: Path, count: int) -> tuple[float, float]:
    """Seconds of the CPU to add a shard, and more for each that is there."""
    store = LatentStore.for_key(folder, {"encoder": "none", "corpus": "none"})
    latents, energy = torch.zeros(8, 4), torch.zeros(8)
    took = []
    with store.writing(SILENT):
        for number in range(count):
            started = time.process_time()
            store.add(latents, energy, [ShardEntry(str(number), "", "", 0, [8])])
            took.append(time.process_time() - started)
    seconds, fitted = np.array(took), round(FITTED * count)
    slope, base = np.polyfit(np.arange(fitted), seconds[:fitted], 1)
    foretold = (base + slope * np.arange(fitted, count)).sum()
    print(
        f"shards {fitted} to {count}: {foretold:.2f} s foretold, {seconds[fitted:].sum():.2f} s "
        "measured"
    )
    return float(base), float(slope)


def checking(folder: Path) -> float:
    """Bytes a second that are compared with their checksum."""
    file = folder / "shard"
    file.write_bytes(bytes(SHARD_BYTES))
    seal(file)
    started = time.perf_counter()
    damage(file)
    return SHARD_BYTES / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
