"""Latents that somebody has already: in the files of a folder, or in memory.

Both corpora are used with the encoder `latents`. Frames are rows: an array is [T, D].
"""

from __future__ import annotations

import hashlib
import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from latentbench.corpora.array_files import FORMATS, as_numpy, open_arrays, reading_refused
from latentbench.corpora.audio_folder import FolderCorpus
from latentbench.corpora.corpus import AudioError, AudioSource, Corpus, LatentFormat, Utterance
from latentbench.corpora.ledger import Ledger
from latentbench.errors import UsageError, some

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path, PurePosixPath

    from numpy.typing import NDArray

    from latentbench.corpora.array_files import ArrayFile
    from latentbench.corpora.audio_folder import ListedFile
    from latentbench.corpora.plugin import LatentsFolderOptions
    from latentbench.workspace import Workspace

__all__ = ["LatentArrays", "LatentsFolder"]

MATRIX = 2  # axes: frames and dimensions


class LatentsFolder(FolderCorpus):
    """Files of latents below a folder; who speaks comes from the paths or from a CSV.

    A `.npy` or Parquet file is one utterance. A `.npz`, `.pt` or safetensors file that holds
    several arrays is like a folder of them: `speaker/session.npz/utterance`.
    """

    kind = "latents-folder"
    content = "latents"
    suffixes = tuple(FORMATS)
    examples = ", ".join(FORMATS)

    def __init__(self, options: LatentsFolderOptions, workspace: Workspace) -> None:
        super().__init__(options, workspace)
        self._options = options
        if not 0 < options.frame_rate < math.inf:
            raise UsageError(
                f"corpus.frame_rate={options.frame_rate:g}: the corpus 'latents-folder' needs to "
                "know how many frames a second has.",
                "It cannot be told from the files: pass e.g. --set corpus.frame_rate=12.5",
            )

    @property
    def identity(self) -> Mapping[str, str]:
        """What `FolderCorpus.identity` says, and what is taken from the files."""
        own = {"frame_rate": f"{self._options.frame_rate:g}", "array": self._options.array}
        return {**super().identity, **own, "transposed": str(self._options.transposed)}

    @property
    def latents(self) -> LatentFormat:  # type: ignore[override]
        """D of the first file that can be used, and the frame rate."""
        dims = [shape[1] for _, _, shape in self._described if isinstance(shape, tuple)]
        if not dims:
            _, source, why = self._described[0]
            raise UsageError(
                f"None of the {len(self._described)} files of '{self.name}' can be used, "
                f"'{source.describe()}' since: {why}.",
                "Each must hold [T, D] numbers: .npy, .npz, .pt, .safetensors or .parquet.",
            )
        return LatentFormat(dims[0], self._options.frame_rate)

    def utterances(self) -> Sequence[Utterance]:
        """Every array that fits the pattern, or that the CSV lists.

        One that cannot be used, or has another D than the first, says why.

        Raises:
            UsageError: as `listed`, or none can be used.
        """
        dim, rate = self.latents
        found = []
        for one, source, shape in self._described:
            frames, problem = (0, shape) if isinstance(shape, str) else (shape[0], "")
            if not isinstance(shape, str) and shape[1] != dim:
                problem = f"of {shape[1]} dimensions, where the first file has {dim}"
            found.append(
                Utterance(
                    one.id,
                    one.speaker,
                    source,
                    rate,
                    frames / rate,
                    attributes=one.attributes,
                    problem=problem or ("" if frames else "no frames"),
                )
            )
        return found

    def inside(self, path: str) -> Sequence[str]:
        """The arrays in a file, as paths; see `FolderCorpus.inside`."""
        file = self._root / path
        if self._options.array or FORMATS[file.suffix.lower()].holds_one:
            return [path]
        try:
            names = open_arrays(file).names()
        except AudioError:  # listing says why
            return [path]
        return [path] if len(names) <= 1 else [f"{path}/{name}" for name in sorted(names)]

    def is_there(self, path: PurePosixPath) -> bool:
        """Whether there is such a file, whatever it holds."""
        return self._file_of(path)[0].is_file()

    @cached_property
    def _described(self) -> list[tuple[ListedFile, _StoredArray, tuple[int, int] | str]]:
        """Each listed array with its shape, or why it has none."""
        found, listed, ledger = [], self.listed(), Ledger.of(self._workspace)
        with self._workspace.progress.task(f"listing {self.name}", len(listed), "files") as meter:
            for one in listed:
                file, name = self._file_of(one.path)
                name = self._options.array or name
                source = _StoredArray(file, name, ledger, transposed=self._options.transposed)
                found.append((one, source, source.shape_or_why()))
                meter.advance()
        return found

    def _file_of(self, path: PurePosixPath) -> tuple[Path, str]:
        """The file of an array, and its name in there."""
        for file in path.parents:
            if (self._root / file).is_file():
                return self._root / file, path.relative_to(file).as_posix()
        return self._root / path, ""


class LatentArrays(Corpus):
    """Latents in memory.

    Args:
        arrays: utterance id -> [T, D], numpy or torch, of a floating type.
        speakers: utterance id -> speaker.
        frame_rate: frames per second.
        name: what the result calls the corpus.

    Raises:
        UsageError: an array is not [T, D], D is not the same for all, a number is not finite, a
            speaker is not known, or there is nothing.
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        speakers: Mapping[str, str],
        *,
        frame_rate: float,
        name: str = "arrays",
    ) -> None:
        if not 0 < frame_rate < math.inf:
            raise UsageError(f"frame_rate={frame_rate!r} is no number of frames per second.")
        if without := [one for one in arrays if one not in speakers]:
            raise UsageError(
                f"{len(without)} of {len(arrays)} utterances have no speaker: {some(without)}.",
                "Give `speakers` a speaker for every utterance: the split is by speaker.",
            )
        self.name = name
        self._speakers = dict(speakers)
        self._sources = {one: _HeldArray(one, array) for one, array in arrays.items()}
        dims = {source.values.shape[1] for source in self._sources.values()}
        if len(dims) != 1:
            raise UsageError(
                f"The latents have {sorted(dims) or 'no'} dimensions; all must have the same D.",
                "Arrays are [T, D]: frames in rows.",
            )
        self.latents = LatentFormat(dims.pop(), frame_rate)

    @property
    def identity(self) -> Mapping[str, str]:
        """The name: utterances are told apart by their content."""
        return {"corpus": "arrays", "name": self.name}

    def utterances(self) -> Sequence[Utterance]:
        """One per array, in the order given."""
        _, rate = self.latents or (0, 0.0)
        return [
            Utterance(one, str(self._speakers[one]), source, rate, len(source.values) / rate)
            for one, source in self._sources.items()
        ]


class _HeldArray(AudioSource):
    """One array in memory.

    Attributes:
        values: float32 [T, D].
    """

    def __init__(self, name: str, array: Any) -> None:
        self._name = name
        if isinstance(array, torch.Tensor):
            array = as_numpy(array.detach().cpu())
        try:
            self.values = _checked(np.asarray(array))
        except AudioError as error:
            raise UsageError(
                f"The latents of '{name}' cannot be used: {error}.",
                "Each must be [T, D], frames in rows, of a floating type.",
            ) from None
        self.size = self.values.nbytes

    def read(self) -> NDArray[np.float32]:
        """The array, float32 [D, T]."""
        return np.ascontiguousarray(self.values.T)

    def digest(self) -> str:
        """The sha256 of shape and values, as hex."""
        state = hashlib.sha256(repr(self.values.shape).encode())
        state.update(np.ascontiguousarray(self.values).tobytes())
        return state.hexdigest()

    def describe(self) -> str:
        """The id of the utterance."""
        return self._name


class _StoredArray(AudioSource):
    """One array in a file."""

    def __init__(self, file: Path, name: str, ledger: Ledger, *, transposed: bool) -> None:
        self._file, self._name, self._ledger = file, name, ledger
        self._transposed = transposed
        self.size = file.stat().st_size if file.is_file() else None

    def shape_or_why(self) -> tuple[int, int] | str:
        """[T, D] as the file says it, or why it cannot be used; reads no more than it must."""
        try:
            with reading_refused():
                arrays = open_arrays(self._file)
                shape = arrays.shape(self._chosen(arrays))
            return _matrix(shape[::-1] if self._transposed else shape)
        except AudioError as error:
            return str(error)

    def read(self) -> NDArray[np.float32]:
        """The array, float32 [D, T].

        Raises:
            AudioError: the file cannot be read, or is not [T, D] of finite numbers.
        """
        with reading_refused():
            arrays = open_arrays(self._file)
            values = arrays.read(self._chosen(arrays))
        return np.ascontiguousarray(_checked(values.T if self._transposed else values).T)

    def digest(self) -> str:
        """The sha256 of the file's bytes, and which array in it.

        Raises:
            AudioError: the file cannot be read.
        """
        with reading_refused():
            return f"{self._ledger.digest(self._file)}{self._name and '/'}{self._name}"

    def describe(self) -> str:
        """The path, and which array."""
        return f"{self._file}{self._name and '/'}{self._name}"

    def _chosen(self, arrays: ArrayFile) -> str:
        names = arrays.names()
        if not self._name and len(names) == 1:
            return names[0]
        if self._name not in names:
            wanted = f"no array '{self._name}'" if self._name else f"{len(names)} arrays"
            raise AudioError(f"{wanted}, it holds {some(names) or 'nothing'}")
        return self._name


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != MATRIX or not shape[1]:
        raise AudioError(f"of shape {list(shape)}, expected [T, D]")
    return shape[0], shape[1]


def _checked(values: NDArray[Any]) -> NDArray[np.float32]:
    """Latents [T, D] as float32.

    Raises:
        AudioError: another shape, another kind of number, or some are not finite.
    """
    _matrix(values.shape)
    if not np.issubdtype(values.dtype, np.floating):
        raise AudioError(f"{values.dtype} numbers, expected floating ones")
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if bad := int((~np.isfinite(single).all(1)).sum()):
        raise AudioError(f"{bad} of {len(single)} frames are not finite")
    return single
