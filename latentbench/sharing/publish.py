"""What of a run is published: its result, its figures and its configuration.

No weights, no latents, no audio. A text that is a path of this machine is published as its last
name: where a corpus lies is nobody's business, and differs elsewhere anyway.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from latentbench.errors import UsageError
from latentbench.files import write_text
from latentbench.results.figures import Figures
from latentbench.results.folder import read_result
from latentbench.results.schema import Result
from latentbench.sharing.hub import PREFIX, repository_of, upload
from latentbench.sharing.submissions import name_of

__all__ = ["publish"]

# A text that is an absolute path and nothing else.
PATH = re.compile(r"(?:~?/|[A-Za-z]:[\\/])[^\n:]*?([^\\/\n:]*)[\\/]?")


def publish(run: Path, place: Path | str) -> str:
    """Put what may be shown of a run into a folder or a data set; where it is.

    Args:
        run: its folder.
        place: a folder, or `hf://datasets/OWNER/NAME`; the run gets a folder of its own in it.

    Raises:
        UsageError: the run is not finished, or the folder cannot be written.
        LatentbenchError: the hub refused it.
    """
    result = _without_paths(read_result(run))
    if not str(place).startswith(PREFIX):
        return str(_write(result, Path(place)))
    repository_of(str(place))
    with TemporaryDirectory() as aside:
        folder = _write(result, Path(aside))
        upload(folder, str(place), folder.name)
        return f"{str(place).rstrip('/')}/{folder.name}"


def _without_paths(result: Result) -> Result:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(one) for name, one in value.items()}
        if isinstance(value, list):
            return [plain(one) for one in value]
        found = PATH.fullmatch(value) if isinstance(value, str) else None
        return found[1] if found and found[1] else value

    return Result.model_validate(plain(json.loads(result.to_json())))


def _write(result: Result, place: Path) -> Path:
    """Write the files of a result below `place`, into a folder named as leaderboards name it."""
    folder = place / name_of(result)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "result.json", result.to_json())
        write_text(folder / "figures.csv", Figures.of(result, folder.name).to_csv())
        config = yaml.safe_dump(result.config, sort_keys=False, allow_unicode=True)
        write_text(folder / "config.yaml", config)
    except OSError as error:
        raise UsageError(f"--to {place} cannot be written: {error.strerror}.") from None
    return folder
