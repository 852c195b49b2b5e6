"""The encoders `dac-16k`, `dac-24k` and `dac-44k`: DAC's latents before or after its quantizer.

Source: Kumar et al., High-Fidelity Audio Compression with Improved RVQGAN, arXiv 2306.06546.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from latentbench.encoders.codec import CodecEncoder
from latentbench.encoders.network_decoder import DecodingEncoder
from latentbench.encoders.weights import WebFile
from latentbench_dac.architecture import DAC_16K, DAC_24K, DAC_44K, DIM, Architecture

if TYPE_CHECKING:
    from latentbench.encoders.network_decoder import DecoderNetwork
    from latentbench_dac.network import DacNetwork

__all__ = ["Dac16k", "Dac24k", "Dac44k"]

RELEASES = "https://github.com/descriptinc/descript-audio-codec/releases/download/"


class _Dac(DecodingEncoder, CodecEncoder):
    """What the three models share: all but figures.

    Convolutions see both ways: frame t sees audio up to the end of frame t + 8, and zeros on
    the right change the last 8 frames. So each utterance is encoded alone, at its own length.
    Loudness is left as it is, and nothing is cut into chunks (the package's `compress` does both).

    Raises:
        UsageError: the view is not known, or asks for more codebooks than there are.
    """

    distribution = "latentbench-dac"
    libraries = ("descript-audio-codec",)
    dim = DIM
    look_ahead = 8
    decoder_look_ahead = 10
    architecture: ClassVar[Architecture]

    def build(self) -> DacNetwork:
        """The dac package's network; see `NetworkEncoder.build`."""
        from latentbench_dac.network import DacNetwork  # noqa: PLC0415 - seconds of import, only once there are weights

        return DacNetwork(self.architecture)

    def build_decoder(self) -> DecoderNetwork:
        """The dac package's; see `DecodingEncoder.build_decoder`."""
        from latentbench_dac.network import decoder  # noqa: PLC0415 - as above

        return decoder(self.architecture)

    def published(self) -> WebFile:
        """The release of the 8 kbps model, where the dac package keeps it.

        The project publishes no checksum: the digest of what came is said, and in the result.
        """
        release, kind = self.architecture.release, self.architecture.model_type
        name = f"weights_{kind}_8kbps_{release}.pth"
        return WebFile(
            url=f"{RELEASES}{release}/{self.architecture.asset}",
            place=Path.home() / ".cache" / "descript" / "dac" / name,
        )

    def state_dict_of(self, checkpoint: Any) -> Any:
        """The package wraps the state dict with what the model was made with."""
        return checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None


class Dac16k(_Dac):
    """The 16 kHz model: 50 Hz."""

    name = "dac-16k"
    architecture = DAC_16K
    sample_rate = DAC_16K.sample_rate
    codebooks = DAC_16K.codebooks
    hop = 320


class Dac24k(_Dac):
    """The 24 kHz model: 75 Hz."""

    name = "dac-24k"
    architecture = DAC_24K
    sample_rate = DAC_24K.sample_rate
    codebooks = DAC_24K.codebooks
    hop = 320


class Dac44k(_Dac):
    """The 44.1 kHz model: 86.13 Hz."""

    name = "dac-44k"
    architecture = DAC_44K
    sample_rate = DAC_44K.sample_rate
    codebooks = DAC_44K.codebooks
    hop = 512
