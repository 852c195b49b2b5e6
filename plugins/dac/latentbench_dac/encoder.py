"""The encoders `dac-16k`, `dac-24k` and `dac-44k`: DAC's latents before or after its quantizer.

Source: Kumar et al., High-Fidelity Audio Compression with Improved RVQGAN, arXiv 2306.06546.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from latentbench.encoders.codec import CodecEncoder
from latentbench.encoders.network_decoder import DecodingEncoder
from latentbench.encoders.weights import WebFile

if TYPE_CHECKING:
    from latentbench.encoders.network_decoder import DecoderNetwork
    from latentbench_dac.network import DacNetwork

__all__ = ["Dac16k", "Dac24k", "Dac44k"]

RELEASES = "https://github.com/descriptinc/descript-audio-codec/releases/download/"


class _Dac(DecodingEncoder, CodecEncoder):
    """What the three models share: all but figures.

    Attributes:
        strides: of the encoder's blocks; their product is the hop.
        release: the tag of the 8 kbps weights.
        asset: their file in that release.

    Convolutions see both ways: frame t sees audio up to the end of frame t + 8, and zeros on
    the right change the last 8 frames. So each utterance is encoded alone, at its own length.
    Loudness is left as it is, and nothing is cut into chunks (the package's `compress` does both).

    Raises:
        UsageError: the view is not known, or asks for more codebooks than there are.
    """

    distribution = "latentbench-dac"
    libraries = ("descript-audio-codec",)
    dim = 1024
    look_ahead = 8
    decoder_look_ahead = 10
    strides: ClassVar[tuple[int, ...]]
    release: ClassVar[str]
    asset: ClassVar[str]

    def build(self) -> DacNetwork:
        """The dac package's network; see `NetworkEncoder.build`."""
        from latentbench_dac.network import DacNetwork  # noqa: PLC0415 - seconds of import, only once there are weights

        return DacNetwork(self.strides, self.codebooks)

    def build_decoder(self) -> DecoderNetwork:
        """The dac package's; see `DecodingEncoder.build_decoder`."""
        from latentbench_dac.network import decoder  # noqa: PLC0415 - as above

        return decoder(self.strides)

    def published(self) -> WebFile:
        """The release of the 8 kbps model, where the dac package keeps it.

        The project publishes no checksum: the digest of what came is said, and in the result.
        """
        kind = f"{self.name.removeprefix('dac-')}hz"
        name = f"weights_{kind}_8kbps_{self.release}.pth"
        return WebFile(
            url=f"{RELEASES}{self.release}/{self.asset}",
            place=Path.home() / ".cache" / "descript" / "dac" / name,
        )

    def state_dict_of(self, checkpoint: Any) -> Any:
        """The package wraps the state dict with what the model was made with."""
        return checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None


class Dac16k(_Dac):
    """The 16 kHz model: 50 Hz."""

    name = "dac-16k"
    sample_rate, hop = 16_000, 320
    strides = (2, 4, 5, 8)
    codebooks = 12
    release, asset = "0.0.5", "weights_16khz.pth"


class Dac24k(_Dac):
    """The 24 kHz model: 75 Hz."""

    name = "dac-24k"
    sample_rate, hop = 24_000, 320
    strides = (2, 4, 5, 8)
    codebooks = 32
    release, asset = "0.0.4", "weights_24khz.pth"


class Dac44k(_Dac):
    """The 44.1 kHz model: 86.13 Hz."""

    name = "dac-44k"
    sample_rate, hop = 44_100, 512
    strides = (2, 4, 8, 8)
    codebooks = 9
    release, asset = "0.0.1", "weights.pth"
