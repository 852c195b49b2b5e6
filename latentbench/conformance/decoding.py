"""The checks of `Encoder.decode`: what leads from latents back to sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from latentbench.conformance.check import Doubt, NonconformityError, Skip, require
from latentbench.conformance.closeness import (
    ROUNDING,
    SAME,
    require_same,
    require_tensor,
)
from latentbench.encoders import WHOLE_UTTERANCE, Encoder
from latentbench.errors import UsageError

if TYPE_CHECKING:
    from latentbench.conformance.audio import EncoderSubject

__all__ = ["decoded_shape", "decoder_deterministic", "decoder_level", "decoder_look_ahead"]

NO_DECODER = "it has no decoder"
FRAMES = 24  # and what the decoder sees ahead, twice
QUIETER = 0.25  # of a second utterance: other latents of the same frames
TINY = 1e-9
LOUDEST = 2.0  # times the level of the original: 6 dB


def decoded_shape(subject: EncoderSubject) -> str:
    """Sound is finite float32 [B, F hop] of one frame and of many, where it is declared."""
    encoder = subject.encoder
    own = type(encoder).decode is not Encoder.decode
    declared = bool(getattr(subject.component.spec, "decodes", False))
    require(own or not declared, "a method decode, for the spec says decodes", "none")
    if not declared:
        return (
            Doubt("it has a method decode, but its spec says no `decodes`")
            if own
            else Skip(NO_DECODER)
        )
    channels = (encoder.channels,) if encoder.channels > 1 else ()
    latents = _latents(subject)
    for frames in (latents.shape[1], 1):
        try:
            sound = encoder.decode(latents[:, :frames])
        except UsageError as error:
            return Skip(f"{error}")
        shape = (len(latents), *channels, frames * encoder.hop)
        require_tensor(sound, f"the sound of {frames} frame(s)", shape)
        require(sound.dtype == torch.float32, "sound of dtype float32", f"{sound.dtype}")
    return f"{list(shape)} for one frame"


def decoder_deterministic(subject: EncoderSubject) -> str:
    """Latents sound the same at the next call, from another instance, alone and in a batch."""
    if missing := _missing(subject):
        return Skip(missing)
    latents = _latents(subject)
    together = subject.encoder.decode(latents)
    other = subject.loaded().decode(latents)
    require_same(together, other, SAME, "the sound of the first instance from a second")
    alone = torch.cat([subject.encoder.decode(one[None]) for one in latents])
    return require_same(alone, together, ROUNDING, "an utterance in a batch as it is alone")


def decoder_look_ahead(subject: EncoderSubject) -> str:
    """The sound of hop t depends on no frame after t + decoder_look_ahead."""
    if missing := _missing(subject):
        return Skip(missing)
    encoder, latents = subject.encoder, _latents(subject)[:1]
    declared, frames = encoder.decoder_look_ahead, latents.shape[1]
    if declared == WHOLE_UTTERANCE:
        return "the whole utterance, as declared"
    before, changed, place = encoder.decode(latents), latents.clone(), frames // 2
    changed[:, place:] = _latents(subject)[1:, place:]
    after = encoder.decode(changed)
    apart = (after - before).abs().reshape(-1, frames, encoder.hop).amax((0, 2))
    sizes = (apart / before.abs().max().clamp_min(TINY)).tolist()
    touched = [hop for hop, size in enumerate(sizes[:place]) if size > ROUNDING]
    farthest = place - min(touched, default=place)
    if farthest > declared:
        raise NonconformityError(
            f"decoder_look_ahead = {declared} as declared",
            f"hop {place - farthest} changed when frame {place} did: it sees {farthest} ahead",
        )
    return f"{farthest} frame(s) ahead, {declared} declared"


def decoder_level(subject: EncoderSubject) -> str:
    """What was encoded sounds as loud as it was, to 6 dB, and half as loud where it was half."""
    if missing := _missing(subject):
        return Skip(missing)
    if subject.encoder.stamps:
        return Skip(f"{', '.join(subject.encoder.stamps)}: they have no level")
    levels = []
    for gain in (1.0, 0.5):
        wave = gain * subject.speech
        (latents,) = subject.encode([wave])
        levels.append(float(subject.encoder.decode(latents[None]).std() / wave.std()))
    told = f"{levels[0]:.2f} of the level, {levels[1]:.2f} at half of it"
    kept = all(1 / LOUDEST < level < LOUDEST for level in levels)
    require(kept, "the level of the audio to a factor of 2", told)
    return told


def _missing(subject: EncoderSubject) -> str:
    """Why nothing can be decoded; empty where it can."""
    if not getattr(subject.component.spec, "decodes", False):
        return NO_DECODER
    try:
        subject.encoder.decode(_latents(subject))
    except UsageError as error:
        return str(error)
    return ""


def _latents(subject: EncoderSubject) -> torch.Tensor:
    """The frames of two utterances, one quieter, [2, F, D]."""
    ahead = subject.encoder.decoder_look_ahead
    frames = FRAMES + (0 if ahead == WHOLE_UTTERANCE else 2 * ahead)
    samples = frames * subject.encoder.hop
    waves = [subject.audio(samples), QUIETER * subject.audio(samples, seed=3)]
    return torch.stack([subject.encode([wave])[0] for wave in waves])
