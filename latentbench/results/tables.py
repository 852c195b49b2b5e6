"""The tables and weights of all cells, brought together in the run folder."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from latentbench.files import reading, sealed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

AGAIN = "Give the same 'latentbench run' command again: the cell is computed again."

__all__ = ["AGAIN", "link_or_copy", "merge_tables"]


def merge_tables(parts: Sequence[Path], merged: Path) -> None:
    """Write the rows of all parts, in their order, as one Parquet file.

    One row group is in memory at a time. Nothing is written where there are no parts.
    """
    if not parts:
        return
    with sealed(merged) as partial, pa.OSFile(str(partial), "wb") as sink:
        with reading(parts[0], AGAIN):
            schema = pq.read_schema(parts[0])
        with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            for part in parts:
                for rows in _groups(part):
                    writer.write_table(rows)


def _groups(part: Path) -> Iterator[pa.Table]:
    with reading(part, AGAIN), pq.ParquetFile(part) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file at a second place, without a second copy where the file system allows it."""
    with sealed(target) as partial:
        with suppress(OSError):
            os.link(source, partial)
        if not partial.exists():
            shutil.copyfile(source, partial)
