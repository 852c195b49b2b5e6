"""Published weights: at a pinned revision of the hub, in a local copy, or random in their place."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentbench.encoders.checkpoint import INDEX
from latentbench.encoders.hub import HubError, HubFile, fetch
from latentbench.encoders.options import RANDOM
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latentbench.progress import Progress

__all__ = ["Published"]

USUAL_NAME = "model.safetensors"
SUFFIXES = (".safetensors", INDEX)
SHOWN = 6  # files of a folder that an error names


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model as its authors published it.

    Attributes:
        encoder: what the user calls the encoder, e.g. `mimi`.
        title: what errors call the model, e.g. `Mimi`.
        file: the weights.
        beside: other files of the repository that a local copy should hold.
        access: what the hub asks of a user before it gives the file, if anything.
        model_type: as in its config.json.
        architecture: all of its configuration that shapes the encoder.
        fixed: names in `architecture` that decide rate and channels, and must be as published.
        takes: a sentence that says the same to the user.
    """

    encoder: str
    title: str
    file: HubFile
    beside: tuple[str, ...] = ()
    access: str = ""
    model_type: str
    architecture: Mapping[str, Any]
    fixed: tuple[str, ...]
    takes: str

    def local_file(self, weights: str) -> Path | None:
        """The weights file a user names; None for the published ones and `random`.

        Raises:
            UsageError: there is no such folder or file, or no weights in it.
        """
        if weights in {self.file.repo, RANDOM}:
            return None
        path = Path(weights).expanduser()
        folders = (path, path / "snapshots" / self.file.revision)  # as the hub's cache has it
        names = (self.file.name, USUAL_NAME, USUAL_NAME + INDEX)
        files = [folder / name for folder in folders for name in names]
        for file in files if weights.strip() and path.is_dir() else [path]:
            if file.name.endswith(SUFFIXES) and file.is_file():
                return file
        raise UsageError(
            f"encoder.weights={weights}: '{path}' {_found(path, self.file.name)}.",
            f"Known: {self.file.repo}, {RANDOM}, a folder with {self.file.name}, "
            f"or a .safetensors file, or the {INDEX} of several.",
        )

    def architecture_of(self, file: Path | None) -> dict[str, Any]:
        """The architecture in the config.json beside a weights file; the published one without.

        Raises:
            UsageError: the config.json is unreadable, of another kind of model, or has a value
                that is none; names it.
        """
        config = None if file is None else file.with_name("config.json")
        if config is None or not config.is_file():
            return dict(self.architecture)
        flat = _flat(config)
        wanted = {"model_type": self.model_type, "rope_type": "default", **self.architecture}
        fixed = {"model_type", "rope_type", *self.fixed}
        by_heads = flat.get("head_dim") is None
        wrong = [
            key
            for key, published in wanted.items()
            if key in flat and not (key == "head_dim" and by_heads)
            if not _is_like(flat[key], published) or (key in fixed and flat[key] != published)
        ]
        if wrong:
            found, right = (
                ", ".join(f"{key}={values[key]}" for key in wrong) for values in (flat, wanted)
            )
            raise UsageError(
                f"'{config}' describes no {self.title}: {found}.",
                f"{self.takes} Published: {right}.",
            )
        described = {key: flat.get(key, value) for key, value in self.architecture.items()}
        if by_heads:
            described["head_dim"] = described["hidden_size"] // described["num_attention_heads"]
        return described

    def fetch(
        self, progress: Progress, *, endpoint: str | None = None, cache: Path | None = None
    ) -> Path:
        """The published weights, from the hub's cache or the hub.

        Raises:
            UsageError: they cannot be had; says how to go on.
        """
        file = self.file
        try:
            return fetch(file, progress, endpoint=endpoint, cache=cache)
        except HubError as error:
            names = " ".join((*self.beside, file.name))
            access = f"{self.access}\n" if self.access else ""
            here = "here are damaged" if error.damaged else "are not here"
            raise UsageError(
                f"The weights of {file.repo} {here} and cannot be downloaded: {error}.",
                f"{access}To go on: on a machine with a network run\n"
                f"    hf download {file.repo} {names}"
                f" --revision {file.revision} --local-dir {self.encoder}\n"
                f"copy the folder here and add --set encoder.weights=/path/to/{self.encoder};\n"
                "or take --set encoder.weights=random, a control with the same architecture;\n"
                "or --preset demo, which needs neither network nor weights.",
            ) from error


def _found(path: Path, name: str) -> str:
    """What is at a place where weights were looked for."""
    if not path.is_dir():
        return "is no folder and no .safetensors file" if path.exists() else "is not there"
    held = sorted(file.name + "/" * file.is_dir() for file in path.iterdir())
    more = f" and {len(held) - SHOWN} more" if len(held) > SHOWN else ""
    return f"holds no {name}, but {', '.join(held[:SHOWN]) or 'nothing'}{more}"


def _flat(config: Path) -> dict[str, Any]:
    """A config.json, the parameters of its rotary embedding among the others.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        given = json.loads(config.read_text("utf-8"))
        return {
            **given,
            **(given.get("rope_scaling") or {}),
            **(given.get("rope_parameters") or {}),
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"'{config}' cannot be read: {error}") from None


def _is_like(value: Any, published: Any) -> bool:
    """Whether a value is of the published one's kind: a switch, a size, a factor, a name, sizes."""
    if isinstance(published, list):
        return isinstance(value, list) and all(_is_like(one, published[0]) for one in value)
    if isinstance(published, float) and not isinstance(value, bool):
        return isinstance(value, (int, float)) and 0 < value < math.inf
    if isinstance(published, int) and not isinstance(published, bool):
        return type(value) is int and value > 0
    return type(value) is type(published)
