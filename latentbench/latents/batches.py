"""Asks an encoder for the latents of a batch, and takes only what the contract promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from latentbench.corpora import AudioError
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from latentbench.encoders import Encoder
    from latentbench.latents.preparation import PreparedAudio

__all__ = ["encode_batch"]


def encode_batch(
    encoder: Encoder,
    name: str,
    audio: Mapping[str, PreparedAudio],
    device: torch.device,
) -> dict[str, torch.Tensor | str]:
    """The latents of each utterance of a batch, [frames, D] on the CPU, or why there are none.

    An encoder that refuses or fails on a batch is asked for each utterance alone. Those it
    refuses then (`AudioError`), or gives no finite latents, have a reason in place of latents.

    Args:
        encoder: loaded on `device`.
        name: what the user calls it.
        audio: utterance id -> prepared audio.
        device: of the encoder.

    Raises:
        LatentbenchError: the encoder failed on an utterance, which it names, or returned
            something else than its contract says.
    """
    if not audio:
        return {}
    prepared = list(audio.values())
    longest = max(one.samples.shape[-1] for one in prepared)
    padded = torch.stack(
        [
            torch.nn.functional.pad(one.samples, (0, longest - one.samples.shape[-1]))
            for one in prepared
        ]
    )
    if encoder.channels == 1:
        padded = padded[:, 0]
    lengths = torch.tensor([one.length for one in prepared])
    given = f"{_of(audio)}, {_given(padded, lengths, encoder)}"
    try:
        with torch.inference_mode():
            returned: Any = encoder.encode(padded.to(device), lengths.to(device))
    except LatentbenchError:
        raise
    except Exception as error:
        if len(audio) > 1:
            each = [encode_batch(encoder, name, {id_: one}, device) for id_, one in audio.items()]
            return {id_: found for one in each for id_, found in one.items()}
        if isinstance(error, AudioError):
            return dict.fromkeys(audio, str(error))
        raise LatentbenchError(
            f"{_whose(encoder, name)} failed on {given}: {type(error).__name__}: {error}",
            _advice(name),
        ) from error
    latents = _taken(encoder, name, prepared, returned, given)
    return {
        id_: _why_not_finite(name, rows) or rows for id_, rows in zip(audio, latents, strict=True)
    }


def _why_not_finite(name: str, rows: torch.Tensor) -> str:
    """What is wrong with frames that are not finite; empty where all are."""
    wrong = int((~rows.isfinite().all(-1)).sum())
    return f"the encoder '{name}' gave {wrong} of {len(rows)} frames not finite" if wrong else ""


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


def _of(ids: Iterable[str]) -> str:
    first, *others = ids
    return f"the utterance '{first}'" + (f" and {len(others)} more" if others else "")


def _given(padded: torch.Tensor, lengths: torch.Tensor, encoder: Encoder) -> str:
    return f"{_type(padded)} at {encoder.sample_rate} Hz, lengths {lengths.tolist()}"


def _type(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _whose(encoder: Encoder, name: str) -> str:
    kind = type(encoder)
    return f"The encoder '{name}' ({kind.__module__}.{kind.__qualname__})"


def _advice(name: str) -> str:
    return f"'latentbench plugins check {name}' looks for more of this; tell the plugin's authors."
