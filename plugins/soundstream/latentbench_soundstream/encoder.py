"""The encoder `soundstream`: 16 kHz audio to the latents of Lyra V2 before its quantizer.

Source: SoundStream, arXiv 2107.03312; weights and graph of https://github.com/google/lyra v1.3.2.
"""

from __future__ import annotations

import platform
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from latentbench.encoders import Encoder
from latentbench.encoders.weights import WebFile
from latentbench.errors import UsageError
from latentbench.workspace import expanded
from latentbench_soundstream.dither import dithered
from latentbench_soundstream.model import LyraGan, SoundStreamModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from latentbench.workspace import Workspace
    from latentbench_soundstream.plugin import SoundStreamOptions

__all__ = ["SoundStream"]

_Made = TypeVar("_Made")
_Model = TypeVar("_Model", LyraGan, SoundStreamModel)

PRETRAINED = "pretrained"
URL = "https://raw.githubusercontent.com/google/lyra/v1.3.2/lyra/model_coeffs/"


class SoundStream(Encoder):
    """Lyra V2's SoundStream encoder; frames depend on past audio only.

    Runs on the CPU whatever the device. The utterances of a batch are encoded side by side on
    as many threads as torch may use; each gives the same frames alone.
    """

    sample_rate = 16_000
    hop = 320
    dim = 64
    look_ahead = 0

    def __init__(self, options: SoundStreamOptions, workspace: Workspace) -> None:
        self._options = options
        self._workspace = workspace
        self._loaded: SoundStreamModel | None = None
        self._decoder: LyraGan | None = None

    def weights_at_hand(self) -> bool:
        """Whether `load` would need no download."""
        published = self._published(SoundStreamModel)
        return self._options.weights != PRETRAINED or published.is_here()

    def load(self, device: torch.device) -> None:  # noqa: ARG002 - the model runs on the CPU
        """Read the model, downloading it where `weights` is `pretrained`.

        Raises:
            UsageError: the model cannot be had or is not SoundStream's; says how to go on.
        """
        self._loaded = self._checked(SoundStreamModel(self._file(SoundStreamModel)))

    def encode(
        self, audio: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode each utterance from a fresh state; see `Encoder.encode`."""
        waves = audio.reshape(audio.shape[0], audio.shape[-1]).cpu().numpy()
        frames = [self.frame_count(int(samples)) for samples in lengths]
        cut = [wave[: count * self.hop] for wave, count in zip(waves, frames, strict=True)]
        latents = _side_by_side(self._utterance, cut)
        padded = pad_sequence(latents, batch_first=True)
        return padded.to(audio.device), torch.tensor(frames, dtype=torch.int64)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode each utterance from a fresh state; see `Encoder.decode`.

        Raises:
            UsageError: the decoder cannot be had or is another model; says how to go on.
        """
        if self._decoder is None:
            self._decoder = self._checked(LyraGan(self._file(LyraGan)))
        hops = _side_by_side(self._decoder.run, list(latents.cpu().numpy()))
        return torch.from_numpy(np.stack(hops)).flatten(1).to(latents.device)

    def fingerprint(self) -> Mapping[str, str]:
        """Weights, library, machine (kernels round differently between them) and dither."""
        model = self._model
        options = self._options
        return {
            "encoder": f"latentbench-soundstream {version('latentbench-soundstream')}",
            "weights": model.digest,
            "ai-edge-litert": version("ai-edge-litert"),
            "machine": platform.machine(),
            "dither": f"{options.dither_seed}" if options.dither else "off",
        }

    @property
    def step(self) -> float:
        """The distance of the lattice points the raw latents lie on."""
        return self._model.step

    @property
    def _model(self) -> SoundStreamModel:
        if self._loaded is None:
            raise RuntimeError("load() comes before encode() and fingerprint()")
        return self._loaded

    def _utterance(self, audio: NDArray[np.float32]) -> torch.Tensor:
        latents = self._model.run(audio.reshape(-1, self.hop))
        if self._options.dither:
            latents = dithered(latents, self.step, self._options.dither_seed)
        return torch.from_numpy(latents)

    def _file(self, model: type[LyraGan | SoundStreamModel]) -> Path:
        """The file that an option names; the published decoder may lie beside local weights."""
        named = str(getattr(self._options, model.option))
        beside = expanded(self._options.weights).parent / model.asset
        if named != PRETRAINED:
            return expanded(named)
        if self._options.weights != PRETRAINED and beside.is_file():
            return beside
        return self._published(model).fetch(self._workspace.progress)

    def _checked(self, model: _Model) -> _Model:
        if (model.hop, model.dim) != (self.hop, self.dim):
            raise UsageError(
                f"Its {model.option} has {model.hop} samples and {model.dim} dimensions a frame, "
                f"expected {self.hop} and {self.dim}.",
                f"Of Lyra's models, {model.asset} is the one to pass.",
            )
        return model

    def _published(self, model: type[LyraGan | SoundStreamModel]) -> WebFile:
        place = self._workspace.folder("downloads") / "lyra-v1.3.2" / model.asset
        return WebFile(url=URL + model.asset, place=place, sha256=model.sha256)


def _side_by_side(
    work: Callable[[NDArray[np.float32]], _Made], given: Sequence[NDArray[np.float32]]
) -> list[_Made]:
    """What each utterance gives, on as many threads as torch may use."""
    with ThreadPoolExecutor(max(1, min(len(given), torch.get_num_threads()))) as pool:
        return list(pool.map(work, given))
