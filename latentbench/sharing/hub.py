"""Data sets of the Hugging Face hub, as places of results."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from latentbench.errors import LatentbenchError, UsageError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["PREFIX", "fetched", "repository_of", "upload"]

PREFIX = "hf://"
PLACE = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)/?")


def repository_of(place: str) -> str:
    """OWNER/NAME of `hf://datasets/OWNER/NAME`.

    Raises:
        UsageError: it is no such place.
    """
    found = PLACE.fullmatch(place)
    if found is None:
        raise UsageError(f"'{place}' is no data set.", "Write hf://datasets/OWNER/NAME.")
    return found[1]


@contextmanager
def fetched(sources: Sequence[Path | str]) -> Iterator[dict[str, Path]]:
    """Folders as they are, and the results of data sets in folders that are gone afterwards.

    Raises:
        UsageError: `hf://` is followed by no data set.
        LatentbenchError: it cannot be had.
    """
    with TemporaryDirectory() as aside:
        yield {
            str(one): _results_of(str(one), Path(aside, str(number)))
            if str(one).startswith(PREFIX)
            else Path(one)
            for number, one in enumerate(sources)
        }


def _results_of(source: str, folder: Path) -> Path:
    """The results of a data set, as plain files; nothing else of it is fetched."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - slow

    repository, wanted = repository_of(source), ["result.json", "**/result.json"]
    folder.mkdir()
    try:
        snapshot_download(repository, repo_type="dataset", allow_patterns=wanted, local_dir=folder)
    except Exception as error:
        raise LatentbenchError(
            f"'{source}' cannot be had: {first_line(error)}",
            "Look at its name, at the network, and at HF_TOKEN where it is private.",
        ) from error
    return folder


def upload(folder: Path, place: str, below: str) -> None:
    """Put the files of a folder into a data set, which is made if need be.

    Raises:
        LatentbenchError: the hub refused it.
    """
    from huggingface_hub import HfApi  # noqa: PLC0415 - slow

    repository = repository_of(place)
    try:
        hub = HfApi()
        hub.create_repo(repository, repo_type="dataset", exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            repo_type="dataset",
            folder_path=folder,
            path_in_repo=below,
            commit_message=f"Add {below}",
        )
    except Exception as error:
        raise LatentbenchError(
            f"'{place}' did not take the result: {first_line(error)}",
            "Look at the network, and log in with a token that may write: hf auth login.",
        ) from error
