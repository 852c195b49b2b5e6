"""Published weights: at a pinned revision of the hub, in a local copy, or random in their place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from latentbench.encoders.hub import HubError, HubFile, fetch
from latentbench.encoders.options import RANDOM
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch

    from latentbench.progress import Progress

__all__ = ["Published", "read_tensors", "tensor_names"]

USUAL_NAME = "model.safetensors"


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
        files = [path / self.file.name, path / USUAL_NAME] if path.is_dir() else [path]
        for file in files:
            if file.suffix == ".safetensors" and file.is_file():
                return file
        if path.is_dir():
            found = f"holds no {self.file.name}"
        else:
            found = "is no folder and no .safetensors file"
        raise UsageError(
            f"encoder.weights={weights}: '{path}' {found}.",
            f"Known: {self.file.repo}, {RANDOM}, a folder with {self.file.name}, "
            "or a .safetensors file.",
        )

    def architecture_of(self, file: Path | None) -> dict[str, Any]:
        """The architecture in the config.json beside a weights file; the published one without.

        Raises:
            UsageError: the config.json is unreadable or of another kind of model.
        """
        config = None if file is None else file.with_name("config.json")
        if config is None or not config.is_file():
            return dict(self.architecture)
        try:
            given = json.loads(config.read_text("utf-8"))
            flat = {**given, **(given.get("rope_parameters") or {})}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise UsageError(f"'{config}' cannot be read: {error}") from None
        described = {key: flat.get(key, value) for key, value in self.architecture.items()}
        if given.get("head_dim") is None:
            described["head_dim"] = described["hidden_size"] // described["num_attention_heads"]
        wrong = [key for key in self.fixed if described[key] != self.architecture[key]]
        if given.get("model_type", self.model_type) != self.model_type or wrong:
            what = ", ".join(f"{key}={described[key]}" for key in wrong) or given["model_type"]
            raise UsageError(f"'{config}' describes no {self.title}: {what}.", self.takes)
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
            raise UsageError(
                f"The weights of {file.repo} are not here and cannot be downloaded: {error}.",
                f"{access}To go on: on a machine with a network run\n"
                f"    hf download {file.repo} {names}"
                f" --revision {file.revision} --local-dir {self.encoder}\n"
                f"copy the folder here and add --set encoder.weights=/path/to/{self.encoder};\n"
                "or take --set encoder.weights=random, a control with the same architecture;\n"
                "or --preset demo, which needs neither network nor weights.",
            ) from error


def tensor_names(file: Path) -> set[str]:
    """The names of all tensors of a safetensors file.

    Raises:
        UsageError: the file is no intact safetensors file.
    """
    try:
        with safe_open(file, framework="pt") as tensors:
            return set(tensors.keys())
    except (SafetensorError, OSError) as error:
        raise _unreadable(file, error) from None


def read_tensors(file: Path, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Those of the tensors called `names` that the file holds, float32.

    Raises:
        UsageError: the file is no intact safetensors file.
    """
    held = tensor_names(file)
    try:
        with safe_open(file, framework="pt") as tensors:
            return {name: tensors.get_tensor(name).float() for name in names if name in held}
    except (SafetensorError, OSError) as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> UsageError:
    return UsageError(
        f"The weights '{file}' cannot be read: {error}.",
        "The file is damaged or incomplete; copy or download it again.",
    )
