"""Engines in other processes: a cell and its work travel, a display does not."""

import io
import pickle
from pathlib import Path

import pyarrow.parquet as pq

from latentbench.cells import CellWork
from latentbench.config import RunConfig
from latentbench.display import LineProgress
from latentbench.engines import Cell
from latentbench.plugins import load_registry

POOL = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from latentbench.engines import Engine, Outcome
from latentbench.errors import LatentbenchError
from latentbench.hookspecs import hookimpl
from latentbench.specs import EngineSpec

@hookimpl
def latentbench_engines():
    yield EngineSpec(name="pool", summary="one other process", factory=f"{__name__}:Pool")

class Pool(Engine):
    def __init__(self, options):
        pass

    def run(self, cells, work):
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            for cell, future in [(cell, pool.submit(work, cell)) for cell in cells]:
                try:
                    future.result()
                except LatentbenchError as error:
                    yield Outcome(cell, str(error))
                else:
                    yield Outcome(cell)
"""
SMALL = (
    *("--encoder", "latents", "--corpus", "world:ar1", "--horizons", "1", "--steps", "3"),
    *("--set", "corpus.speakers=4", "--set", "corpus.dim=4", "--set", "predictor.width=8"),
    *("--set", "utterances.min_seconds=0", "--device", "cpu"),
)


def test_a_cell_and_its_work_travel_without_the_display():
    cell = Cell(RunConfig(), 1, 42, Path("store"), Path("manifest"), Path("k1"))
    work = CellWork(load_registry(), LineProgress(io.StringIO()))
    again, sent = pickle.loads(pickle.dumps((cell, work)))  # noqa: S301 - our own bytes
    assert again == cell
    assert not isinstance(sent.progress, LineProgress)


def test_cells_in_another_process_give_the_numbers_of_cells_here(invoke, tmp_path):
    plugin = tmp_path / "pool.py"
    plugin.write_text(POOL)
    cache = ("--cache", tmp_path / "cache")
    here = invoke("run", *SMALL, *cache, "--out", tmp_path / "here")
    assert here.exit_code == 0, here.stderr
    elsewhere = ("--set", "engine=pool", "--out", tmp_path / "there")
    there = invoke("--plugin", plugin, "run", *SMALL, *cache, *elsewhere)
    assert there.exit_code == 0, there.stderr
    tables = [pq.read_table(tmp_path / name / "frames.parquet") for name in ("here", "there")]
    assert tables[0].equals(tables[1])
