"""The run folder: one configuration, one writer, and where each file of a run lies."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from latentbench.errors import UsageError
from latentbench.files import PARTIAL, disk_full_explained, write_text
from latentbench.results.schema import SCHEMA_VERSION, CellRecord, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from latentbench.config import RunConfig

__all__ = ["RunFolder", "read_result", "runs_in"]

LOCK = ".lock"
LEVELS = 2  # of folders between a folder of runs and its runs
ABSENT = "(absent)"
SHOWN = 8  # runs of a folder that an error names


class RunFolder:
    """The folder of one run; `open` makes it and holds it against other processes.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @contextmanager
    def open(cls, path: Path, config: RunConfig) -> Iterator[RunFolder]:
        """Make the folder, or continue in it where it holds the same configuration.

        Raises:
            UsageError: it holds another configuration (names what differs) or something else,
                cannot be made, or another process works in it.
            LatentbenchError: the disk is full.
        """
        from filelock import FileLock, Timeout  # noqa: PLC0415 - reading a result needs no lock

        run = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"The run folder '{path}' cannot be made: {error.strerror}.",
                "Choose another --out.",
            ) from None
        run._refuse_other_files()
        try:
            with FileLock(path / LOCK, timeout=0):
                run._refuse_other_config(config)
                with disk_full_explained(path, 10_000):
                    write_text(run.config_file, config.to_yaml())
                yield run
        except Timeout:
            raise UsageError(
                f"Another process is working in the run folder '{path}'.",
                "Wait until it is done, or choose another --out.",
            ) from None

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

    def read_cell(self, horizon: int, seed: int) -> CellRecord | None:
        """How a cell ended; None where it did not, or its record cannot be read."""
        try:
            text = (self.cell(horizon, seed) / "cell.json").read_text("utf-8")
            return CellRecord.model_validate_json(text)
        except (OSError, ValueError):
            return None

    def files(self) -> list[Path]:
        """What a user may want of the folder, by name."""
        return sorted(
            file
            for file in self.path.iterdir()
            if file.is_file() and not file.name.startswith(".") and file.suffix != PARTIAL
        )

    def _refuse_other_files(self) -> None:
        ours = {self.config_file.name, LOCK, self.config_file.name + PARTIAL}
        if self.config_file.exists():
            return
        for other in self.path.iterdir():
            if other.name not in ours:
                raise UsageError(
                    f"'{self.path}' is not empty and holds no run: '{other.name}' is in it.",
                    "Choose another --out.",
                )

    def _refuse_other_config(self, config: RunConfig) -> None:
        if not self.config_file.exists():
            return
        wanted = _flat(config.model_dump(mode="json", exclude={"engine"}))
        found = _flat(self._read_config())
        differing = [
            f"{key} is {found.get(key, ABSENT)} there, {wanted.get(key, ABSENT)} here"
            for key in sorted(found.keys() | wanted.keys())
            if found.get(key, ABSENT) != wanted.get(key, ABSENT)
        ]
        if differing:
            raise UsageError(
                f"The run folder '{self.path}' holds another configuration: "
                f"{'; '.join(differing)}.",
                f"Choose another --out, or remove '{self.path}'.",
            )

    def _read_config(self) -> Mapping[str, Any]:
        try:
            found = yaml.safe_load(self.config_file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            found = None
        if not isinstance(found, dict):
            raise UsageError(
                f"'{self.config_file}' cannot be read, so what the folder holds is unknown.",
                f"Choose another --out, or remove '{self.path}'.",
            )
        return {key: value for key, value in found.items() if key != "engine"}


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
        UsageError: there is none, it is damaged, or another version of latentbench wrote it.
    """
    file = RunFolder(folder).result_file
    try:
        text = file.read_text("utf-8")
    except OSError:
        hint = "Give the same 'latentbench run' command again: it continues."
        if not RunFolder(folder).config_file.exists():
            hint = "Name the folder given to --out of 'latentbench run'."
            if runs := runs_in(folder):
                hint = f"Name one of the runs in it: {', '.join(map(str, runs[:SHOWN]))}."
        raise UsageError(f"'{folder}' holds no finished run: no result.json.", hint) from None
    try:
        found = json.loads(text).get("schema_version")
        if found != SCHEMA_VERSION:
            raise UsageError(
                f"'{file}' has schema version {found}; this latentbench reads {SCHEMA_VERSION}.",
                "Show it with the version of latentbench named in it under 'provenance'.",
            )
        return Result.model_validate_json(text)
    except (ValidationError, ValueError, AttributeError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(
            f"'{file}' is damaged: {first}.",
            "Remove it and give the same 'latentbench run' command again.",
        ) from None


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted key -> value as JSON, which prints and compares."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = json.dumps(value)
    return flat
