"""The tables and weights of all cells, brought together in the run folder."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from latentbench.files import atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["link_or_copy", "merge_tables"]


def merge_tables(parts: Sequence[Path], merged: Path) -> None:
    """Write the rows of all parts, in their order, as one Parquet file.

    One row group is in memory at a time. Nothing is written where there are no parts.
    """
    if not parts:
        return
    with atomic(merged) as partial, pa.OSFile(str(partial), "wb") as sink:
        schema = pq.read_schema(parts[0])
        with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            for part in parts:
                with pq.ParquetFile(part) as file:
                    for group in range(file.num_row_groups):
                        writer.write_table(file.read_row_group(group))


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file at a second place, without a second copy where the file system allows it."""
    with atomic(target) as partial:
        with suppress(OSError):
            os.link(source, partial)
        if not partial.exists():
            shutil.copyfile(source, partial)
