"""The run folder: one configuration, one writer, and where each file of a run lies."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import yaml

from latentbench.config import dotted
from latentbench.errors import BusyError, UsageError
from latentbench.files import (
    SUMS,
    DamagedFileError,
    damaged_files,
    discard,
    disk_full_explained,
    is_sealed,
    reading,
    sweep,
    was_sealed_as,
    write_sealed,
)
from latentbench.progress import SILENT
from latentbench.results.schema import SCHEMA_VERSION, CellRecord, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from latentbench.config import RunConfig
    from latentbench.progress import Progress

__all__ = [
    "AGAIN",
    "CURVES",
    "JOURNAL",
    "LOCK",
    "RunFolder",
    "read_record",
    "read_result",
    "read_table",
    "runs_in",
    "write_record",
]

LOCK = ".lock"
LEVELS = 2  # of folders between a folder of runs and its runs
ABSENT = "(absent)"
SHOWN = 8  # runs of a folder that an error names
RECORD = "cell.json"
CURVES = "curves.parquet"
JOURNAL = "progress.jsonl"
AGAIN = "Give the same 'latentbench run' command again: it is made again."


class RunFolder:
    """The folder of one run; `open` makes it and holds it against other processes.

    Attributes:
        path: the folder.
        ended: its result, where it had ended before it was opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ended: Result | None = None

    @classmethod
    @contextmanager
    def open(
        cls, path: Path, config: RunConfig, progress: Progress = SILENT
    ) -> Iterator[RunFolder]:
        """Make the folder, or continue in it where it holds the same configuration.

        What is damaged in it is said and removed, so that it is made again.

        Raises:
            BusyError: another process works in it.
            UsageError: it holds another configuration (names what differs) or something else,
                or cannot be made.
            LatentbenchError: the disk is full.
        """
        from latentbench.locks import Timeout, locked  # noqa: PLC0415 - reading needs no lock

        run = cls(path)
        with ExitStack() as held:
            try:
                path.mkdir(parents=True, exist_ok=True)
                run._refuse_other_files()
                held.enter_context(locked(path / LOCK))
            except Timeout:
                raise BusyError(
                    f"Another process is working in the run folder '{path}'.",
                    "Wait until it is done, or choose another --out.",
                ) from None
            except OSError as error:
                raise UsageError(
                    f"The run folder '{path}' cannot be made or written to: "
                    f"{error.strerror or error}.",
                    "Choose another --out.",
                ) from None
            run._refuse_other_config(config)
            run.ended = run.finished(config)
            if run.ended is None:
                with disk_full_explained(path, 10_000):
                    run._remove_damaged(progress)
                    write_sealed(run.config_file, config.to_yaml())
            yield run

    def finished(self, config: RunConfig) -> Result | None:
        """The result of this configuration, if all of it is there and sound; writes nothing.

        Raises:
            UsageError: the folder holds another configuration.
        """
        if not self.result_file.exists():
            return None
        self._refuse_other_config(config)
        if damaged_files(self.path):
            return None
        result = read_result(self.path)
        return None if result.failed else result

    @property
    def config_file(self) -> Path:
        """The resolved configuration, which `--config` takes."""
        return self.path / "config.yaml"

    @property
    def result_file(self) -> Path:
        """The result, by `latentbench.results.schema.Result`."""
        return self.path / "result.json"

    @property
    def horizons_file(self) -> Path:
        """The published columns."""
        return self.path / "horizons.csv"

    @property
    def figures_file(self) -> Path:
        """Every figure, a row each."""
        return self.path / "figures.csv"

    @property
    def frames_file(self) -> Path:
        """The scores of every frame."""
        return self.path / "frames.parquet"

    @property
    def rollout_file(self) -> Path:
        """The rollout scores of every frame rolled out."""
        return self.path / "rollout.parquet"

    @property
    def curves_file(self) -> Path:
        """The losses of every training by gradient descent; not there where none was."""
        return self.path / CURVES

    @property
    def journal_file(self) -> Path:
        """What the run did and how far it is, an event a line (`results.journal`)."""
        return self.path / JOURNAL

    def is_run(self) -> bool:
        """Whether there is a run in the folder, finished or not."""
        return self.config_file.exists() or self.result_file.exists()

    def cell(self, horizon: int, seed: int) -> Path:
        """The folder of one cell."""
        return self.path / "cells" / f"k{horizon}-seed{seed}"

    def model(self, horizon: int, seed: int, seeds: int) -> Path:
        """The weights of one cell; the seed is named where the run has several."""
        suffix = f"-seed{seed}" if seeds > 1 else ""
        return self.path / f"model-k{horizon}{suffix}.safetensors"

    def files(self) -> list[Path]:
        """What a user may want of the folder, by name."""
        return sorted(
            file
            for file in self.path.iterdir()
            if file.is_file() and not file.name.startswith(".") and file.name != SUMS
        )

    def _remove_damaged(self, progress: Progress) -> None:
        sweep(self.path)
        for file, reason in damaged_files(self.path).items():
            progress.say(f"'{file}' is damaged: {reason}. It is made again.")
            discard(file)

    def _refuse_other_files(self) -> None:
        # What there is of a run that was killed before it had written its configuration.
        ours = {LOCK, f"{LOCK}.soft", SUMS, f"{SUMS}.partial", f"{self.config_file.name}.partial"}
        if self.config_file.exists() or is_sealed(self.config_file):
            return
        for other in self.path.iterdir():
            if other.name not in ours:
                raise UsageError(
                    f"'{self.path}' is not empty and holds no run: '{other.name}' is in it.",
                    "Choose another --out.",
                )

    def _refuse_other_config(self, config: RunConfig) -> None:
        if not self.config_file.exists() and not is_sealed(self.config_file):
            return
        if was_sealed_as(self.config_file, config.to_yaml()):
            return
        wanted = dotted(config.model_dump(mode="json", exclude={"engine"}))
        found = dotted(self._read_config(config))
        differing = [
            f"{key} is {_told(found, key)} there, {_told(wanted, key)} here"
            for key in sorted(found.keys() | wanted.keys())
            if _told(found, key) != _told(wanted, key)
        ]
        if differing:
            raise UsageError(
                f"The run folder '{self.path}' holds another configuration: "
                f"{'; '.join(differing)}.",
                f"Choose another --out, or remove '{self.path}'.",
            )

    def _read_config(self, config: RunConfig) -> Mapping[str, Any]:
        try:
            with reading(self.config_file, ""):
                found: dict[str, Any] = yaml.safe_load(self.config_file.read_text("utf-8"))
                return {key: value for key, value in found.items() if key != "engine"}
        except DamagedFileError as error:
            # The checksum may be what is damaged; cells that are not of this configuration
            # are computed again in any case.
            written = config.to_yaml().encode()
            if self.config_file.exists() and self.config_file.read_bytes() == written:
                return config.model_dump(mode="json", exclude={"engine"})
            raise UsageError(
                f"'{self.config_file}' cannot be read ({error.reason}), and it was not written "
                "for this configuration, so what the folder holds is unknown.",
                f"Give the command that began the run, choose another --out, or remove "
                f"'{self.path}'.",
            ) from None


def read_record(folder: Path) -> CellRecord | None:
    """How the cell in this folder ended; None where it has not.

    Raises:
        DamagedFileError: its record is not what was written.
    """
    file = folder / RECORD
    if not file.exists() and not is_sealed(file):
        return None
    with reading(file, AGAIN):
        return CellRecord.model_validate_json(file.read_text("utf-8"))


def write_record(folder: Path, record: CellRecord) -> None:
    """Write how the cell in this folder ended."""
    write_sealed(folder / RECORD, record.to_json())


def runs_in(folder: Path, levels: int = LEVELS) -> list[Path]:
    """The run folders below a folder, finished or not, by name; none where it is a run itself."""
    if not folder.is_dir() or RunFolder(folder).is_run():
        return []
    found = []
    for path in sorted(path for path in folder.iterdir() if path.name[0] != "."):
        if RunFolder(path).is_run():
            found.append(path)
        elif levels:
            found += runs_in(path, levels - 1)
    return found


def read_result(folder: Path) -> Result:
    """The result of a finished run.

    Raises:
        UsageError: there is none, or another version of latentbench wrote it.
        DamagedFileError: it is not what was written.
    """
    file = RunFolder(folder).result_file
    if not file.exists():
        hint = "Give the same 'latentbench run' command again: it continues."
        if not RunFolder(folder).config_file.exists():
            hint = "Name the folder given to --out of 'latentbench run'."
            if runs := runs_in(folder):
                hint = f"Name one of the runs in it: {', '.join(map(str, runs[:SHOWN]))}."
        raise UsageError(f"'{folder}' holds no finished run: no result.json.", hint)
    with reading(file, AGAIN):
        text = file.read_text("utf-8")
        found = json.loads(text).get("schema_version")
        if found != SCHEMA_VERSION:
            raise UsageError(
                f"'{file}' has schema version {found}; this latentbench reads {SCHEMA_VERSION}.",
                "Show it with the version of latentbench named in it under 'provenance'.",
            )
        return Result.model_validate_json(text)


def read_table(
    file: Path, columns: Sequence[str] | None = None, **wanted: object
) -> pa.Table | None:
    """A table of a run folder; None where it is not there, or lacks one of the columns.

    Args:
        file: of Parquet.
        columns: to read; None: all.
        **wanted: column -> its value in the rows that are read.

    Raises:
        DamagedFileError: it is not what was written.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415 - a result is read without

    if not file.exists():
        return None
    with reading(file, AGAIN):
        if columns is not None and not set(columns) <= set(pq.read_schema(file).names):
            return None
        chosen = list(columns) if columns is not None else None
        rows = [(name, "=", value) for name, value in wanted.items()]
        return pq.read_table(file, columns=chosen, filters=rows or None)


def _told(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else ABSENT
