"""Finished runs as they are found on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentbench.errors import UsageError
from latentbench.escapes import printable
from latentbench.latents.manifest import read_manifest
from latentbench.results.folder import read_result

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from latentbench.latents.manifest import ManifestRow
    from latentbench.results.schema import Result

__all__ = ["FinishedRun", "read_runs"]

FEWEST = 2


@dataclass(frozen=True)
class FinishedRun:
    """A run and what it was made of.

    Attributes:
        label: what it is called beside others.
        folder: where it is.
        result: its figures.
        utterances: what it used, skipped ones included.
        audio: runs of one name here are meant to use the same audio.
        store: name of the store that holds its latents.
    """

    label: str
    folder: Path
    result: Result
    utterances: tuple[ManifestRow, ...]
    audio: str = ""
    store: str = ""

    @classmethod
    def read(cls, folder: Path, label: str = "", audio: str = "") -> FinishedRun:
        """The run in `folder`.

        Raises:
            UsageError: there is none, or it is not finished.
            DamagedFileError: one of its files is not what was written.
        """
        result = read_result(folder)
        store, rows = read_manifest(folder / "manifest.parquet")
        return cls(printable(label or folder.name), folder, result, tuple(rows), audio, store)

    def used(self, *splits: str) -> dict[str, tuple[str, str]]:
        """Utterance id -> digest of its audio, side; skipped ones left out, of all sides if none.

        Args:
            splits: sides of the split.
        """
        return {
            row.utterance: (row.audio, row.split)
            for row in self.utterances
            if not row.skipped and (not splits or row.split in splits)
        }


def read_runs(folders: Sequence[Path]) -> list[FinishedRun]:
    """Several runs, each labelled by as much of its path as tells it from the others.

    Raises:
        UsageError: fewer than two folders, one given twice, or one that holds no finished run.
    """
    if len(folders) < FEWEST:
        raise UsageError(
            f"A comparison needs at least two runs, and only '{folders[0]}' is given.",
            "Name more run folders, or give --encoder, --predictor or --corpus several times.",
        )
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"The run folder '{folder}' is given twice.", "Name each run once.")
    return [
        FinishedRun.read(folder, label)
        for folder, label in zip(folders, _labels(places), strict=True)
    ]


def _labels(places: Sequence[Path]) -> list[str]:
    for parts in range(1, max(len(place.parts) for place in places)):
        labels = ["/".join(place.parts[-parts:]) for place in places]
        if len(set(labels)) == len(labels):
            return labels
    return [str(place) for place in places]
