"""Memory of training from a memory-mapped store far larger than the memory it may take.

Makes safetensors shards of random latents (D = 512) on the spot, trains Phase 1's MDN on them
in a process of its own, and prints that process's peak of anonymous memory: its own, without
pages of the files it maps, which the kernel may drop at any time.

Usage: python benchmarks/training_memory.py [--gib 4] [--steps 40] [--folder DIR]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from latentbench.config import TrainingConfig
from latentbench.latents import Latents, StoredUtterance
from latentbench.predictors.mdn import MixtureDensityNetwork
from latentbench.predictors.plugin import MdnOptions
from latentbench.predictors.training import Training, train
from latentbench.progress import SILENT
from latentbench.tasks import WindowTask

if TYPE_CHECKING:
    from typing_extensions import Self

W, D = 8, 512
GIB = 1 << 30
SHARD_ROWS = GIB // 4 // (4 * D)
UTTERANCE_ROWS = 128
SAMPLE_SECONDS = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--folder", type=Path, help="where the store is made and removed")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        measure(arguments.train, arguments.steps)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        make_store(Path(folder), arguments.gib)
        command = [sys.executable, __file__, "--train", folder, "--steps", str(arguments.steps)]
        subprocess.run(command, check=True)


def make_store(folder: Path, gib: float) -> None:
    random = np.random.default_rng(0)
    rows = torch.from_numpy(random.standard_normal((SHARD_ROWS, D), dtype=np.float32))
    first = folder / "shard-00.safetensors"
    save_file({"latents": rows}, first)
    for number in range(1, round(gib * GIB / (4 * D) / SHARD_ROWS)):
        shutil.copyfile(first, folder / f"shard-{number:02}.safetensors")


def measure(folder: Path, steps: int) -> None:
    shards = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            shards.append(file.get_tensor("latents"))
    rows = sum(len(shard) for shard in shards)
    utterances = [
        StoredUtterance(str(start), "s", start, UTTERANCE_ROWS)
        for start in range(0, rows, UTTERANCE_ROWS)
    ]
    latents = Latents(shards, np.zeros(rows, np.float32), utterances, 12.5)
    frames = WindowTask(context_frames=W, horizon=1).frames(latents, range(len(utterances)))
    torch.manual_seed(0)
    model = MixtureDensityNetwork(MdnOptions(), context_frames=W, dim=D)
    config = TrainingConfig(steps=steps, sampling="uniform")
    before = anonymous()
    with Peak() as peak:
        checkpoint = folder / "checkpoint.pt"
        train(model, frames, Training(config, 0, torch.device("cpu"), checkpoint, SILENT))
    parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    print(f"{rows:,} rows, {rows * D * 4 / GIB:.2f} GiB in {len(shards)} shards, {steps} steps")
    print(f"{'':44}{'GiB':>8}{'of store':>10}")
    for name, amount in (
        ("peak of anonymous memory in training", peak.bytes),
        ("  of it there before (imports, index, model)", before),
        ("  least: parameters, gradients, two moments", 4 * parameters),
        ("mapped file pages, which the kernel may drop", memory("RssFile")),
    ):
        print(f"{name:44}{amount / GIB:8.3f}{amount / (rows * D * 4):10.3f}")


class Peak:
    """The largest anonymous memory of this process, looked at every 20 ms."""

    def __enter__(self) -> Self:
        self.bytes = anonymous()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.bytes = max(self.bytes, anonymous())


def anonymous() -> int:
    """Bytes of this process that no file backs."""
    return memory("RssAnon") + memory("RssShmem")


def memory(field: str) -> int:
    text = Path(f"/proc/{os.getpid()}/status").read_text("utf-8")
    return next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith(field))


if __name__ == "__main__":
    main()
