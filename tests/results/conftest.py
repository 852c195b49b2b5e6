"""Cells written by hand, in the format the cells of a run write."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from latentbench.config import RunConfig
from latentbench.files import write_text
from latentbench.plugins import load_registry
from latentbench.results.schema import CellRecord

COLUMNS = (
    "nll",
    "nll_baseline",
    "nll_unconditional",
    "nll_x",
    "nll_x_baseline",
    "cosine",
    "log_norm",
    "log_norm_mean",
)


def cell_tables(seed: int, horizon: int, rows: int = 400) -> tuple[pa.Table, pa.Table]:
    """Frames of both splits in random order, and a rollout with one infinite frame."""
    random = np.random.default_rng([seed, horizon])
    scores = {name: random.normal(size=rows) for name in COLUMNS}
    split = random.choice(["train", "eval"], rows)
    frames = pa.table(
        {
            "horizon": pa.array(np.full(rows, horizon), pa.int16()),
            "seed": pa.array(np.full(rows, seed), pa.int32()),
            "split": pa.array(split).dictionary_encode(),
            "utterance": pa.array([f"u{i % 7}" for i in range(rows)]).dictionary_encode(),
            "speaker": pa.array([f"s{i % 3}" for i in range(rows)]).dictionary_encode(),
            "frame": pa.array(np.arange(rows), pa.int32()),
            "slice_high_energy": random.random(rows) < 0.3,
            **scores,
        }
    )
    gap = np.append(random.exponential(size=20), np.inf)
    rollout = pa.table(
        {
            "horizon": pa.array(np.full(21, horizon), pa.int16()),
            "seed": pa.array(np.full(21, seed), pa.int32()),
            "utterance": pa.array([f"u{i % 3}" for i in range(21)]).dictionary_encode(),
            "speaker": pa.array(["s"] * 21).dictionary_encode(),
            "frame": pa.array(np.arange(21), pa.int32()),
            "depth": pa.array(np.arange(21), pa.int32()),
            "nll_teacher": np.ones(21),
            "nll_rollout": gap + 1,
            "nll_baseline": np.ones(21),
        }
    )
    return frames, rollout


@pytest.fixture
def write_cell():
    """Write a finished cell; its tables are returned."""

    def write(folder: Path, horizon: int, seed: int, **facts: Any) -> tuple[pa.Table, pa.Table]:
        folder.mkdir(parents=True)
        frames, rollout = cell_tables(seed, horizon)
        pq.write_table(frames, folder / "frames.parquet", row_group_size=64)
        pq.write_table(rollout, folder / "rollout.parquet")
        save_file({"w": torch.full((3,), float(horizon))}, folder / "model.safetensors")
        record = CellRecord(
            horizon=horizon,
            seed=seed,
            **(
                {
                    "status": "done",
                    "frames": {"train": 200, "eval": 200},
                    "scored": {"train": 200, "eval": 200},
                    "parameters": 3,
                    "seconds": {"fit": 1.0},
                }
                | facts
            ),
        )
        write_text(folder / "cell.json", record.to_json())
        return frames, rollout

    return write


@pytest.fixture(scope="session")
def registry():
    """The built-in components."""
    return load_registry()


@pytest.fixture
def config():
    """Two horizons, two slices."""
    return RunConfig.model_validate(
        {"task": {"horizons": (1, 2), "slices": ("all", "high_energy")}}
    )
