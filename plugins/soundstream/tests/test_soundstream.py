"""The SoundStream plugin, on Lyra's own weights where they are at hand."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from ai_edge_litert.interpreter import Interpreter
from latentbench_soundstream import encoder as encoder_module
from latentbench_soundstream.dither import dithered
from latentbench_soundstream.encoder import SoundStream
from latentbench_soundstream.plugin import SoundStreamOptions
from scipy import stats

from latentbench.conformance import audio as conformance
from latentbench.encoders.logmel import LogMelEncoder
from latentbench.encoders.plugin import LogMelOptions
from latentbench.errors import UsageError
from latentbench.plugins import load_registry
from latentbench.workspace import Workspace

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
WEIGHTS = DATA / "lyra" / "soundstream_encoder.tflite"
HOP = 320


def made(tmp_path, **options):
    return SoundStream(SoundStreamOptions(**options), Workspace(tmp_path))


@pytest.fixture(scope="module")
def load():
    """A loaded encoder with the given options."""
    if not WEIGHTS.is_file():
        pytest.skip(f"Lyra's weights are not at {WEIGHTS}")

    def load(weights=WEIGHTS, **options):
        encoder = made(Path("unused"), weights=str(weights), **options)
        encoder.load(torch.device("cpu"))
        return encoder

    return load


@pytest.fixture(scope="module")
def speech():
    """Two seconds of speech of two utterances, float32 [2, 32000]."""
    files = sorted((DATA / "LibriSpeech" / "train-clean-5").rglob("*.flac"))[:2]
    if len(files) < 2:
        pytest.skip(f"no LibriSpeech below {DATA}")
    waves = [soundfile.read(file, frames=32000, dtype="float32", start=8000)[0] for file in files]
    return torch.from_numpy(np.stack(waves))


def encode(encoder, *waves):
    return [frames.numpy() for frames in conformance.encode(encoder, *waves)]


def test_frames_are_those_of_a_plain_loop_over_one_interpreter(load, speech):
    interpreter = Interpreter(str(WEIGHTS), num_threads=1)
    interpreter.allocate_tensors()
    expected = []
    for hop in speech[0].numpy().reshape(-1, 1, HOP):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], hop)
        interpreter.invoke()
        output = interpreter.get_output_details()[0]["index"]
        expected.append(interpreter.get_tensor(output).reshape(64))
    (latents,) = encode(load(dither=False), speech[0])
    np.testing.assert_array_equal(latents, np.stack(expected))


def test_raw_latents_lie_on_the_int8_lattice(load, speech):
    encoder = load(dither=False)
    (latents,) = encode(encoder, speech[0])
    assert encoder.step == pytest.approx(0.26349, abs=1e-5)
    cells = latents / encoder.step
    np.testing.assert_allclose(cells, np.round(cells), atol=1e-4)
    assert len(np.unique(np.round(cells))) > 50
    assert np.ptp(cells) <= 255


def test_dithered_latents_differ_by_noise_uniform_over_one_step(load, speech):
    raw, noisy = load(dither=False), load()
    noise = np.concatenate(encode(noisy, *speech)) - np.concatenate(encode(raw, *speech))
    noise = noise.ravel() / noisy.step
    assert np.abs(noise).max() <= 0.5 + 1e-4
    assert stats.kstest(noise, "uniform", args=(-0.5, 1.0)).pvalue > 0.01
    lag = stats.pearsonr(noise[:-64], noise[64:])
    assert lag.pvalue > 0.01


def test_utterances_in_a_batch_equal_the_same_alone_in_any_order(load, speech):
    encoder = load()
    waves = [speech[0], speech[1, :20_000], speech[0, 1234:9999]]
    alone = [encode(encoder, wave)[0] for wave in waves]
    for order in ([0, 1, 2], [2, 0, 1]):
        together = encode(encoder, *(waves[i] for i in order))
        for i, latents in zip(order, together, strict=True):
            np.testing.assert_array_equal(latents, alone[i])


@pytest.mark.parametrize("dither", [True, False])
def test_later_audio_does_not_change_earlier_frames(load, speech, dither):
    encoder = load(dither=dither)
    changed = speech[0].clone()
    changed[50 * HOP :] = speech[1, 50 * HOP :]
    (before,), (after,) = encode(encoder, speech[0]), encode(encoder, changed)
    np.testing.assert_array_equal(before[:50], after[:50])
    assert not np.array_equal(before[50], after[50])


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (319, 1), (320, 1), (321, 2), (3200, 10)])
def test_frame_counts_round_up_to_the_hop(load, samples, frames):
    encoder = load()
    wave = torch.linspace(-0.5, 0.5, samples)
    (latents,) = encode(encoder, wave)
    assert encoder.frame_count(samples) == frames
    assert latents.shape == (frames, 64)
    assert latents.dtype == np.float32


def test_digital_silence_repeats_itself_until_dithered(load):
    silence = torch.zeros(50 * HOP)
    (raw,), (noisy,) = encode(load(dither=False), silence), encode(load(), silence)
    settled = slice(35, None)  # the state the utterance starts from takes half a second to fade
    assert (np.diff(raw[settled], axis=0) == 0).all()
    assert (np.diff(noisy[settled], axis=0) != 0).mean() > 0.99
    assert np.isfinite(noisy).all()


def test_the_batch_may_carry_a_channel_axis(load, speech):
    encoder = load()
    lengths = torch.tensor([speech.shape[1]] * 2)
    flat, _ = encoder.encode(speech, lengths)
    channelled, _ = encoder.encode(speech[:, None], lengths)
    assert torch.equal(flat, channelled)


def test_every_option_that_changes_latents_changes_the_fingerprint(load, tmp_path):
    other = tmp_path / "other.tflite"
    other.write_bytes(WEIGHTS.read_bytes() + b"\0" * 16)
    prints = [
        load().fingerprint(),
        load(dither=False).fingerprint(),
        load(dither_seed=1).fingerprint(),
        load(weights=other).fingerprint(),
    ]
    assert len({tuple(sorted(one.items())) for one in prints}) == len(prints)
    assert load().fingerprint() == prints[0]
    assert load(dither=False, dither_seed=1).fingerprint() == prints[1]
    assert prints[0]["weights"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()


def test_dither_noise_is_the_same_on_every_machine():
    """SHAKE-256 of the seed and the frames so far, first 32-bit word of the first frame."""
    latents = np.array([[0.5, -1.0]], dtype=np.float32)
    digest = hashlib.shake_256(b"latentbench dither 7" + latents.tobytes()).digest(8)
    words = [int.from_bytes(digest[i : i + 4], "little") for i in (0, 4)]
    expected = latents + 0.25 * ((np.array(words) + 0.5) / 2**32 - 0.5)
    np.testing.assert_allclose(dithered(latents, 0.25, 7), expected, atol=1e-7)


def test_dither_differs_between_seeds_utterances_and_frames():
    flat = np.zeros((3, 64), dtype=np.float32)
    tail = flat.copy()
    tail[1] += 1
    noise = dithered(flat, 1.0, 0)
    assert not np.array_equal(noise, dithered(flat, 1.0, 1))
    assert not np.array_equal(noise[0], noise[1])
    other = dithered(tail, 1.0, 0) - tail
    np.testing.assert_array_equal(other[0], noise[0])
    assert np.abs(other[1:] - noise[1:]).max() > 0.1


def test_a_file_that_is_no_model_is_named(tmp_path):
    file = tmp_path / "soundstream_encoder.tflite"
    file.write_text("version https://git-lfs.github.com/spec/v1\n" * 9)
    with pytest.raises(UsageError, match="is no TensorFlow Lite model") as caught:
        made(tmp_path, weights=str(file)).load(torch.device("cpu"))
    assert str(file) in caught.value.message
    assert "Git LFS pointer" in caught.value.hint


def test_a_truncated_model_is_refused(tmp_path):
    if not WEIGHTS.is_file():
        pytest.skip(f"Lyra's weights are not at {WEIGHTS}")
    file = tmp_path / "cut.tflite"
    file.write_bytes(WEIGHTS.read_bytes()[:1_000_000])
    with pytest.raises(UsageError, match="is no TensorFlow Lite model"):
        made(tmp_path, weights=str(file)).load(torch.device("cpu"))


@pytest.mark.parametrize("name", ["nowhere.tflite", "random"])
def test_weights_that_are_no_file_are_named(tmp_path, name):
    with pytest.raises(UsageError, match=f"{name}' cannot be read: No such file") as caught:
        made(tmp_path, weights=str(tmp_path / name)).load(torch.device("cpu"))
    assert "encoder.weights=" in caught.value.hint


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_weights_that_are_a_folder_are_refused(tmp_path, name):
    with pytest.raises(UsageError, match=r"weights '.*' cannot be read: Is a directory"):
        made(tmp_path, weights=name).load(torch.device("cpu"))


def test_without_network_the_error_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_module, "URL", "http://127.0.0.1:9/soundstream_encoder.tflite")
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:9.* cannot be downloaded") as caught:
        made(tmp_path).load(torch.device("cpu"))
    assert "--set encoder.weights=/path/to/soundstream_encoder.tflite" in caught.value.hint


def test_weights_are_checked_and_kept_in_the_cache(load, tmp_path, monkeypatch):
    monkeypatch.setattr("latentbench_soundstream.encoder.URL", "http://127.0.0.1:9/model.tflite")
    encoder = made(tmp_path)
    assert not encoder.weights_at_hand()
    assert made(tmp_path, weights=str(WEIGHTS)).weights_at_hand()
    kept = tmp_path / "downloads" / "lyra-v1.3.2" / WEIGHTS.name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(WEIGHTS.read_bytes())
    assert encoder.weights_at_hand()
    encoder.load(torch.device("cpu"))
    assert encoder.fingerprint() == load().fingerprint()
    kept.write_bytes(b"half a file")
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:9.* cannot be downloaded"):
        made(tmp_path).load(torch.device("cpu"))
    assert kept.with_name(f"{WEIGHTS.name}.damaged").read_bytes() == b"half a file"


def test_loading_writes_nothing_to_the_terminal():
    if not WEIGHTS.is_file():
        pytest.skip(f"Lyra's weights are not at {WEIGHTS}")
    code = f"""
import os, torch
from pathlib import Path
from latentbench_soundstream.encoder import SoundStream
from latentbench_soundstream.model import _without_chatter
from latentbench_soundstream.plugin import SoundStreamOptions
from latentbench.workspace import Workspace
encoder = SoundStream(SoundStreamOptions(weights={str(WEIGHTS)!r}), Workspace(Path("unused")))
encoder.load(torch.device("cpu"))
encoder.encode(torch.zeros(1, 320), torch.tensor([320]))
with _without_chatter():
    os.write(2, b"INFO: chatter\\nERROR: passed on\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.stdout == ""
    assert done.stderr == "ERROR: passed on\n"


def test_the_plugin_registers_without_torch():
    assert load_registry().get("encoder", "soundstream").spec.options is SoundStreamOptions
    code = (
        "import sys, latentbench_soundstream.plugin\n"
        "print([m for m in ('torch', 'numpy', 'pydantic', 'ai_edge_litert') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


def test_sound_is_that_of_a_plain_loop_over_lyras_decoder(load, speech):
    encoder = load()
    (latents,) = conformance.encode(encoder, speech[0])
    interpreter = Interpreter(str(WEIGHTS.with_name("lyragan.tflite")), num_threads=1)
    interpreter.allocate_tensors()
    expected = []
    for frame in latents.numpy():
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], frame[None, None])
        interpreter.invoke()
        output = interpreter.get_output_details()[0]["index"]
        expected.append(interpreter.get_tensor(output)[0])
    (sound,) = encoder.decode(latents[None])
    np.testing.assert_array_equal(sound, np.concatenate(expected))


def test_a_resynthesis_of_speech_is_near_it_without_a_delay(load, speech):
    encoder = load()
    sound = encoder.decode(torch.stack(conformance.encode(encoder, *speech)))
    assert sound.shape == speech.shape
    logmel = LogMelEncoder(LogMelOptions(hop_ms=10), Workspace(Path("unused")))
    logmel.load(torch.device("cpu"))
    true, *shifted = (
        torch.cat(conformance.encode(logmel, *waves)).flatten()
        for waves in (speech, sound, sound.roll(160, 1), sound.roll(-160, 1))
    )
    near, late, early = (float((true - one).abs().mean()) for one in shifted)
    assert near < min(1.0, late, early)  # nats of power: 4.3 dB
    assert sound.std() / speech.std() == pytest.approx(1, abs=0.15)


def test_a_decoder_may_be_named_and_another_model_is_refused(load, tmp_path):
    frames = torch.zeros(1, 2, 64)
    named = load(decoder=str(WEIGHTS.with_name("lyragan.tflite")))
    assert torch.equal(named.decode(frames), load().decode(frames))
    with pytest.raises(UsageError, match=r"lyragan\.tflite is the one to pass"):
        load(decoder=str(WEIGHTS)).decode(frames)
    with pytest.raises(UsageError, match=r"The SoundStream decoder '.*none' cannot be read"):
        load(decoder=str(tmp_path / "none")).decode(frames)
