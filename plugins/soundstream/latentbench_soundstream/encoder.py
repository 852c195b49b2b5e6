"""The encoder `soundstream`: 16 kHz audio to the latents of Lyra V2 before its quantizer.

Source: SoundStream, arXiv 2107.03312; weights and graph of https://github.com/google/lyra v1.3.2.
"""

from __future__ import annotations

import platform
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn.utils.rnn import pad_sequence

from latentbench.encoders import Encoder
from latentbench.encoders.weights import WebFile
from latentbench.errors import UsageError
from latentbench_soundstream.dither import dithered
from latentbench_soundstream.model import SoundStreamModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from latentbench.workspace import Workspace
    from latentbench_soundstream.plugin import SoundStreamOptions

__all__ = ["SoundStream"]

PRETRAINED = "pretrained"
URL = (
    "https://raw.githubusercontent.com/google/lyra/v1.3.2/"
    "lyra/model_coeffs/soundstream_encoder.tflite"
)
SHA256 = "237da0b16226fb0a68d49551c81bebf614e42142af72764448359f68581e88f1"


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

    def weights_at_hand(self) -> bool:
        """Whether `load` would need no download."""
        return self._options.weights != PRETRAINED or self._published().is_here()

    def load(self, device: torch.device) -> None:  # noqa: ARG002 - the model runs on the CPU
        """Read the model, downloading it where `weights` is `pretrained`.

        Raises:
            UsageError: the model cannot be had or is not SoundStream's; says how to go on.
        """
        if self._options.weights == PRETRAINED:
            file = self._published().fetch(self._workspace.progress)
        else:
            file = Path(self._options.weights).expanduser()
        model = SoundStreamModel(file)
        if (model.hop, model.dim) != (self.hop, self.dim):
            raise UsageError(
                f"'{file}' maps {model.hop} samples to {model.dim} dimensions, "
                f"expected {self.hop} and {self.dim}.",
                "Of Lyra's models, soundstream_encoder.tflite is the one to pass.",
            )
        self._loaded = model

    def encode(
        self, audio: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode each utterance from a fresh state; see `Encoder.encode`."""
        waves = audio.reshape(audio.shape[0], audio.shape[-1]).cpu().numpy()
        frames = [self.frame_count(int(samples)) for samples in lengths]
        with ThreadPoolExecutor(max(1, min(len(frames), torch.get_num_threads()))) as pool:
            latents = list(
                pool.map(
                    lambda wave, count: self._utterance(wave[: count * self.hop]), waves, frames
                )
            )
        padded = pad_sequence(latents, batch_first=True)
        return padded.to(audio.device), torch.tensor(frames, dtype=torch.int64)

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
        latents = self._model.run(audio)
        if self._options.dither:
            latents = dithered(latents, self.step, self._options.dither_seed)
        return torch.from_numpy(latents)

    def _published(self) -> WebFile:
        folder = self._workspace.folder("downloads") / "lyra-v1.3.2"
        return WebFile(url=URL, place=folder / "soundstream_encoder.tflite", sha256=SHA256)
