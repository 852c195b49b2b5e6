"""The encoders `snac-24k`, `snac-32k` and `snac-44k`: latents before or after the quantizer.

Source: Siuzdak et al., SNAC: Multi-Scale Neural Audio Codec, arXiv 2410.14411.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from latentbench.encoders.codec import CodecEncoder
from latentbench.encoders.network_decoder import DecodingEncoder
from latentbench.encoders.weights import HubFile

if TYPE_CHECKING:
    from latentbench.workspace import Workspace
    from latentbench_snac.network import SnacDecoder, SnacNetwork
    from latentbench_snac.plugin import SnacOptions

__all__ = ["SNAC_24K", "SNAC_32K", "SNAC_44K", "Architecture", "Snac24k", "Snac32k", "Snac44k"]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What tells one published model from another, as in the config.json of its repository.

    Attributes:
        repository: on the Hugging Face Hub.
        sample_rate: in Hz.
        width: channels of the first convolution; doubled by every stride.
        strides: of the encoder's blocks; their product is the hop.
        attention: frames in a window of its local attention; None where it has none.
        vq_strides: frames that share a code, of each codebook.
        decoder_width: channels of the decoder's first convolution; halved by every stride.
        ahead: frames that a latent before the quantizer sees ahead: 10 through convolutions,
            and 31 more to the end of a window of attention. Of the decoder it is the same.
        quantized_ahead: the same of a quantized frame, whose code may be that of later ones.
    """

    repository: str
    sample_rate: int
    width: int
    strides: tuple[int, ...]
    attention: int | None
    vq_strides: tuple[int, ...]
    decoder_width: int
    ahead: int
    quantized_ahead: int

    @property
    def dim(self) -> int:
        """D."""
        return self.width * 2 ** len(self.strides)


SNAC_24K = Architecture(
    repository="hubertsiuzdak/snac_24khz",
    sample_rate=24_000,
    width=48,
    strides=(2, 4, 8, 8),
    attention=None,
    vq_strides=(4, 2, 1),
    decoder_width=1024,
    ahead=10,
    quantized_ahead=13,
)
SNAC_32K = Architecture(
    repository="hubertsiuzdak/snac_32khz",
    sample_rate=32_000,
    width=64,
    strides=(2, 3, 8, 8),
    attention=32,
    vq_strides=(8, 4, 2, 1),
    decoder_width=1536,
    ahead=41,
    quantized_ahead=46,
)
SNAC_44K = replace(SNAC_32K, repository="hubertsiuzdak/snac_44khz", sample_rate=44_100)


class _Snac(DecodingEncoder, CodecEncoder):
    """What the three models share: all but figures.

    Convolutions see both ways; the 32 and 44.1 kHz models also attend within windows of 32
    frames, and codes are shared by 2 to 8 frames. So each utterance is encoded alone.

    Attributes:
        architecture: of the published model.

    Raises:
        UsageError: the view is not known, or asks for more codebooks than there are.
    """

    distribution = "latentbench-snac"
    libraries = ("snac",)
    architecture: ClassVar[Architecture]

    def __init__(self, options: SnacOptions, workspace: Workspace) -> None:
        super().__init__(options, workspace)
        model = self.architecture
        self.look_ahead = model.quantized_ahead if self.summed else model.ahead
        self.decoder_look_ahead = model.ahead

    def build(self) -> SnacNetwork:
        """The snac package's network; see `NetworkEncoder.build`."""
        from latentbench_snac.network import SnacNetwork  # noqa: PLC0415 - seconds of import, only once there are weights

        return SnacNetwork(self.architecture)

    def build_decoder(self) -> SnacDecoder:
        """The snac package's; see `DecodingEncoder.build_decoder`."""
        from latentbench_snac.network import SnacDecoder  # noqa: PLC0415 - as above

        return SnacDecoder(self.architecture)

    def published(self) -> HubFile:
        """The checkpoint in its authors' repository, checked against what the hub says of it."""
        return HubFile(repo=self.architecture.repository, revision="main", name="pytorch_model.bin")


class Snac24k(_Snac):
    """The 24 kHz model, for speech: 46.88 Hz."""

    name = "snac-24k"
    architecture = SNAC_24K
    sample_rate, hop, dim = 24_000, 512, SNAC_24K.dim
    codebooks = 3


class Snac32k(_Snac):
    """The 32 kHz model: 83.33 Hz."""

    name = "snac-32k"
    architecture = SNAC_32K
    sample_rate, hop, dim = 32_000, 384, SNAC_32K.dim
    codebooks = 4


class Snac44k(_Snac):
    """The 44.1 kHz model: 114.8 Hz."""

    name = "snac-44k"
    architecture = SNAC_44K
    sample_rate, hop, dim = 44_100, 384, SNAC_44K.dim
    codebooks = 4
