"""The base of encoders for neural audio codecs: a network, and a residual vector quantizer.

From a codec's own package to an encoder of latentbench: set the attributes of `Encoder` and
those of `CodecEncoder`, write `build` and `published`, and give the spec `CodecOptions` or
options derived from it.

    class Mine(CodecEncoder):
        name = "mine"
        distribution = "latentbench-mine"
        libraries = ("mine-codec",)
        sample_rate, hop, dim = 24_000, 320, 128
        codebooks = 8

        def build(self) -> nn.Module:
            from latentbench_mine.network import MineNetwork  # slow, so only now

            return MineNetwork()

        def published(self) -> WebFile:
            place = self.workspace.folder("downloads") / "mine" / "mine.pth"
            return WebFile(url="https://…/mine.pth", place=place, sha256="…")

The network is a `torch.nn.Module` called as `network(waves, codebooks)`: audio float32
[B, channels, T] and how many codebooks are summed, None for the latents before the quantizer;
it gives float32 [B, F, D]. A checkpoint is a state dict under the network's own names, all of
them; `state_dict_of` reads one that is wrapped. Safetensors are read too. Code in a checkpoint
is never executed.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from torch.nn.utils.rnn import pad_sequence

from latentbench.encoders.codec_options import codebooks_summed
from latentbench.encoders.network_encoder import NetworkEncoder
from latentbench.encoders.state_dicts import (
    SAFETENSORS,
    of_parts,
    read_pickled,
    read_tensors,
    tensor_names,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import torch
    from torch import nn

    from latentbench.encoders.codec_options import CodecOptions
    from latentbench.encoders.weights import HubFile, WebFile
    from latentbench.workspace import Workspace

__all__ = ["CodecEncoder", "older_weight_norm"]


class CodecEncoder(NetworkEncoder):
    """Latents of a codec before its quantizer, or the sum of its first n codebooks.

    Attributes:
        codebooks: how many the quantizer has.
        summed: how many of them the view sums; None for the latents before the quantizer.

    Raises:
        UsageError: the view is not known, or asks for more codebooks than there are.
    """

    codebooks: ClassVar[int]
    options: CodecOptions
    max_batch_seconds = 0.0

    def __init__(self, options: CodecOptions, workspace: Workspace) -> None:
        super().__init__(options, workspace)
        self.summed = codebooks_summed(options.view, self.codebooks, self.name)

    @abstractmethod
    def published(self) -> HubFile | WebFile:
        """The checkpoint its authors published."""

    def state_dict_of(self, checkpoint: Any) -> Any:
        """The state dict in what `torch.load` read from a checkpoint; what is no dict is refused.

        Parts of it that the network has not, such as a decoder, are left out.
        """
        return checkpoint

    def rows(
        self, network: nn.Module, waves: torch.Tensor, samples: Sequence[int]
    ) -> list[torch.Tensor]:
        """The frames [F, D] of each utterance of a batch.

        Here each is encoded alone, at its own length, which is right for every codec. One whose
        frames do not see what is padded may do better, and set `max_batch_seconds`.

        Args:
            network: as built, with its weights.
            waves: float32 [B, channels, T], zero-padded.
            samples: of each utterance before padding.
        """
        ends = [-(-count // self.hop) * self.hop for count in samples]
        return [
            self.in_view(network, wave[None, :, :end])[0]
            for wave, end in zip(waves, ends, strict=True)
        ]

    def in_view(self, network: nn.Module, waves: torch.Tensor) -> torch.Tensor:
        """The latents [B, F, D] of audio [B, channels, T] in the view that was asked for."""
        latents: torch.Tensor = network(waves, self.summed)
        return latents

    def latents(
        self, network: nn.Module, waves: torch.Tensor, samples: Sequence[int]
    ) -> torch.Tensor:
        """See `NetworkEncoder.latents`."""
        return pad_sequence(self.rows(network, waves, samples), batch_first=True)

    def settings(self) -> Mapping[str, str]:
        """The view."""
        return {"view": self.options.view}

    def tensors(self, file: Path, network: nn.Module) -> Mapping[str, Any]:
        """The weights in a checkpoint; see `NetworkEncoder.tensors`."""
        if file.name.endswith(SAFETENSORS):
            return read_tensors(file, of_parts(tensor_names(file), network))
        state = self.state_dict_of(read_pickled(file))
        given = {str(name): state[name] for name in state} if isinstance(state, dict) else {}
        return {name: given[name] for name in of_parts(given, network)}


@contextmanager
def older_weight_norm() -> Iterator[None]:
    """Build a network under `weight_g` and `weight_v`, as torch's older weight norm has it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*weight_norm.*deprecated", FutureWarning)
        yield
