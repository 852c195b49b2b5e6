"""What is heard of a run, by a codec that loses nothing: hops of samples are its latents."""

import json
import math

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from torch.distributions import Independent, Normal

import latentbench as lb
from latentbench.cli import main
from latentbench.errors import UsageError
from latentbench.listening.record import Sound
from latentbench.reports.listening import fate, words_of_listening

RATE, HOP, SECONDS = 8_000, 160, 4
FRAMES = SECONDS * RATE // HOP


class Hops(lb.Encoder):
    """Each frame is its hop of samples."""

    sample_rate, hop, dim = RATE, HOP, HOP

    def __init__(self, options, workspace):
        self.made_by = options, workspace

    def load(self, device):
        pass

    def encode(self, audio, lengths):
        frames = audio.reshape(len(audio), -1, HOP)
        return frames, -(-lengths // HOP)

    def decode(self, latents):
        return latents.reshape(len(latents), -1)

    def fingerprint(self):
        return {"hops": "1"}


class Deaf(Hops):
    """The same without a way back."""

    decode = lb.Encoder.decode


class Moving(lb.Predictor):
    """The newest frame times a factor, nearly without spread."""

    factor = 1.0

    def __init__(self, options, *, context_frames, dim):
        super().__init__(context_frames=context_frames, dim=dim)
        self.options = options

    def fit(self, train, training):
        pass

    def forward(self, context):
        return Independent(Normal(self.factor * context[:, -1], 1e-6), 1)


class Exploding(Moving):
    factor = 1e12


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    for speaker in range(4):
        (folder / f"s{speaker}").mkdir()
        samples = rng.normal(size=SECONDS * RATE) * 0.1
        soundfile.write(folder / f"s{speaker}" / "a.wav", samples, RATE, subtype="PCM_16")
    return folder


def made(speech, place, predictor=Moving, encoder=Hops, **settings):
    return lb.run(
        encoder=encoder,
        corpus={"name": "folder", "root": str(speech)},
        predictor=predictor,
        cache=place / "cache",
        out=place / "run",
        progress=False,
        device="cpu",
        horizons=[2],
        set=[
            "task.target=x", "task.context_frames=4", "utterances.min_seconds=0",
            "split.eval_fraction=0.5", "controls=[unconditional]", "evaluation.metrics=[nll]",
        ],
        **settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def heard(speech, tmp_path_factory):
    run = made(speech, tmp_path_factory.mktemp("heard"))
    found = run.listen(utterances=1, prompt_seconds=1.0)
    sounds = {one.kind: one for one in found.record.sounds}
    waves = {
        kind: soundfile.read(run.folder / "listen" / one.file, dtype="int16")
        for kind, one in sounds.items()
    }
    return found, sounds, waves


def test_every_sound_is_as_long_as_the_original_at_its_rate(heard):
    _, _, waves = heard
    assert len(waves) == 2 + 2 * 3
    for samples, rate in waves.values():
        assert (len(samples), rate) == (SECONDS * RATE, RATE)


def test_a_codec_that_loses_nothing_gives_the_original_back(heard):
    _, sounds, waves = heard
    np.testing.assert_array_equal(waves["codec"][0], waves["original"][0])
    assert sounds["codec"].si_sdr > 60
    assert (sounds["codec"].log_mel, sounds["codec"].stft) == (0.0, 0.0)


def test_a_prediction_is_the_frame_that_the_model_says(heard):
    """x_{t-2}, from t0 = 3 + 2 on; before that the sound is true."""
    _, sounds, waves = heard
    true, told = (waves[one][0].reshape(FRAMES, HOP) for one in ("original", "one-step mean"))
    assert sounds["one-step mean"].predicted_from == 5 * HOP / RATE
    np.testing.assert_array_equal(told[:5], true[:5])
    np.testing.assert_allclose(told[5:], true[3:-2], atol=1)


def test_a_rollout_goes_on_from_its_prompt(heard):
    """With k = 2 the last two true frames, in turn, for ever."""
    _, sounds, waves = heard
    true, told = (waves[one][0].reshape(FRAMES, HOP) for one in ("original", "rollout"))
    begin = RATE // HOP
    assert sounds["rollout"].predicted_from == 1.0
    np.testing.assert_array_equal(told[:begin], true[:begin])
    for t in range(begin, FRAMES):
        np.testing.assert_allclose(told[t], true[begin - 2 + (t - begin) % 2], atol=3)


def test_the_control_sees_no_context(heard):
    _, sounds, waves = heard
    assert not waves["control one-step mean"][0][5 * HOP :].any()
    assert sounds["control one-step mean"].level == -np.inf
    assert sounds["control rollout"].movement == pytest.approx(0.0, abs=1e-3)
    assert fate(sounds["control rollout"]) == "stands still"


def test_what_is_said_is_what_is_kept(heard):
    found, sounds, _ = heard
    assert "control rollout: " in str(found)
    assert "stands still in 1 of 1" in str(found)
    assert json.loads(found.to_json())["sounds"][0]["file"] == sounds["original"].file


def test_transforms_are_undone_before_it_is_heard(speech, tmp_path):
    run = made(speech, tmp_path, transforms=["standardize"])
    found = run.listen(utterances=1, prompt_seconds=1.0).record
    files = {one.kind: run.folder / "listen" / one.file for one in found.sounds}
    true, told = (soundfile.read(files[one])[0] for one in ("original", "one-step mean"))
    np.testing.assert_allclose(told[5 * HOP :], true[3 * HOP : -2 * HOP], atol=1e-4)


def test_a_rollout_that_explodes_is_said_and_is_silent_from_there(speech, tmp_path):
    run = made(speech, tmp_path, predictor=Exploding)
    found = run.listen(utterances=1, prompt_seconds=1.0)
    sound = next(one for one in found.record.sounds if one.kind == "rollout")
    # 1e12 each two frames: float32 holds 3.4e38, and 0.1 * 1e36 is the last below it.
    assert sound.explodes_at == pytest.approx(1.0 + 6 * HOP / RATE, abs=2.1 * HOP / RATE)
    samples, _ = soundfile.read(run.folder / "listen" / sound.file)
    assert len(samples) == SECONDS * RATE
    assert not samples[round(sound.explodes_at * RATE) :].any()
    assert sound.clipped > 0
    assert "rollout: " in str(found)
    assert "explodes in 1 of 1" in str(found)


def test_a_prompt_longer_than_the_utterance_leaves_the_rollout_out(speech, tmp_path):
    found = made(speech, tmp_path).listen(utterances=1, prompt_seconds=30).record
    assert not any("rollout" in one.kind for one in found.sounds)
    assert "no rollout, it lasts 4.0 s and the prompt 30 s" in found.left_out[0]


def test_an_encoder_without_a_decoder_is_refused(speech, tmp_path):
    run = made(speech, tmp_path, encoder=Deaf)
    with pytest.raises(UsageError, match="has no decoder"):
        run.listen()
    assert not (run.folder / "listen").exists()


def test_audio_that_changed_is_refused(tmp_path, speech):
    folder = tmp_path / "speech"
    for file in speech.rglob("*.wav"):
        to = folder / file.relative_to(speech)
        to.parent.mkdir(parents=True)
        to.write_bytes(file.read_bytes())
    run = made(folder, tmp_path)
    for number, file in enumerate(sorted(folder.rglob("*.wav"))):
        samples = np.random.default_rng(number).normal(size=SECONDS * RATE) * 0.01
        soundfile.write(file, samples, RATE, subtype="PCM_16")
    with pytest.raises(UsageError, match="is not what the run encoded"):
        run.listen()


def test_a_horizon_that_is_not_there_is_refused(speech, tmp_path):
    with pytest.raises(UsageError, match="no horizon k = 9"):
        made(speech, tmp_path).listen(horizon=9)


def test_of_a_state_the_best_that_is_predicted_is_heard(speech, tmp_path):
    """White frames told along 3 of 4 directions leave a quarter of their power as noise."""
    run = made(speech, tmp_path, factorization={"name": "pca", "dim": 3 * HOP // 4})
    found = run.listen(utterances=1)
    sounds = {one.kind: one for one in found.record.sounds}
    assert list(sounds)[:3] == ["original", "codec", "state"]
    assert sounds["state"].si_sdr == pytest.approx(10 * math.log10(3), abs=0.3)
    assert sounds["codec"].si_sdr > 60
    told = " ".join(words_of_listening(found.record))
    assert "The true state alone is" in told
    assert "- state:" not in told


def test_the_verb_writes_the_same(tmp_path):
    place = {"cache": tmp_path / "cache", "out": tmp_path / "run"}
    lb.run(
        preset="demo", horizons=[1], steps=3, progress=False, set=["utterances.limit=40"], **place
    )
    words = [
        "listen",
        tmp_path / "run",
        "--cache",
        tmp_path / "cache",
        "--utterances",
        "1",
        "--json",
    ]
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    sounds = [Sound.model_validate(one) for one in found["sounds"]]
    assert [one.kind for one in sounds[:3]] == ["original", "codec", "one-step mean"]
    for one in sounds:
        assert soundfile.info(tmp_path / "run" / "listen" / one.file).samplerate == 16_000
