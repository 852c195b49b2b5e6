"""Every way to break the encoder contract is found, named and explained."""

import pytest

# Encoder -> the check that finds it, how, and what the finding says.
BROKEN = {
    "NoEncoder": ("creates", "fail", "to give a latentbench.encoders.encoder.Encoder; came NoEnc"),
    "FractionalHop": ("geometry", "fail", "expected hop to be an int of at least 1; came 320.5"),
    "CountsOther": (
        "geometry",
        "fail",
        "expected frame_count(1) = 0, the frames of segments(1); came 1",
    ),
    "OtherDim": (
        "shapes",
        "fail",
        "expected latents of shape [3, at least 66, 5]; came [3, 66, 4]",
    ),
    "ChannelsFirst": ("shapes", "fail", "came [3, 4, 66]"),
    "Float64": ("shapes", "fail", "expected latents of dtype float32; came torch.float64"),
    "Int32Frames": ("shapes", "fail", "expected frames of dtype int64; came torch.int32"),
    "DropsPartialFrame": ("shapes", "fail", "came frames [48, 65, 32]"),
    "LatentsOnly": ("shapes", "fail", "expected two tensors, latents and frames, of audio float32"),
    "StereoUndeclared": ("shapes", "fail", "(channels = 1, hop = 320)"),
    "LogOfSilence": ("finite", "fail", "finite latents of silence"),
    "Deaf": ("finite", "fail", "came the same latents for both"),
    "NeedsTwoHops": ("short_audio", "fail", "RuntimeError: too short for one chunk"),
    "ScalesAudio": ("leaves_audio", "fail", "expected the audio as it was before encode"),
    "Drifts": ("deterministic", "fail", "66 of 66 frames differ, frame 0 first"),
    "UnseededWeights": ("second_instance", "fail", "the latents of the first instance"),
    "NormalisesBatch": ("batch", "fail", "utterance 0 of the batch (15360 samples) as it is alone"),
    "CountsPadding": ("right_padding", "fail", "3 more hops of zeros"),
    "SeesNextTwo": ("look_ahead", "fail", "it sees 2 frame(s) ahead"),
    "SeesNextHop": ("look_ahead", "fail", "expected look_ahead = 0 as declared"),
    "NormalisesUtterance": ("look_ahead", "fail", "expected look_ahead = 0 as declared"),
    "FloorsAtMaximum": ("look_ahead", "fail", "expected look_ahead = 0 as declared"),
    "FloorsAtBatchMaximum": ("batch", "fail", "utterance 0 of the batch (15360 samples)"),
    "GatesByQuietest": ("look_ahead", "fail", "expected look_ahead = 0 as declared"),
    "SaysTooMuch": ("look_ahead", "warn", "no frame saw more than 0 ahead"),
    "SaysItSeesAllWrongly": ("look_ahead", "warn", "no frame saw more than 0 ahead"),
    "ReflectsAtStart": (
        "look_ahead",
        "warn",
        "frame(s) [0] at the start see at least 2 frames ahead",
    ),
    "AddressInFingerprint": ("fingerprint", "fail", "which holds a memory address"),
    "NumberInFingerprint": ("fingerprint", "fail", "came 'gain': 1.0"),
    "SpeaksShort": ("decoded_shape", "fail", "of shape [2, 96]; came shape [2, 95]"),
    "SpeaksLouder": ("decoder_level", "fail", "came 3.00 of the level, 3.00 at half of it"),
    "SpeaksEarly": ("decoder_look_ahead", "fail", "changed when frame 12 did: it sees 2 ahead"),
    "SpeaksWithTheBatch": ("decoder_deterministic", "fail", "an utterance in a batch as it is"),
    "SpeaksUndeclared": ("decoded_shape", "warn", "its spec says no `decodes`"),
    "ForgetsGain": ("fingerprint_of_options", "fail", "another fingerprint with gain=2.0"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found_and_whose_it_is(check, name):
    findings = check("encoder", name)
    expected_check, status, text = BROKEN[name]
    found = findings[expected_check]
    assert (found.status, text in found.detail) == (status, True), found
    assert f"encoder '{name}' of " in str(found)
    assert "bad_encoders.py" in str(found)
    assert found.wanted in str(found)


@pytest.mark.parametrize(
    "name", ["Drifts", "NormalisesUtterance", "ForgetsGain", "ReflectsAtStart", "NeedsTwoHops"]
)
def test_what_is_not_broken_passes(check, name):
    findings = check("encoder", name)
    others = {f.check for f in findings.values() if f.status in {"warn", "fail"}} - {
        BROKEN[name][0]
    }
    # Latents that drift differ in every comparison.
    drift = {"second_instance", "batch", "right_padding", "look_ahead"}
    assert others <= (drift if name == "Drifts" else set())


def test_a_sound_encoder_passes_every_check(check):
    assert {finding.status for finding in check("encoder", "Speaks").values()} == {"pass"}


def test_an_encoder_that_says_it_sees_its_whole_utterance_is_believed_if_it_does(check):
    findings = check("encoder", "SaysItSeesAll")
    assert {finding.status for finding in findings.values()} == {"pass", "skip"}
    assert "the whole utterance, as declared" in findings["look_ahead"].detail
    assert "look-ahead the whole utterance" in findings["geometry"].detail


def test_after_a_gate_has_failed_nothing_else_is_judged(check):
    findings = check("encoder", "NoEncoder")
    assert findings.pop("creates").status == "fail"
    assert {(f.status, f.detail) for f in findings.values()} == {("skip", "'creates' failed")}


def test_weights_that_cannot_be_had_say_how_to_give_them(check):
    detail = check("encoder", "NoWeights")["loads"].detail
    assert "weights.bin cannot be downloaded.\nThere is no network." in detail
    assert "latentbench plugins check NoWeights --set weights=PATH" in detail
    assert "or latentbench plugins check NoWeights --set weights=random" in detail


def test_options_are_tried_with_other_values(check):
    found = check("encoder", "Sound")["fingerprint_of_options"]
    assert found.detail == "told apart: gain"
