"""An inline plugin of encoders, each of which breaks its contract in one way."""

# ruff: noqa: ARG002 - contracts hand over more than a bad component looks at

import itertools
from dataclasses import dataclass
from typing import Annotated

import torch

from latentbench.encoders import WHOLE_UTTERANCE, Encoder
from latentbench.encoders.encoder import Segment
from latentbench.errors import UsageError
from latentbench.hookspecs import hookimpl
from latentbench.specs import EncoderSpec

COUNTER = itertools.count()


@dataclass(frozen=True)
class Options:
    weights: Annotated[str, "a file, or random"] = "random"
    gain: Annotated[float, "of the latents"] = 1.0


class Sound(Encoder):
    """Means of the quarters of each hop: what the others spoil."""

    sample_rate = 16_000
    hop = 320
    dim = 4

    def __init__(self, options, workspace):
        self.options = options

    def load(self, device):
        pass

    def encode(self, audio, lengths):
        quarters = audio.reshape(len(audio), -1, 4, 80).mean(-1)
        return self.options.gain * quarters, (lengths + 319) // 320

    def fingerprint(self):
        return {"encoder": "sound 1", "gain": str(self.options.gain)}


class OtherDim(Sound):
    dim = 5


class ChannelsFirst(Sound):
    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        return latents.transpose(1, 2), frames


class Float64(Sound):
    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        return latents.double(), frames


class Int32Frames(Sound):
    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        return latents, frames.int()


class DropsPartialFrame(Sound):
    def encode(self, audio, lengths):
        return super().encode(audio, lengths)[0], lengths // 320


class LatentsOnly(Sound):
    def encode(self, audio, lengths):
        return super().encode(audio, lengths)[0]


class Drifts(Sound):
    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        return latents + 1e-3 * next(COUNTER), frames


class UnseededWeights(Sound):
    def load(self, device):
        self.offset = float(next(COUNTER))

    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        return latents + self.offset, frames


class SeesNextHop(Sound):
    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        return latents + 0.1 * latents.roll(-1, 1), frames


class SeesNextTwo(Sound):
    look_ahead = 1

    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        return latents + 0.1 * torch.nn.functional.pad(latents, (0, 0, 0, 2))[:, 2:], frames


class SaysTooMuch(Sound):
    look_ahead = 3


class ReflectsAtStart(Sound):
    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        if latents.shape[1] > 4:
            latents[:, 0] += latents[:, 4]
        return latents, frames


class NormalisesUtterance(Sound):
    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        return latents / latents.abs().amax((1, 2), keepdim=True).clamp_min(1e-6), frames


class SaysItSeesAll(NormalisesUtterance):
    look_ahead = WHOLE_UTTERANCE


class SaysItSeesAllWrongly(Sound):
    look_ahead = WHOLE_UTTERANCE


class NormalisesBatch(Sound):
    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        return latents + len(latents), frames


class CountsPadding(Sound):
    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        return latents * latents.shape[1], frames


class StereoUndeclared(Sound):
    def encode(self, audio, lengths):
        left, right = audio[:, 0], audio[:, 1]
        if left.ndim != 2 or right.ndim != 2:
            raise ValueError(f"stereo audio [B, 2, T] expected, got {list(audio.shape)}")
        return super().encode(left + right, lengths)


class ForgetsGain(Sound):
    def fingerprint(self):
        return {"encoder": "forgets 1"}


class FloorsAtMaximum(Sound):
    """As Whisper's log-mel: nothing is further below the loudest part than 80 dB."""

    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        power = latents.square().clamp_min(1e-20).log10()
        return torch.maximum(power, power.amax((1, 2), keepdim=True) - 8), frames


class FloorsAtBatchMaximum(Sound):
    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        power = latents.square().clamp_min(1e-20).log10()
        return torch.maximum(power, power.amax() - 8), frames


class GatesByQuietest(Sound):
    """Takes the quietest hop for the noise of the room, where there is one of less than speech."""

    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        quietest = latents.abs().amax(-1).amin(-1)[:, None, None]
        return torch.where(quietest < 1e-9, latents, 0.9 * latents), frames


class AddressInFingerprint(Sound):
    def fingerprint(self):
        return {"encoder": repr(self)}


class NumberInFingerprint(Sound):
    def fingerprint(self):
        return {"gain": self.options.gain}


class LogOfSilence(Sound):
    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        return latents.abs().sum(-1, keepdim=True).log().expand_as(latents), frames


class Deaf(Sound):
    def encode(self, audio, lengths):
        latents, frames = super().encode(audio, lengths)
        return torch.ones_like(latents), frames


class NeedsTwoHops(Sound):
    def encode(self, audio, lengths):
        if audio.shape[-1] < 640:
            raise RuntimeError("too short for one chunk")
        return super().encode(audio, lengths)


class ScalesAudio(Sound):
    def encode(self, audio, lengths):
        audio.mul_(0.5)
        return super().encode(audio, lengths)


class NoEncoder:
    def __init__(self, options, workspace):
        pass


class NoWeights(Sound):
    def weights_at_hand(self):
        return False

    def load(self, device):
        raise UsageError("weights.bin cannot be downloaded.", "There is no network.")


class FractionalHop(Sound):
    hop = 320.5


class CountsOther(Sound):
    def segments(self, samples):
        return (Segment(0, samples // 320),)


class Speaks(Sound):
    """Hops of four samples, which are the latents: sound comes back as it was."""

    hop = 4

    def encode(self, audio, lengths):
        return self.options.gain * audio.reshape(len(audio), -1, 4), (lengths + 3) // 4

    def decode(self, latents):
        return latents.flatten(1) / self.options.gain


class SpeaksShort(Speaks):
    def decode(self, latents):
        return super().decode(latents)[:, :-1]


class SpeaksLouder(Speaks):
    def decode(self, latents):
        return 3 * super().decode(latents)


class SpeaksEarly(Speaks):
    def decode(self, latents):
        return super().decode(latents.roll(-2, 1))


class SpeaksWithTheBatch(Speaks):
    def decode(self, latents):
        return super().decode(latents / latents.abs().max())


class SpeaksUndeclared(Speaks):
    pass


CLASSES = [
    value
    for value in list(globals().values())
    if isinstance(value, type) and issubclass(value, (Sound, NoEncoder))
]


@hookimpl
def latentbench_encoders():
    for made in CLASSES:
        yield EncoderSpec(
            name=made.__name__,
            summary="for tests",
            factory=f"{__name__}:{made.__name__}",
            options=Options,
            decodes=hasattr(made, "hop") and made.hop == 4 and made is not SpeaksUndeclared,
        )
