"""What ran in a folder of runs: how far each is, its headline and its size."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

import yaml

from latentbench.errors import LatentbenchError, UsageError
from latentbench.results.folder import LOCK, RunFolder, read_record, read_result, runs_in
from latentbench.results.schema import Number, Record
from latentbench.results.standing import gain_of, withheld

if TYPE_CHECKING:
    from pathlib import Path

    from latentbench.results.schema import Figure, HorizonResult, Result

__all__ = ["Headline", "ListedRun", "RunList", "is_held", "list_runs"]

HEADLINES = ("dnll", "nll", "energy_skill")  # the last of what only samples
ALL = "all"


class Headline(Record):
    """The figure to look at first, on eval, at the smallest staleness that has one.

    Attributes:
        figure: `gain`, else `dnll`, `nll` or `energy_skill`.
        ms: staleness.
        value, low, high, unit: as in the tidy table.
        note: why it takes no part in a comparison; empty where it does.
    """

    figure: str
    ms: float
    value: Number
    low: Number | None = None
    high: Number | None = None
    unit: str = ""
    note: str = ""


class ListedRun(Record):
    """One run.

    Attributes:
        run: its path below the folder that was asked about.
        folder: where it is.
        status: `finished`; `failed` where cells of a finished run did; `running` while a process
            works in it; `stopped` where none does; `unreadable`.
        problem: why it failed or cannot be read.
        encoder, corpus, predictor: by name; empty where that is unknown.
        protocol: that it followed, and what it changed of it.
        cells, done: how many there are, and how many are done.
        headline: None where there is none.
        stamps: what must be known before comparing.
        bytes: of all its files.
        changed: when the last of its files was written, UTC.
    """

    run: str
    folder: str
    status: Literal["finished", "failed", "running", "stopped", "unreadable"]
    problem: str = ""
    encoder: str = ""
    corpus: str = ""
    predictor: str = ""
    protocol: str = ""
    cells: int = 0
    done: int = 0
    headline: Headline | None = None
    stamps: tuple[str, ...] = ()
    bytes: int = 0
    changed: datetime


class RunList(Record):
    """The runs in a folder, by name."""

    folder: str
    runs: tuple[ListedRun, ...]


def list_runs(folder: Path) -> RunList:
    """The runs in a folder and up to two folders below it; of a run itself, that alone.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(
            f"There is no folder '{folder}'.", "Name the folder that holds your runs, as 'runs'."
        )
    found = [folder] if RunFolder(folder).is_run() else runs_in(folder)
    return RunList(folder=str(folder), runs=tuple(_listed(one, folder) for one in found))


def _listed(path: Path, below: Path) -> ListedRun:
    files = [one.stat() for one in path.rglob("*") if one.is_file()]
    facts: dict[str, Any] = {
        "run": path.name if path == below else str(path.relative_to(below)),
        "folder": str(path),
        "bytes": sum(one.st_size for one in files),
        "changed": datetime.fromtimestamp(max(one.st_mtime for one in files), timezone.utc),
    }
    try:
        if RunFolder(path).result_file.exists():
            return ListedRun(**facts, **_finished(read_result(path)))
        return ListedRun(**facts, **_begun(path))
    except (LatentbenchError, OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        return ListedRun(**facts, status="unreadable", problem=told)


def _finished(result: Result) -> dict[str, Any]:
    config, failed = result.config, result.failed
    cells = len(result.horizons) * len(config["seeds"])
    errors = [error for one in failed for error in one.errors]
    return {
        "status": "failed" if failed else "finished",
        "problem": errors[0] if errors else "",
        "encoder": result.encoder.name,
        "corpus": result.corpus.name,
        "predictor": config["predictor"]["name"],
        "protocol": result.protocol,
        "cells": cells,
        "done": sum(len(one.seeds) for one in result.horizons),
        "headline": next(filter(None, (_headline(result, one) for one in result.horizons)), None),
        "stamps": result.stamps,
    }


def _headline(result: Result, horizon: HorizonResult) -> Headline | None:
    others = (horizon.find("eval", ALL, name) for name in HEADLINES)
    measured = (one for one in (gain_of(horizon), *others) if one is not None and one.n)
    found: Figure | None = next(measured, None)
    if found is None:
        return None
    return Headline(
        figure=found.name,
        ms=horizon.milliseconds,
        note="; ".join(withheld(result, horizon)),
        **{name: getattr(found, name) for name in ("value", "low", "high", "unit")},
    )


def _begun(path: Path) -> dict[str, Any]:
    config = yaml.safe_load(RunFolder(path).config_file.read_text("utf-8"))
    task = config["task"]
    records = [read_record(one) for one in (path / "cells").glob("*")]
    failed = [one.error for one in records if one is not None and one.status == "failed"]
    return {
        "status": "running" if is_held(path) else "stopped",
        "problem": failed[0] if failed else "",
        "encoder": config["encoder"]["name"],
        "corpus": config["corpus"]["name"],
        "predictor": config["predictor"]["name"],
        "cells": len(task.get("horizons_ms") or task["horizons"]) * len(config["seeds"]),
        "done": sum(one is not None and one.status == "done" for one in records),
    }


def is_held(path: Path) -> bool:
    """Whether a process works in the folder."""
    from latentbench.locks import Timeout, locked  # noqa: PLC0415 - finished runs need none

    if not (path / LOCK).exists():
        return False
    try:
        with locked(path / LOCK):
            return False
    except Timeout:
        return True
