"""Where a model's files are: a local folder, the cache of the hub's client, or the hub itself."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import HfApi, try_to_load_from_cache

from latentbench.encoders.weights import HubError, HubFile
from latentbench.errors import UsageError
from latentbench.progress import SILENT
from latentbench.workspace import expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from latentbench.progress import Progress

    T = TypeVar("T")

__all__ = ["PREPARATION", "Repository"]

CONFIG = "config.json"
PREPARATION = ("preprocessor_config.json", "processor_config.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
INDEX = ".index.json"
PATIENCE = 5.0  # seconds for the hub's first answer
REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Repository:
    """A model by its folder or its name on the hub.

    Attributes:
        model: what the user gave.
        revision: branch, tag or commit of the hub's repository.
        endpoint: another address of the hub.
        cache: another cache folder of the hub's client.

    Raises:
        UsageError: the model is neither a folder here nor possibly a repository.
    """

    model: str
    revision: str = "main"
    endpoint: str | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.local is None and not REPOSITORY.fullmatch(self.model):
            raise UsageError(
                f"encoder.model={self.model}: there is no such folder.",
                "Give a folder that save_pretrained wrote, or a repository of the Hugging Face "
                "Hub such as microsoft/wavlm-base.",
            )

    @property
    def local(self) -> Path | None:
        """The user's own folder, None where the model is on the hub."""
        folder = expanded(self.model)
        return folder if folder.is_dir() else None

    def describe(self, progress: Progress) -> Path:
        """The folder with the model's configuration; the hub's small files are fetched.

        Raises:
            UsageError: there is no configuration, or it cannot be had.
        """
        if self.local is not None:
            if not (self.local / CONFIG).is_file():
                raise UsageError(
                    f"encoder.model={self.model}: the folder holds no {CONFIG}.",
                    "Give a folder that save_pretrained wrote.",
                )
            return self.local
        return self._cached() or self._asked(lambda: self._fetch_description(progress))

    @property
    def name(self) -> str:
        """What the user gave."""
        return self.model

    def within(self, folder: Path) -> Iterator[Path]:
        """Nowhere: a folder is given as the model."""
        del folder
        yield from ()

    def is_here(self) -> bool:
        """Whether `fetch` would need no network."""
        folder = self.local or self._cached()
        return folder is not None and bool(_weights(folder))

    def fetch(self, progress: Progress, otherwise: str = "") -> Path:  # noqa: ARG002 - said below
        """The folder with the configuration and the weights; those of the hub are verified.

        Raises:
            UsageError: the weights are not there, or cannot be had.
        """
        folder = self.describe(progress)
        if self.local is None:
            self._asked(lambda: self._fetch_weights(folder, progress))
        elif not _weights(folder):
            raise UsageError(
                f"encoder.model={self.model}: the folder holds no weights.",
                f"It needs {' or '.join(WEIGHTS)}, or all shards that a file *{INDEX} names; or "
                "take --set encoder.weights=random, a control with the same architecture.",
            )
        return folder

    def _cached(self) -> Path | None:
        found = try_to_load_from_cache(
            self.model, CONFIG, cache_dir=self.cache, revision=self.revision
        )
        return Path(found).parent if isinstance(found, str) else None

    def _fetch_description(self, progress: Progress) -> Path:
        listed = self._listed(self.revision)
        if CONFIG not in listed:
            raise HubError(f"it holds no {CONFIG}")
        folder = self._fetch_small(CONFIG, self.revision).parent
        for name in PREPARATION:
            if name in listed:
                self._fetch_small(name, folder.name)
        progress.say(f"{self.model} at {self.revision} is commit {folder.name}.")
        return folder

    def _fetch_weights(self, folder: Path, progress: Progress) -> None:
        """Bring and verify all files of weights; the client names its folders by the commit."""
        commit = folder.name
        for name in _weights(folder) or self._wanted(commit):
            file = HubFile(repo=self.model, revision=commit, name=name)
            file.download(progress, endpoint=self.endpoint, cache=self.cache)

    def _wanted(self, commit: str) -> list[str]:
        """The repository's files of weights; safetensors where there are such."""
        listed = self._listed(commit)
        for name in WEIGHTS:
            if name in listed:
                return [name]
            if name + INDEX in listed:
                return _shards(self._fetch_small(name + INDEX, commit))
        raise HubError(f"it holds neither {' nor '.join(WEIGHTS)}")

    def _listed(self, revision: str) -> set[str]:
        info = HfApi(endpoint=self.endpoint).model_info(
            self.model, revision=revision, timeout=PATIENCE
        )
        return {file.rfilename for file in info.siblings or ()}

    def _fetch_small(self, name: str, revision: str) -> Path:
        file = HubFile(repo=self.model, revision=revision, name=name)
        return file.download(SILENT, endpoint=self.endpoint, cache=self.cache)

    def _asked(self, ask: Callable[[], T]) -> T:
        """What the hub gives."""
        try:
            return ask()
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            kind = "" if isinstance(error, HubError) else f"{type(error).__name__}: "
            raise UsageError(
                f"encoder.model={self.model}: no folder here, and revision '{self.revision}' of "
                f"the hub's repository cannot be had: {kind}{reason}.",
                "To go on: on a machine with a network run\n"
                f"    hf download {self.model} --revision {self.revision} --local-dir model\n"
                "copy the folder here and give it: --set encoder.model=/path/to/model",
            ) from error


def _weights(folder: Path) -> list[str]:
    """The names of the files of weights in a folder; empty where one is missing."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return [name]
        if (folder / (name + INDEX)).is_file():
            shards = _shards(folder / (name + INDEX))
            return shards if all((folder / one).is_file() for one in shards) else []
    return []


def _shards(index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"'{index}' names no shards: {error!r}.") from None
