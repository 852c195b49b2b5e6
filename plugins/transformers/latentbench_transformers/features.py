"""Audio as a model takes it: by the feature extractor saved with it, else as it is."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import transformers
from transformers import CONFIG_MAPPING

from latentbench.errors import UsageError
from latentbench_transformers.repository import PREPARATION

if TYPE_CHECKING:
    from pathlib import Path

    import torch

__all__ = ["BEFORE_QUANTIZER", "Features", "digest_of"]

# Of codecs the module that gives the quantizer its latents, by model_type. An encoder half has
# no such module: its own output is the latents.
BEFORE_QUANTIZER = {
    "dac": "encoder",
    "encodec": "encoder",
    "higgs_audio_v2_tokenizer": "fc",
    "mimi": "encoder",
    "neucodec": "fc_encoder",
    "pocket_tts_audio_tokenizer": "encoder",
    "vibevoice_acoustic_tokenizer": "encoder",
    "wavtokenizer": "encoder_model.encoder",
    "wavtokenizer_encoder": "encoder",
    "xcodec": "fc",
}

# The library's own table names the extractor of waves for it, which it does not take.
CORRECTED: dict[str, Any] = {"wav2vec2-bert": transformers.SeamlessM4TFeatureExtractor}

AutoFeatureExtractor: Any = transformers.AutoFeatureExtractor  # untyped in the library
FEATURE_EXTRACTOR_MAPPING: Any = transformers.FEATURE_EXTRACTOR_MAPPING

# What says where a configuration was and who wrote it, not what it is.
PLACE = frozenset(
    {"_name_or_path", "architectures", "dtype", "processor_class", "transformers_version"}
)


class Features:
    """What a model is given of a wave.

    Attributes:
        rate: of the audio, in Hz.
        channels: of the audio.
        window: samples that one call takes at most; 0 where there is no limit.
        stride: samples from one window to the next.

    Args:
        folder: with the model's configuration.
        config: that configuration.
        model: as built, for what it calls its input.
        raw: give it audio as it is, whatever was saved.

    Raises:
        UsageError: the folder does not say how audio is prepared, and the model does not either.
    """

    def __init__(self, folder: Path, config: Any, model: Any, *, raw: bool = False) -> None:
        self._input = model.main_input_name
        self.is_codec = _is_codec(model)
        self._extractor = _saved_extractor(folder)
        self._saved = self._extractor is not None
        if not self._saved:
            self._extractor = self._usual(folder, config, _family(model))
        self._used = self._input != "input_values" or (self._saved and not raw)
        if raw and self._used:
            raise UsageError(
                f"encoder.features=raw: a {config.model_type} takes {self._input}, not audio.",
                "Leave encoder.features as it is.",
            )
        self.rate = self._rate(folder, config)
        self.channels = int(getattr(config, "audio_channels", 1))
        chunk = getattr(config, "chunk_length", None)
        self.window = int(getattr(self._extractor, "n_samples", 0) or chunk or 0)
        self.stride = int((getattr(config, "chunk_stride", 0) if chunk else 0) or self.window)

    def __call__(self, wave: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The model's input of one utterance [channels, n], and what else its extractor gives."""
        if not self._used:
            return (wave[None] if self.is_codec else wave), {}
        array = wave.cpu().numpy()
        given: dict[str, Any] = {"return_tensors": "pt", "sampling_rate": self.rate}
        if self.is_codec:
            given["padding"] = False  # to whole chunks of a second, at times one too many
        made = self._extractor(array if self.channels > 1 else array[0], **given)
        inputs = {name: tensor.to(wave.device) for name, tensor in made.items()}
        name = "input_values" if "input_values" in inputs else self._input
        return inputs.pop(name), inputs

    @property
    def fingerprint(self) -> str:
        """What prepares the audio, with a digest of its settings."""
        if not self._used:
            return "audio as it is"
        return f"{type(self._extractor).__name__} sha256:{digest_of(self._extractor.to_dict())}"

    @property
    def note(self) -> str:
        """What a user should know about models saved without feature extractor; else empty."""
        if self._saved:
            return ""
        how = (
            f"by transformers' default {type(self._extractor).__name__}" if self._used else "as is"
        )
        return f"No feature extractor was saved with the model: it gets audio {how}."

    def _usual(self, folder: Path, config: Any, kind: str) -> Any:
        """The library's extractor for such models with its defaults; None where it has none.

        Raises:
            UsageError: the model takes features, and no extractor for them is known.
        """
        known = CONFIG_MAPPING[kind] if kind in CONFIG_MAPPING else type(config)
        made = CORRECTED.get(kind) or FEATURE_EXTRACTOR_MAPPING.get(known, None)
        if made is not None and self._input in made.model_input_names:
            size = None if self._input == "input_values" else getattr(config, "num_mel_bins", None)
            return made() if size is None else made(feature_size=size)
        if self._input != "input_values":
            raise UsageError(
                f"'{folder}' holds no {PREPARATION[0]}, and a {config.model_type} takes features.",
                "Save the model's feature extractor in the same folder.",
            )
        return None

    def _rate(self, folder: Path, config: Any) -> int:
        names = ("sampling_rate", "sample_rate", "input_sampling_rate")
        found = [getattr(self._extractor, names[0], None)] if self._saved else []
        found += [getattr(config, name, None) for name in names]
        found += [getattr(self._extractor, names[0], None)]
        rate = next((one for one in found if one), None)
        if rate is None:
            raise UsageError(
                f"'{folder}' does not say at which rate a {config.model_type} takes audio.",
                f"Add the model's {PREPARATION[0]}, with sampling_rate in it.",
            )
        return int(rate)


def _family(model: Any) -> str:
    """The model_type, the same for a codec and for its encoder alone."""
    return str(model.config.model_type).removesuffix("_encoder")


def _is_codec(model: Any) -> bool:
    """Whether audio goes in as [1, channels, n], in whole hops."""
    return hasattr(model, "encode") or _family(model) in BEFORE_QUANTIZER


def digest_of(settings: Any) -> str:
    """A hex sha256 of settings, whoever saved them where."""
    text = json.dumps(_without_place(settings), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_place(settings: Any) -> Any:
    if isinstance(settings, dict):
        return {str(k): _without_place(v) for k, v in settings.items() if k not in PLACE}
    return settings


def _saved_extractor(folder: Path) -> Any:
    """The extractor saved in a folder; None where there is none."""
    if not any((folder / name).is_file() for name in PREPARATION):
        return None
    try:
        return AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if (folder / PREPARATION[0]).is_file():
            raise UsageError(
                f"The feature extractor of '{folder}' cannot be made: {error}",
                f"Its {PREPARATION[0]} must be one of transformers' own feature extractors.",
            ) from None
        return None  # a processor that has only a tokenizer
