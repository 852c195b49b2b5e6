"""Arrays in files of the formats that latents are kept in: numpy's, torch's, safetensors, Parquet.

Nothing in a file is executed.
"""

from __future__ import annotations

import re
import zipfile
from abc import ABC, abstractmethod
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import safe_open

from latentbench.corpora.corpus import AudioError, PassingTroubleError, of_the_machine
from latentbench.corpora.ledger import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["FORMATS", "ArrayFile", "as_numpy", "open_arrays", "reading_refused"]

HELD_OPEN = 4  # files that are read side by side
SENTENCE = re.compile(r"\.\s|\n")


class ArrayFile(ABC):
    """The arrays of one file.

    Attributes:
        holds_one: whether the format has one array to a file, without a name.
    """

    holds_one: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, file: Path) -> None:
        """Open the file, and read no more than what it holds."""

    def names(self) -> list[str]:
        """Of the arrays; one empty name where the format holds one array."""
        return [""]

    @abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """Of an array, as far as possible without reading its values."""

    @abstractmethod
    def read(self, name: str) -> NDArray[Any]:
        """The values of an array."""


class _Npy(ArrayFile):
    holds_one = True

    def __init__(self, file: Path) -> None:
        self._array = np.load(file, mmap_mode="r", allow_pickle=False)

    def shape(self, name: str) -> tuple[int, ...]:
        del name
        return tuple(self._array.shape)

    def read(self, name: str) -> NDArray[Any]:
        del name
        return np.array(self._array)


class _Npz(ArrayFile):
    def __init__(self, file: Path) -> None:
        self._arrays: Any = np.load(file, allow_pickle=False)

    def names(self) -> list[str]:
        return list(self._arrays.files)

    def shape(self, name: str) -> tuple[int, ...]:
        """By the header: values may be packed."""
        with self._arrays.zip.open(f"{name}.npy") as packed:
            version = np.lib.format.read_magic(packed)
            read = "read_array_header_1_0" if version == (1, 0) else "read_array_header_2_0"
            return tuple(getattr(np.lib.format, read)(packed)[0])

    def read(self, name: str) -> NDArray[Any]:
        return np.asarray(self._arrays[name])


class _Pt(ArrayFile):
    """What `torch.save` wrote: a tensor, or a dict with tensors; nothing in it is executed."""

    def __init__(self, file: Path) -> None:
        mapped = zipfile.is_zipfile(file)  # before torch 1.6: no zip, and no map
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
        held = found if isinstance(found, dict) else {"": found}
        self._tensors = {str(k): one for k, one in held.items() if isinstance(one, torch.Tensor)}

    def names(self) -> list[str]:
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name].shape)

    def read(self, name: str) -> NDArray[Any]:
        return as_numpy(self._tensors[name])


class _Safetensors(ArrayFile):
    def __init__(self, file: Path) -> None:
        self._opened: Any = safe_open(file, framework="pt")

    def names(self) -> list[str]:
        return list(self._opened.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._opened.get_slice(name).get_shape())

    def read(self, name: str) -> NDArray[Any]:
        return as_numpy(self._opened.get_tensor(name))


class _Parquet(ArrayFile):
    """A row a frame: a column for each dimension, or one column of lists of numbers."""

    holds_one = True

    def __init__(self, file: Path) -> None:
        self._table = pq.ParquetFile(file, memory_map=True)

    def shape(self, name: str) -> tuple[int, ...]:
        schema = self._table.schema_arrow
        if any(pa.types.is_nested(one.type) for one in schema):
            return self.read(name).shape
        return self._table.metadata.num_rows, len(schema)

    def read(self, name: str) -> NDArray[Any]:
        del name
        columns = self._table.read().columns
        if len(columns) == 1 and pa.types.is_nested(columns[0].type):
            rows = columns[0].combine_chunks()
            values = np.asarray(rows.flatten())
            lengths = set(rows.value_lengths().to_pylist())
            if len(lengths) > 1 or None in lengths:
                raise AudioError("its lists are not of one length")
            return values.reshape(len(rows), -1)
        return np.stack([np.asarray(one) for one in columns], axis=1)


FORMATS: dict[str, type[ArrayFile]] = {
    ".npy": _Npy,
    ".npz": _Npz,
    ".pt": _Pt,
    ".safetensors": _Safetensors,
    ".parquet": _Parquet,
}


@contextmanager
def reading_refused() -> Iterator[None]:
    """Say in a few words what a library says of a file that it cannot read.

    Raises:
        AudioError: instead of whatever is raised.
        PassingTroubleError: the machine could not read it.
    """
    try:
        with of_the_machine("an array file"):
            yield
    except (AudioError, PassingTroubleError):
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
        raise AudioError(f"cannot be read: {SENTENCE.split(reason)[0]}") from error


def open_arrays(file: Path) -> ArrayFile:
    """The arrays of a file as it is now.

    Raises:
        AudioError: it is not there, of no known format, or cannot be read.
    """
    if not file.is_file():
        raise AudioError("not there")
    if file.suffix.lower() not in FORMATS:
        raise AudioError(f"of none of the formats {', '.join(FORMATS)}")
    with reading_refused():
        return _opened_in_state(file, Entry.of(file))


@lru_cache(HELD_OPEN)
def _opened_in_state(file: Path, state: Entry) -> ArrayFile:
    """Opened once for all arrays in the file, and again where it was touched since."""
    del state
    return FORMATS[file.suffix.lower()](file)


def as_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """The same; bfloat16, which numpy has not, as float32."""
    return np.asarray((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())
