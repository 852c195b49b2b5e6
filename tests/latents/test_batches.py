"""Audio that encoders refuse, and encoders that return what their contract does not allow."""

import numpy as np
import pytest
import torch

from latentbench.corpora import AudioError
from latentbench.encoders import Encoder, Segment
from latentbench.errors import LatentbenchError, UsageError
from latentbench.latents.encoding import encode_batch
from latentbench.latents.preparation import prepare

HOP = 10
CPU = torch.device("cpu")


class Sums(Encoder):
    """The sum and the mean of each hop, over all channels."""

    sample_rate, hop, dim = 1000, HOP, 2

    def __init__(self, change=None, channels=1):
        self.channels = channels
        self.change = change or (lambda latents, frames: (latents, frames))
        self.asked = []

    def load(self, device):
        pass

    def fingerprint(self):
        return {"encoder": "sums"}

    def encode(self, audio, lengths):
        self.asked.append(len(lengths))
        hops = audio.reshape(len(lengths), self.channels, -1, HOP)
        latents = torch.stack([hops.sum((1, 3)), hops.mean((1, 3))], -1)
        return self.change(latents, torch.tensor([self.frame_count(int(n)) for n in lengths]))


class NeedsAChunk(Sums):
    """Takes nothing shorter than three hops."""

    def encode(self, audio, lengths):
        if min(lengths) < 3 * HOP:
            raise AudioError("shorter than one chunk of 30 ms")
        return super().encode(audio, lengths)


def wave(samples, channels=1, value=1.0):
    return np.full((channels, samples), value, np.float32)


def encode(encoder, *waves):
    audio = {f"u{number}": prepare(one, 1000, encoder) for number, one in enumerate(waves)}
    return list(encode_batch(encoder, "sums", audio, CPU).values())


def test_each_utterance_gets_its_own_frames():
    first, second = encode(Sums(), wave(25), wave(40, value=2.0))
    assert first[:, 0].tolist() == [10, 10, 5]
    assert second[:, 0].tolist() == [20] * 4


def test_what_is_too_short_for_a_chunk_is_skipped_and_the_rest_encoded():
    encoder = NeedsAChunk()
    long, short, longer = encode(encoder, wave(30), wave(29), wave(80))
    assert short == "shorter than one chunk of 30 ms"
    assert (len(long), len(longer)) == (3, 8)
    assert encoder.asked == [1, 1]


def test_a_batch_of_nothing_asks_nobody():
    encoder = Sums()
    assert encode(encoder) == []
    assert encoder.asked == []


def test_latents_that_are_not_finite_are_the_encoders_and_only_that_utterance_is_skipped():
    def spoil(latents, frames):
        latents[latents > 15] = float("nan")
        latents[latents < 0] = float("inf")
        return latents, frames

    one, loud, negative = encode(Sums(spoil), wave(30), wave(40, value=2), wave(20, value=-1))
    assert one[:, 0].tolist() == [10] * 3
    assert loud == "the encoder 'sums' gave 4 of 4 frames not finite"
    assert negative == "the encoder 'sums' gave 2 of 2 frames not finite"


def test_mono_fills_both_channels_of_a_stereo_encoder_and_stereo_is_mixed_for_a_mono_one():
    (doubled,) = encode(Sums(channels=2), wave(20))
    assert doubled.tolist() == [[20, 1]] * 2
    (mixed,) = encode(Sums(), np.stack([np.ones(20), np.zeros(20)]).astype(np.float32))
    assert mixed.tolist() == [[5, 0.5]] * 2


@pytest.mark.parametrize(
    ("change", "came"),
    [
        (lambda x, n: (x.double(), n), r"float64 \[2, 4, 2\] and frames \[3, 4\]"),
        (lambda x, n: (x.transpose(1, 2), n), r"float32 \[2, 2, 4\]"),
        (lambda x, n: (x[:, :3], n), r"float32 \[2, 3, 2\]"),
        (lambda x, n: (x[:1], n), r"float32 \[1, 4, 2\]"),
        (lambda x, n: (x, n - 1), r"frames \[2, 3\]"),
        (lambda x, n: (x, n[:1]), r"frames \[3\]"),
        (lambda x, n: (x[0], n), r"float32 \[4, 2\]"),
        (lambda x, n: x, "Tensor"),  # noqa: ARG005 - the signature of the others
        (lambda x, n: (x.numpy(), n), "tuple"),
    ],
)
def test_an_encoder_that_breaks_its_contract_is_named_with_what_was_expected(change, came):
    with pytest.raises(LatentbenchError) as error:
        encode(Sums(change), wave(25), wave(40))
    message = error.value.message
    assert message.startswith("The encoder 'sums' (")
    given = "the utterance 'u0' and 1 more, float32 [2, 40] at 1000 Hz, lengths [25, 40]"
    assert f"Sums) was given {given}" in message
    assert "expected float32 [2, at least 4, 2] and frames [3, 4]" in message
    error.match(f"returned .*{came}.*; expected")
    assert "latentbench plugins check sums" in error.value.hint


def test_frames_that_do_not_fit_the_segments_are_refused():
    class Lies(Sums):
        def segments(self, samples):
            return (Segment(0, samples // HOP),)

    with pytest.raises(LatentbenchError, match=r"frames \[3\]; expected .* frames \[2\]"):
        encode(Lies(), wave(25))


def test_an_encoder_that_fails_is_named_with_the_utterance_it_fails_on():
    class Picky(Sums):
        def encode(self, audio, lengths):
            if 25 in lengths:
                raise ZeroDivisionError("no reason")
            return super().encode(audio, lengths)

    what = r"failed on the utterance 'u1', float32 \[1, 30\].*no reason"
    with pytest.raises(LatentbenchError, match=what) as error:
        encode(Picky(), wave(40), wave(25))
    assert isinstance(error.value.__cause__, ZeroDivisionError)


def test_what_is_too_much_at_once_is_encoded_one_by_one():
    class Small(Sums):
        def encode(self, audio, lengths):
            if len(lengths) > 1:
                raise torch.OutOfMemoryError
            return super().encode(audio, lengths)

    assert [len(rows) for rows in encode(Small(), wave(40), wave(25))] == [4, 3]


def test_what_an_encoder_says_to_the_user_is_passed_on():
    def refuse(*_):
        raise UsageError("No licence key.", "Set KEY.")

    with pytest.raises(UsageError, match="No licence key"):
        encode(Sums(refuse), wave(25))
