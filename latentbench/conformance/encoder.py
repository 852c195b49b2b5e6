"""The conformance kit of encoders; the contract is `latentbench.encoders.Encoder`."""

from __future__ import annotations

import math
from dataclasses import fields
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from latentbench.conformance.check import Check, Kit, NonconformityError, Skip, Verdict, require
from latentbench.conformance.encoding import EncoderSubject, change, shape_text
from latentbench.conformance.fingerprints import fingerprint, fingerprint_of_options
from latentbench.conformance.lookahead import look_ahead
from latentbench.conformance.signals import noise
from latentbench.encoders.encoder import sight_text
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from latentbench.encoders import Encoder

__all__ = ["KIT", "ROUNDING", "SAME"]

SAME = 1e-6  # of the latents' largest magnitude: rounding of one and the same computation
ROUNDING = 1e-5  # of the same: rounding of a computation in another order
MORE_HOPS = 3
LEVELS = (1e-5, 1.0, 1e-2)  # of the utterances of a batch


def loads(subject: EncoderSubject) -> Verdict:
    """The factory gives an Encoder, and `load` brings its weights to the CPU."""
    from latentbench.encoders import Encoder  # noqa: PLC0415 - as the plugin itself imports it

    encoder = subject.make()
    require(
        isinstance(encoder, Encoder),
        f"{subject.component.spec.factory} to give a latentbench.encoders.Encoder",
        type(encoder).__name__,
    )
    at_hand = encoder.weights_at_hand()
    try:
        subject.encoder  # noqa: B018 - loads it
    except LatentbenchError as error:
        raise NonconformityError(
            "weights that can be loaded", f"{error}\n{_how_to_give_weights(subject)}".strip()
        ) from error
    return "" if at_hand else "the weights were downloaded"


def geometry(subject: EncoderSubject) -> Verdict:
    """Sizes, rates and look_ahead are sane, and frame_count agrees with segments."""
    encoder = subject.encoder
    rate = encoder.sample_rate
    require(
        isinstance(rate, (int, float)) and math.isfinite(rate) and rate > 0,
        "sample_rate to be a positive number",
        repr(rate),
    )
    for name in ("hop", "dim", "channels"):
        _require_int(encoder, name, 1)
    _require_int(encoder, "look_ahead", 0)
    seconds = encoder.max_batch_seconds
    require(
        isinstance(seconds, (int, float)) and math.isfinite(seconds) and seconds >= 0,
        "max_batch_seconds finite and at least 0",
        repr(seconds),
    )
    require(
        isinstance(encoder.stamps, tuple) and all(isinstance(s, str) for s in encoder.stamps),
        "stamps to be a tuple of texts",
        repr(encoder.stamps),
    )
    for samples in (1, encoder.hop - 1, encoder.hop, encoder.hop + 1, subject.samples):
        _require_segments(encoder, samples)
    return (
        f"{encoder.sample_rate:g} Hz, hop {encoder.hop} ({encoder.frame_rate:g} frames/s), "
        f"D = {encoder.dim}, channels {encoder.channels}, "
        f"look-ahead {sight_text(encoder.look_ahead)}"
    )


def shapes(subject: EncoderSubject) -> Verdict:
    """Latents are float32 [B, F, D], frames int64 [B], frame_count of each length."""
    encoder, waves = subject.encoder, _utterances(subject)
    latents, frames = subject.raw(waves)
    counts = [encoder.frame_count(wave.shape[-1]) for wave in waves]
    expected = f"[{len(waves)}, at least {max(counts)}, {encoder.dim}]"
    require(latents.dtype == torch.float32, "latents of dtype float32", f"{latents.dtype}")
    require(
        latents.ndim == 3  # noqa: PLR2004 - B, F, D
        and latents.shape[0] == len(waves)
        and latents.shape[1] >= max(counts)
        and latents.shape[2] == encoder.dim,
        f"latents of shape {expected}",
        shape_text(latents),
    )
    require(frames.dtype == torch.int64, "frames of dtype int64", f"{frames.dtype}")
    require(
        frames.tolist() == counts,
        f"frames {counts}, the frame_count of {[wave.shape[-1] for wave in waves]} samples",
        f"frames {frames.tolist()}",
    )
    return f"{shape_text(latents)} for {[wave.shape[-1] for wave in waves]} samples"


def finite(subject: EncoderSubject) -> Verdict:
    """Latents of speech, silence and loud noise are finite; speech is not silence."""
    encoder, samples = subject.encoder, subject.samples
    silence = torch.zeros(encoder.channels, samples)
    loud = noise(samples, channels=encoder.channels, seed=1)
    quiet = None
    for what, wave in (("loud noise", loud), ("speech", subject.speech), ("silence", silence)):
        (quiet,) = subject.encode([wave])
        bad = int((~quiet.isfinite()).sum())
        require(not bad, f"finite latents of {what}", f"{bad} of {quiet.numel()} not finite")
    require(
        quiet is not None and bool((change(subject.latents, quiet) > ROUNDING).any()),
        "latents of speech to differ from latents of silence",
        "the same latents for both",
    )
    return None


def leaves_audio(subject: EncoderSubject) -> Verdict:
    """Encoding does not write into the audio it is given."""
    encoder, wave = subject.encoder, subject.speech
    whole = wave[:, : wave.shape[1] // encoder.hop * encoder.hop].clone()
    given = whole[None] if encoder.channels > 1 else whole
    before = given.clone()
    encoder.encode(given, torch.tensor([given.shape[-1]]))
    require(torch.equal(given, before), "the audio as it was before encode", "other samples")
    return None


def deterministic(subject: EncoderSubject) -> Verdict:
    """The same audio gives the same latents at the next call and after other audio."""
    first = subject.latents
    subject.encode([subject.audio(subject.samples // 2, seed=5)])
    (again,) = subject.encode([subject.speech])
    return _same(first, again, SAME, "the latents of the first call at a later call")


def second_instance(subject: EncoderSubject) -> Verdict:
    """Another instance made from the same options gives the same latents."""
    (other,) = subject.encode([subject.speech], encoder=subject.loaded())
    return _same(subject.latents, other, SAME, "the latents of the first instance from a second")


def batch(subject: EncoderSubject) -> Verdict:
    """An utterance gives the same frames alone and in a batch with longer and louder ones.

    To 1e-5 of the latents' largest magnitude.
    """
    if not subject.encoder.max_batch_seconds:
        return Skip("max_batch_seconds = 0: utterances are encoded one at a time")
    waves = [level * wave for level, wave in zip(LEVELS, _utterances(subject), strict=True)]
    worst = 0.0
    for number, (wave, together) in enumerate(zip(waves, subject.encode(waves), strict=True)):
        (alone,) = subject.encode([wave])
        what = f"utterance {number} of the batch ({wave.shape[-1]} samples) as it is alone"
        _same(alone, together, ROUNDING, what)
        worst = max(worst, float(change(alone, together).max()))
    return f"largest difference {worst:.1e}"


def right_padding(subject: EncoderSubject) -> Verdict:
    """Zeros after the end of an utterance change none of its frames.

    To 1e-5 of the latents' largest magnitude.
    """
    if not subject.encoder.max_batch_seconds:
        return Skip("max_batch_seconds = 0: nothing is padded beyond its last hop")
    (padded,) = subject.encode([subject.speech], more_hops=MORE_HOPS)
    return _same(
        subject.latents, padded, ROUNDING, f"the same frames with {MORE_HOPS} more hops of zeros"
    )


def short_audio(subject: EncoderSubject) -> Verdict:
    """A single sample, and a single hop, give frame_count finite frames."""
    encoder = subject.encoder
    for samples in (1, encoder.hop):
        latents, frames = subject.raw([subject.audio(samples)])
        count = encoder.frame_count(samples)
        require(
            frames.tolist() == [count] and latents.shape[1] >= count,
            f"{count} frame(s) of {samples} sample(s)",
            f"frames {frames.tolist()}, latents {shape_text(latents)}",
        )
        finite_frames = latents[0, :count].isfinite().all()
        require(finite_frames, f"finite latents of {samples} sample(s)", "latents not finite")
    return None


KIT: Kit[EncoderSubject] = Kit(
    "encoder",
    EncoderSubject,
    (
        Check(loads, gate=True),
        Check(geometry, gate=True),
        Check(shapes, gate=True),
        Check(finite),
        Check(short_audio),
        Check(leaves_audio),
        Check(deterministic),
        Check(second_instance),
        Check(batch),
        Check(right_padding),
        Check(look_ahead),
        Check(fingerprint),
        Check(fingerprint_of_options),
    ),
)


def _utterances(subject: EncoderSubject) -> list[torch.Tensor]:
    """Three lengths, one of them whole hops; one utterance where batches are not allowed."""
    hop, samples = subject.encoder.hop, subject.samples
    lengths = [samples // hop * 3 // 4 * hop, samples, samples // 2]
    if not subject.encoder.max_batch_seconds:
        lengths = [samples]
    return [subject.audio(length, seed) for seed, length in enumerate(lengths)]


def _same(expected: torch.Tensor, came: torch.Tensor, tolerance: float, what: str) -> str:
    require(
        expected.shape == came.shape,
        f"{what}: {shape_text(expected)}",
        f"shape {shape_text(came)}",
    )
    differences = change(expected, came)
    worst = float(differences.max()) if len(differences) else 0.0
    if worst > tolerance:
        changed = torch.nonzero(differences > tolerance).flatten().tolist()
        raise NonconformityError(
            f"{what}, to {tolerance:.0e} of the largest magnitude",
            f"{len(changed)} of {len(differences)} frames differ, frame {changed[0]} first, "
            f"by up to {worst:.1e} of it",
        )
    return f"largest difference {worst:.1e}"


def _require_int(encoder: Encoder, name: str, least: int) -> None:
    value = getattr(encoder, name, None)
    require(
        isinstance(value, int) and not isinstance(value, bool) and value >= least,
        f"{name} to be an int of at least {least}",
        repr(value),
    )


def _require_segments(encoder: Encoder, samples: int) -> None:
    count, segments = encoder.frame_count(samples), encoder.segments(samples)
    total = sum(segment.frames for segment in segments)
    require(
        count == total,
        f"frame_count({samples}) = {total}, the frames of segments({samples})",
        f"{count}",
    )
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
