"""The encoder `hf`: any audio model of the transformers library."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from latentbench.encoders import RANDOM, WHOLE_UTTERANCE, exact_float32
from latentbench.encoders.network_encoder import NetworkEncoder
from latentbench.encoders.state_dicts import weights_digest
from latentbench_transformers.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from latentbench.encoders import Segment
    from latentbench.workspace import Workspace
    from latentbench_transformers.model import AudioModel
    from latentbench_transformers.plugin import HfOptions
    from latentbench_transformers.probing import Geometry

__all__ = ["HfEncoder"]


class HfEncoder(NetworkEncoder):
    """The latents of one layer of a model, in float32, one utterance at a time.

    Padding changes latents wherever audio or activations are normalised over time, attention
    sees both ways or convolutions look ahead; so an utterance goes alone, at its own length.
    Everything about its frames is measured, see `probing`.

    Raises:
        UsageError: the model is neither a folder here nor possibly on the hub.
    """

    name = "hf"
    distribution = "latentbench-transformers"
    libraries = ("transformers",)
    max_batch_seconds = 0.0
    options: HfOptions
    _network: AudioModel | None

    def __init__(self, options: HfOptions, workspace: Workspace) -> None:
        super().__init__(options, workspace)
        self._repository = Repository(options.model, options.revision)

    @cached_property
    def geometry(self) -> Geometry:
        """Where the frames are; before `load`, measured on random weights, which have the same.

        Raises:
            UsageError: the model's configuration cannot be had, or its layer gives no frames.
        """
        from latentbench_transformers.probing import measure  # noqa: PLC0415 - seconds of import, only once there are weights

        network = self._network
        if network is None:
            with torch.random.fork_rng(devices=[]):
                network = self._wrapped(pretrained=False)
        with torch.inference_mode(), exact_float32(self._device):
            return measure(network, self._device)

    @property
    def sample_rate(self) -> float:  # type: ignore[override]
        """Of the audio, in Hz."""
        return self.geometry.rate

    @property
    def hop(self) -> int:  # type: ignore[override]
        """Samples from one frame to the next."""
        return self.geometry.hop

    @property
    def dim(self) -> int:  # type: ignore[override]
        """D."""
        return self.geometry.dim

    @property
    def channels(self) -> int:  # type: ignore[override]
        """Of the audio."""
        return self.geometry.channels

    def frame_count(self, samples: int) -> int:
        """Frames of `samples` samples: as many as the library gives."""
        return sum(segment.frames for segment in self.segments(samples))

    def segments(self, samples: int) -> tuple[Segment, ...]:
        """One stretch, or one a window of the model."""
        return self.geometry.segments(samples)

    def build(self) -> nn.Module:
        """The model with all its weights, as the library loads it; see `NetworkEncoder.build`."""
        return self._wrapped(pretrained=self.options.weights != RANDOM)

    def published(self) -> Repository:
        """The model's folder or repository."""
        return self._repository

    def local_file(self) -> None:
        """None: a folder of one's own is a model, not weights."""

    def tensors(self, file: Path, network: nn.Module) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - `build` read it
        """All that was loaded."""
        return network.state_dict()

    def fill(self, network: nn.Module, file: Path) -> str:  # noqa: ARG002 - `build` read it
        """A digest of all that was loaded."""
        return weights_digest(network)

    def random_weights(self, network: nn.Module) -> str:
        """A digest: what transformers draws from a seed may change with its version."""
        return f"sha256:{weights_digest(network)}"

    def load(self, device: torch.device) -> None:
        """Bring the model to `device` and measure its frames; see `NetworkEncoder.load`."""
        from latentbench_transformers.probing import look_ahead  # noqa: PLC0415 - as in `geometry`

        super().load(device)
        assert self._network is not None  # noqa: S101 - loaded
        self.__dict__.pop("geometry", None)
        geometry = self.geometry
        with torch.inference_mode(), exact_float32(device):
            self.look_ahead = look_ahead(self._network, geometry, device)
        self.stamps = (*self.stamps[: self.options.weights == RANDOM], *self._sight(geometry))

    def latents(
        self, network: nn.Module, waves: torch.Tensor, samples: Sequence[int]
    ) -> torch.Tensor:
        """Each utterance alone, a window at a time; see `NetworkEncoder.latents`."""
        rows = []
        for wave, count in zip(waves, samples, strict=True):
            frames = [wave.new_empty(0, self.dim)]
            for segment in self.segments(count):
                if segment.frames:
                    end = min(count, segment.start + (self.geometry.window or count))
                    frames.append(network(wave[:, segment.start : end])[: segment.frames])
            rows.append(torch.cat(frames))
        return pad_sequence(rows, batch_first=True)

    def settings(self) -> Mapping[str, str]:
        """All that shapes the latents beside the weights."""
        from latentbench_transformers.features import digest_of  # noqa: PLC0415 - as in `geometry`

        network: Any = self._network
        config = network.model.config
        return {
            "model": f"{config.model_type} sha256:{digest_of(config.to_dict())}",
            "layer": str(self.options.layer),
            "part": self.options.part,
            "features": network.features.fingerprint,
            "attention": str(config._attn_implementation),  # noqa: SLF001 - the library's only name for it
        }

    def _wrapped(self, *, pretrained: bool) -> AudioModel:
        from latentbench_transformers.features import Features  # noqa: PLC0415
        from latentbench_transformers.model import AudioModel  # noqa: PLC0415
        from latentbench_transformers.pretrained import load, make  # noqa: PLC0415 - as in `geometry`

        folder = self._repository.describe(self.workspace.progress)
        model = (load if pretrained else make)(folder, self.options.part)
        features = Features(folder, model.config, model, raw=self.options.features == "raw")
        if features.note:
            self.workspace.progress.say(features.note)
        return AudioModel(model, features, self.options.layer)

    def _sight(self, geometry: Geometry) -> tuple[str, ...]:
        if self.look_ahead == WHOLE_UTTERANCE:
            return ("a frame sees its whole utterance",)
        if geometry.window and self.look_ahead == geometry.frames(geometry.window) - 1:
            return (f"a frame sees its whole window of {geometry.window / geometry.rate:g} s",)
        return ()
