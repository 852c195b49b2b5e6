"""Asks an encoder for the latents of a batch, and takes only what the contract promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from latentbench.corpora import AudioError
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentbench.encoders import Encoder
    from latentbench.latents.preparation import PreparedAudio

__all__ = ["encode_batch"]


def encode_batch(
    encoder: Encoder, name: str, audio: Sequence[PreparedAudio | str], device: torch.device
) -> list[torch.Tensor | str]:
    """The latents of each utterance of a batch, [frames, D] on the CPU, or why there are none.

    An encoder that refuses a batch (`AudioError`) is asked for each utterance alone, and those
    it refuses then are skipped for its reason.

    Args:
        encoder: loaded on `device`.
        name: what the user calls it.
        audio: prepared, or the reason an utterance is skipped for.
        device: of the encoder.

    Raises:
        LatentbenchError: the encoder failed, or returned something else than its contract says.
    """
    results: list[torch.Tensor | str] = [one if isinstance(one, str) else "" for one in audio]
    usable = [number for number, one in enumerate(audio) if not isinstance(one, str)]
    prepared = [one for one in audio if not isinstance(one, str)]
    for number, result in zip(usable, _encode(encoder, name, prepared, device), strict=True):
        results[number] = result
    return results


def _encode(
    encoder: Encoder, name: str, audio: Sequence[PreparedAudio], device: torch.device
) -> Sequence[torch.Tensor | str]:
    if not audio:
        return []
    longest = max(one.samples.shape[-1] for one in audio)
    padded = torch.stack(
        [
            torch.nn.functional.pad(one.samples, (0, longest - one.samples.shape[-1]))
            for one in audio
        ]
    )
    if encoder.channels == 1:
        padded = padded[:, 0]
    lengths = torch.tensor([one.length for one in audio])
    try:
        with torch.inference_mode():
            returned: Any = encoder.encode(padded.to(device), lengths.to(device))
    except AudioError as error:
        if len(audio) == 1:
            return [str(error)]
        return [_encode(encoder, name, [one], device)[0] for one in audio]
    except LatentbenchError:
        raise
    except Exception as error:
        raise LatentbenchError(
            f"{_whose(encoder, name)} failed on {_given(padded, lengths, encoder)}: "
            f"{type(error).__name__}: {error}",
            _advice(name),
        ) from error
    return _taken(encoder, name, audio, returned, _given(padded, lengths, encoder))


def _taken(
    encoder: Encoder, name: str, audio: Sequence[PreparedAudio], returned: Any, given: str
) -> list[torch.Tensor]:
    """The frames of each utterance.

    Raises:
        LatentbenchError: other types, shapes or frame counts than the contract's; what does not
            fit would be stored as the frames of another utterance.
    """
    counts = [sum(one.segments) for one in audio]
    expected = f"float32 [{len(audio)}, at least {max(counts)}, {encoder.dim}] and frames {counts}"
    match returned:
        case (torch.Tensor() as latents, torch.Tensor() as frames):
            came = f"{_type(latents)} and frames {frames.tolist()}"
            fits = (
                latents.dtype == torch.float32
                and latents.ndim == 3  # noqa: PLR2004 - B, F, D
                and latents.shape[0] == len(audio)
                and latents.shape[1] >= max(counts)
                and latents.shape[2] == encoder.dim
                and frames.tolist() == counts
            )
            if fits:
                rows = latents.cpu()
                return [rows[number, :count] for number, count in enumerate(counts)]
        case _:
            came = type(returned).__name__
    raise LatentbenchError(
        f"{_whose(encoder, name)} was given {given} and returned {came}; expected {expected}.",
        _advice(name),
    )


def _given(padded: torch.Tensor, lengths: torch.Tensor, encoder: Encoder) -> str:
    return f"{_type(padded)} at {encoder.sample_rate} Hz, lengths {lengths.tolist()}"


def _type(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _whose(encoder: Encoder, name: str) -> str:
    kind = type(encoder)
    return f"The encoder '{name}' ({kind.__module__}.{kind.__qualname__})"


def _advice(name: str) -> str:
    return f"'latentbench plugins check {name}' looks for more of this; tell the plugin's authors."
