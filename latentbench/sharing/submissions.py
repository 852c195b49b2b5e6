"""Results of others, read as the data they are: nothing in them is executed or followed.

A submission is a `result.json`. It is checked against the schema; no path or name in it is opened,
imported or fetched, and no other file beside it is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from pydantic import ValidationError

from latentbench.errors import UsageError
from latentbench.escapes import printable
from latentbench.results.schema import SPLITS, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Refused", "Submission", "name_of", "read_submission", "submissions_in"]

RESULT = "result.json"
LEVELS = 4  # of folders that are looked into
LARGEST = 32_000_000  # bytes; a result has some ten thousand
DIGITS = 12  # of a name


@dataclass(frozen=True)
class Submission:
    """A result by the digest of what it says.

    Attributes:
        name: 12 hex digits, the same for the same result wherever it lies.
        source: where it was found.
        result: as it was submitted.
    """

    name: str
    source: str
    result: Result


@dataclass(frozen=True)
class Refused:
    """A file that is no result, and why."""

    source: str
    reason: str


def submissions_in(folders: Mapping[str, Path]) -> tuple[list[Submission], list[Refused]]:
    """Every result below these folders, each once, and the files that could not be used.

    Args:
        folders: what a folder is called -> where it is.

    Raises:
        UsageError: a folder is not there, or there is no `result.json` in any of them.
    """
    files = [
        (file, printable(f"{called}/{file.relative_to(folder).as_posix()}"))
        for called, folder in folders.items()
        for file in _files(folder)
    ]
    if not files:
        raise UsageError(
            f"There is no result.json in {', '.join(folders)}.",
            "Name folders of runs, or what 'latentbench publish' wrote.",
        )
    read = [_read(file, source) for file, source in files]
    found = {one.name: one for one in reversed(read) if isinstance(one, Submission)}
    return [*reversed(found.values())], [one for one in read if isinstance(one, Refused)]


def _read(file: Path, source: str) -> Submission | Refused:
    try:
        return read_submission(file, source)
    except (OSError, ValueError) as error:
        return Refused(source, printable(str(error)))


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"There is no folder '{folder}'.", "Name a folder that holds results.")
    return sorted(_below(folder, LEVELS))


def _below(folder: Path, levels: int) -> Iterator[Path]:
    """Results below a folder; links are not followed, as they may lead anywhere."""
    for path in folder.iterdir():
        if path.is_symlink() or path.name.startswith("."):
            continue
        if path.name == RESULT and path.is_file():
            yield path
        elif levels and path.is_dir():
            yield from _below(path, levels - 1)


def read_submission(file: Path, source: str) -> Submission:
    """The result in a file.

    Args:
        file: of a submission.
        source: what it is called.

    Raises:
        ValueError: it is none; says why in a line, without what the file holds.
    """
    if not file.is_file():
        raise ValueError("there is no such file")
    if file.stat().st_size > LARGEST:
        raise ValueError(f"larger than {LARGEST // 10**6} MB")
    try:
        result = Result.model_validate(json.loads(file.read_text("utf-8")))
        _require_sections(result)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"not a result of this schema: {place}: {first['msg']}") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except (AttributeError, KeyError, TypeError, IndexError):
        raise ValueError("its configuration lacks a section") from None
    except (RecursionError, ValueError):
        raise ValueError("not JSON") from None
    return Submission(name_of(result), source, result)


def _require_sections(result: Result) -> None:
    """Look up all that pages read of a configuration, which a schema leaves open.

    Raises:
        KeyError, TypeError, IndexError, AttributeError: it is not there, or of another kind.
    """
    config = result.config
    config["predictor"]["name"] + config["encoder"]["name"] + config["baseline"]["name"]
    _ = (config["seeds"][0], 0 + config["training"]["steps"] + config["training"]["batch_size"])
    _ = (result.slices, config["task"]["target"], config["split"].get("by"))
    for side in SPLITS:
        _ = (result.corpus.speakers[side], result.corpus.utterances[side])
        _ = result.corpus.seconds[side]


def name_of(result: Result) -> str:
    """What a result is called wherever it lies: 12 hex digits of the digest of what it says."""
    return sha256(result.to_json().encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
