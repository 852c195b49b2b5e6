from __future__ import annotations

import hashlib
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from latentbench.corpora.espeak import SAMPLE_RATE, Voice, speak
from latentbench.corpora.plugin import SpeechDemoOptions, latentbench_corpora
from latentbench.corpora.speech_demo import SENTENCES, SPEAKERS, SpeechDemo
from latentbench.errors import LatentbenchError
from latentbench.plugins import Component, Provider
from latentbench.workspace import Workspace

pytest.importorskip("espeakng_loader", reason="espeakng-loader (extra 'demo') is not installed")

# The fourth variant has an echo, the first a flutter: both carry state between utterances.
ECHO = Voice("en+f4", 170, 50, 50)
FLUTTER = Voice("en-us+f1", 170, 50, 50)


def contents(files):
    return [file.read_bytes() for file in files]


@pytest.fixture
def say(tmp_path):
    def call(name, voice, sentences):
        (tmp_path / name).mkdir()
        return contents(speak(voice, sentences, tmp_path / name))

    return call


@pytest.fixture
def demo(workspace):
    return lambda **options: SpeechDemo(SpeechDemoOptions(**options), workspace)


@pytest.mark.parametrize("voice", [ECHO, FLUTTER], ids=["echo", "flutter"])
def test_the_same_bytes_in_two_processes(say, voice):
    assert say("one", voice, SENTENCES[:3]) == say("two", voice, SENTENCES[:3])


def test_a_file_does_not_depend_on_what_is_said_after_it(say):
    assert say("short", ECHO, SENTENCES[:1]) == say("long", ECHO, SENTENCES[:3])[:1]


def test_the_format(tmp_path):
    (file,) = speak(FLUTTER, SENTENCES[:1], tmp_path)
    info = soundfile.info(file)
    assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
    assert 3 < info.duration < 8
    samples, _ = soundfile.read(file)
    assert np.sqrt(np.mean(samples**2)) > 0.01


def test_an_unknown_voice_is_said(tmp_path):
    with pytest.raises(LatentbenchError, match=r"failed as 'en-us-x-moon'.*no such voice"):
        speak(replace(ECHO, voice="en-us-x-moon"), SENTENCES[:1], tmp_path)


def test_speakers_and_sentences_are_as_many_as_the_options_allow():
    assert len({speaker.name for speaker in SPEAKERS}) == len(SPEAKERS) == 24
    assert len({speaker.voice for speaker in SPEAKERS}) == 24
    assert len({speaker.voice.voice.split("+")[1] for speaker in SPEAKERS[:13]}) >= 11
    for count in (12, 16, 24):
        assert sum(speaker.sex == "F" for speaker in SPEAKERS[:count]) in {
            count // 2 - 1,
            count // 2,
        }
    assert len(set(SENTENCES)) == len(SENTENCES) == 20


def test_every_speaker_says_every_sentence_asked_for(demo):
    corpus = demo(speakers=3, sentences=2)
    found = corpus.utterances()
    assert [one.id for one in found] == [
        "f1-en-us-00",
        "f1-en-us-01",
        "m1-en-us-00",
        "m1-en-us-01",
        "f2-en-gb-00",
        "f2-en-gb-01",
    ]
    assert found[4].speaker == "f2-en-gb"
    assert found[4].attributes == {"sex": "F", "accent": "en-gb"}
    assert {one.sample_rate for one in found} == {SAMPLE_RATE}
    assert all(3 < one.seconds < 8 for one in found)
    assert len({one.source.digest() for one in found}) == 6
    assert corpus.identity != demo(speakers=3, sentences=1).identity


def test_the_same_bytes_whatever_else_is_made(tmp_path, demo):
    many = demo(speakers=4, sentences=2).utterances()
    elsewhere = Workspace(cache=tmp_path / "elsewhere")
    few = SpeechDemo(SpeechDemoOptions(speakers=2, sentences=1), elsewhere).utterances()
    digests = {one.id: one.source.digest() for one in many}
    assert {one.id: one.source.digest() for one in few}.items() <= digests.items()


def test_missing_and_damaged_files_are_made_again(demo):
    corpus = demo(speakers=2, sentences=2)
    found = corpus.utterances()
    before = [hashlib.sha256(one.source.path.read_bytes()).hexdigest() for one in found]
    found[0].source.path.unlink()
    damaged = found[3].source.path
    damaged.write_bytes(damaged.read_bytes()[:1000])
    again = corpus.utterances()
    assert [hashlib.sha256(one.source.path.read_bytes()).hexdigest() for one in again] == before


def test_what_is_there_is_not_made_again(demo):
    corpus = demo(speakers=2, sentences=1)
    stamps = [one.source.path.stat().st_mtime_ns for one in corpus.utterances()]
    assert [one.source.path.stat().st_mtime_ns for one in corpus.utterances()] == stamps


def test_what_another_process_reads_stays_while_more_is_made(demo, monkeypatch):
    found = demo(speakers=2, sentences=1).utterances()
    absent, remove = [], shutil.rmtree

    def looked_at(path, **how):
        remove(path, **how)
        absent.extend(one.id for one in found if not one.source.path.exists())

    monkeypatch.setattr("latentbench.corpora.speech_demo.shutil.rmtree", looked_at)
    assert len(demo(speakers=2, sentences=2).utterances()) == 4
    assert absent == []


def test_two_at_once_make_it_once(demo):
    made = []

    def make():
        made.append([one.source.digest() for one in demo(speakers=2, sentences=1).utterances()])

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [made[0]] * 3


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    corpus = SpeechDemo(SpeechDemoOptions(speakers=2), Workspace(cache=tmp_path / "file"))
    with pytest.raises(LatentbenchError, match="cannot be written") as error:
        corpus.utterances()
    assert "--cache" in error.value.hint


def test_without_the_package_the_error_says_what_to_install():
    (spec,) = (spec for spec in latentbench_corpora() if spec.name == "speech-demo")
    component = Component(spec, Provider("latentbench", "0", ""))
    assert component.missing() == []
    absent = replace(spec, requires=("espeakng-loader>=9999",))
    with pytest.raises(LatentbenchError, match=r"speech-demo.* cannot run here: espeakng-loader"):
        Component(absent, component.provider).create(SpeechDemoOptions(), None)
