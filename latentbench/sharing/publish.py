"""What of a run is published: its result, its figures and its configuration.

No weights, no latents, no audio. A text that is a path of this machine is published as its last
name: where a corpus lies is nobody's business, and differs elsewhere anyway.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from latentbench.cards.card import CARD, card_in
from latentbench.files import require_writable, write_text, writing
from latentbench.results.figures import Figures
from latentbench.results.folder import read_result
from latentbench.results.schema import Result
from latentbench.sharing.hub import PREFIX, repository_of, upload
from latentbench.sharing.submissions import name_of

if TYPE_CHECKING:
    from latentbench.cards.card import Card

__all__ = ["publish"]

# A text that is an absolute path and nothing else, or one that a message has in quotes.
PATH = re.compile(r"(?:~[^\\/']*[\\/]|/|[A-Za-z]:[\\/]).*?([^\\/]*)[\\/]?", re.DOTALL)
QUOTED = re.compile(r"'((?:~[^\\/'\n]*[\\/]|/|[A-Za-z]:[\\/])[^'\n]*)'")


def publish(run: Path, place: Path | str) -> str:
    """Put what may be shown of a run into a folder or a data set; where it is.

    Args:
        run: its folder.
        place: a folder, or `hf://datasets/OWNER/NAME`; the run gets a folder of its own in it.

    Raises:
        UsageError: the run is not finished, or the folder cannot be written.
        LatentbenchError: the hub refused it.
    """
    on_hub = str(place).startswith(PREFIX)
    if on_hub:
        repository_of(str(place))
    else:
        require_writable(Path(place), "--to", folder=True)
    result, card = _without_paths(read_result(run)), card_in(run)
    if not on_hub:
        return str(_write(result, Path(place), card))
    with TemporaryDirectory() as aside:
        folder = _write(result, Path(aside), card)
        upload(folder, str(place), folder.name)
        return f"{str(place).rstrip('/')}/{folder.name}"


def _without_paths(result: Result) -> Result:
    return Result.model_validate(_plain(json.loads(result.to_json())))


def _plain(value: Any) -> Any:
    """JSON with the last names of its paths."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        return QUOTED.sub(lambda found: f"'{_last_name(found[1])}'", _last_name(value))
    return value


def _last_name(text: str) -> str:
    """Of a path; any other text as it is."""
    found = PATH.fullmatch(text)
    return found[1] if found and found[1] else text


def _write(result: Result, place: Path, card: Card | None) -> Path:
    """Write the files of a result below `place`, into a folder named as leaderboards name it."""
    folder = place / name_of(result)
    with writing(place, "--to"):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "result.json", result.to_json())
        write_text(folder / "figures.csv", Figures.of(result, folder.name).to_csv())
        config = yaml.safe_dump(result.config, sort_keys=False, allow_unicode=True)
        write_text(folder / "config.yaml", config)
        if card is not None:
            write_text(folder / CARD, json.dumps(_plain(json.loads(card.to_json())), indent=2))
    return folder
