"""The checks of encoders; the contract is `latentbench.encoders.Encoder`."""

from __future__ import annotations

import math
from dataclasses import fields
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from latentbench.conformance.audio import EncoderSubject, noise
from latentbench.conformance.check import Kit, NonconformityError, Skip, require
from latentbench.conformance.closeness import (
    ROUNDING,
    SAME,
    change,
    require_finite,
    require_same,
    shape_text,
)
from latentbench.conformance.decoding import (
    decoded_shape,
    decoder_deterministic,
    decoder_level,
    decoder_look_ahead,
)
from latentbench.conformance.fingerprints import fingerprint, fingerprint_of_options
from latentbench.conformance.lookahead import look_ahead
from latentbench.encoders.encoder import sight_text
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from latentbench.encoders import Encoder

__all__ = ["KIT"]

MORE_HOPS = 3
LEVELS = (1e-5, 1.0, 1e-2)  # of the utterances of a batch
ONE_AT_A_TIME = "max_batch_seconds = 0: utterances are encoded one at a time, without padding"
LEAST = {"hop": 1, "dim": 1, "channels": 1, "look_ahead": 0}


def loads(subject: EncoderSubject) -> str:
    """`load` brings the weights to the CPU."""
    at_hand = subject.make().weights_at_hand()
    try:
        subject.encoder  # noqa: B018 - loads it
    except LatentbenchError as error:
        raise NonconformityError(
            "weights that can be loaded", f"{error}\n{_how_to_give_weights(subject)}".strip()
        ) from error
    return "" if at_hand else "the weights were downloaded"


def geometry(subject: EncoderSubject) -> str:
    """Sizes, rates and look_ahead are sane, and frame_count agrees with segments."""
    encoder = subject.encoder
    for name, least in LEAST.items():
        value = getattr(encoder, name, None)
        sane = isinstance(value, int) and not isinstance(value, bool) and value >= least
        require(sane, f"{name} to be an int of at least {least}", repr(value))
    rate, seconds = encoder.sample_rate, encoder.max_batch_seconds
    require(_is_finite(rate) and rate > 0, "sample_rate to be a positive number", repr(rate))
    sane = _is_finite(seconds) and seconds >= 0
    require(sane, "max_batch_seconds finite and at least 0", repr(seconds))
    texts = isinstance(encoder.stamps, tuple) and all(isinstance(s, str) for s in encoder.stamps)
    require(texts, "stamps to be a tuple of texts", repr(encoder.stamps))
    for samples in (1, encoder.hop - 1, encoder.hop, encoder.hop + 1, subject.samples):
        _require_segments(encoder, samples)
    return (
        f"{encoder.sample_rate:g} Hz, hop {encoder.hop} ({encoder.frame_rate:g} frames/s), "
        f"D = {encoder.dim}, channels {encoder.channels}, "
        f"look-ahead {sight_text(encoder.look_ahead)}"
    )


def shapes(subject: EncoderSubject) -> str:
    """Latents are float32 [B, F, D], frames int64 [B], frame_count of each length."""
    encoder, waves = subject.encoder, _utterances(subject)
    latents, frames = subject.raw(waves)
    samples = [wave.shape[-1] for wave in waves]
    counts = [encoder.frame_count(length) for length in samples]
    require(latents.dtype == torch.float32, "latents of dtype float32", f"{latents.dtype}")
    sizes = [len(waves), max([*latents.shape[1:2], *counts]), encoder.dim]
    wanted = f"latents of shape [{len(waves)}, at least {max(counts)}, {encoder.dim}]"
    require(list(latents.shape) == sizes, wanted, shape_text(latents))
    require(frames.dtype == torch.int64, "frames of dtype int64", f"{frames.dtype}")
    wanted = f"frames {counts}, the frame_count of {samples} samples"
    require(frames.tolist() == counts, wanted, f"frames {frames.tolist()}")
    return f"{shape_text(latents)} for {samples} samples"


def finite(subject: EncoderSubject) -> None:
    """Latents of speech, silence and loud noise are finite; speech is not silence."""
    encoder, samples = subject.encoder, subject.samples
    silence = torch.zeros(encoder.channels, samples)
    loud = noise(samples, channels=encoder.channels, seed=1)
    for what, wave in (("loud noise", loud), ("speech", subject.speech), ("silence", silence)):
        (latents,) = subject.encode([wave])
        require_finite(latents, f"latents of {what}")
    differs = bool((change(subject.latents, latents) > ROUNDING).any())
    require(differs, "other latents of speech than of silence", "the same latents for both")


def short_audio(subject: EncoderSubject) -> None:
    """A single sample, and a single hop, give frame_count finite frames."""
    encoder = subject.encoder
    for samples in (1, encoder.hop):
        latents, frames = subject.raw([subject.audio(samples)])
        count = encoder.frame_count(samples)
        enough = frames.tolist() == [count] and latents.shape[1] >= count
        came = f"frames {frames.tolist()}, latents {shape_text(latents)}"
        require(enough, f"{count} frame(s) of {samples} sample(s)", came)
        require_finite(latents[0, :count], f"latents of {samples} sample(s)")


def leaves_audio(subject: EncoderSubject) -> None:
    """Encoding does not write into the audio it is given."""
    encoder, wave = subject.encoder, subject.speech
    whole = wave[:, : wave.shape[1] // encoder.hop * encoder.hop].clone()
    given = whole[None] if encoder.channels > 1 else whole
    before = given.clone()
    encoder.encode(given, torch.tensor([given.shape[-1]]))
    require(torch.equal(given, before), "the audio as it was before encode", "other samples")


def deterministic(subject: EncoderSubject) -> str:
    """The same audio gives the same latents at the next call and after other audio."""
    first = subject.latents
    subject.encode([subject.audio(subject.samples // 2, seed=5)])
    (again,) = subject.encode([subject.speech])
    return require_same(first, again, SAME, "the latents of the first call at a later call")


def second_instance(subject: EncoderSubject) -> str:
    """Another instance made from the same options gives the same latents."""
    (other,) = subject.encode([subject.speech], encoder=subject.loaded())
    what = "the latents of the first instance from a second"
    return require_same(subject.latents, other, SAME, what)


def batch(subject: EncoderSubject) -> str:
    """An utterance gives the same frames alone and in a batch with longer and louder ones.

    To 1e-5 of the latents' largest magnitude.
    """
    if not subject.encoder.max_batch_seconds:
        return Skip(ONE_AT_A_TIME)
    waves = [level * wave for level, wave in zip(LEVELS, _utterances(subject), strict=True)]
    found = []
    for number, (wave, together) in enumerate(zip(waves, subject.encode(waves), strict=True)):
        (alone,) = subject.encode([wave])
        what = f"utterance {number} of the batch ({wave.shape[-1]} samples) as it is alone"
        found.append(require_same(alone, together, ROUNDING, what))
    return "; ".join(found)


def right_padding(subject: EncoderSubject) -> str:
    """Zeros after the end of an utterance change none of its frames.

    To 1e-5 of the latents' largest magnitude.
    """
    if not subject.encoder.max_batch_seconds:
        return Skip(ONE_AT_A_TIME)
    (padded,) = subject.encode([subject.speech], more_hops=MORE_HOPS)
    what = f"the same frames with {MORE_HOPS} more hops of zeros"
    return require_same(subject.latents, padded, ROUNDING, what)


KIT = Kit(
    EncoderSubject,
    gates=(loads, geometry, shapes),
    checks=(
        finite,
        short_audio,
        leaves_audio,
        deterministic,
        second_instance,
        batch,
        right_padding,
        look_ahead,
        fingerprint,
        fingerprint_of_options,
        decoded_shape,
        decoder_deterministic,
        decoder_look_ahead,
        decoder_level,
    ),
)


def _utterances(subject: EncoderSubject) -> list[torch.Tensor]:
    """Three lengths, one of them whole hops; one utterance where batches are not allowed."""
    hop, samples = subject.encoder.hop, subject.samples
    lengths = [samples // hop * 3 // 4 * hop, samples, samples // 2]
    if not subject.encoder.max_batch_seconds:
        lengths = [samples]
    return [subject.audio(length, seed) for seed, length in enumerate(lengths)]


def _require_segments(encoder: Encoder, samples: int) -> None:
    count, segments = encoder.frame_count(samples), encoder.segments(samples)
    total = sum(segment.frames for segment in segments)
    wanted = f"frame_count({samples}) = {total}, the frames of segments({samples})"
    require(count == total, wanted, f"{count}")
    ordered = all(a.start < b.start for a, b in pairwise(segments))
    require(ordered, f"segments({samples}) in the order of their audio", f"{segments}")
    for segment in segments:
        inside = segment.start >= 0 and (not segment.frames or segment.start < samples)
        require(inside, f"segments({samples}) that start inside the audio", f"{segment}")


def _how_to_give_weights(subject: EncoderSubject) -> str:
    """The command that gives weights, where the encoder has such an option."""
    spec = subject.component.spec
    known = {
        option.name: str(option.metadata) + str(option.type) for option in fields(spec.options)
    }
    if "weights" not in known:
        return ""
    command = f"latentbench plugins check {spec.name} --set weights="
    ways = f"Give them: {command}PATH"
    return f"{ways}, or {command}random" if "random" in known["weights"] else ways


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
