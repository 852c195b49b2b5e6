"""The corpora that come with latentbench: specs and options only, so that listing stays fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le

from latentbench.hookspecs import hookimpl
from latentbench.specs import CorpusSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "FolderOptions",
    "KaldiOptions",
    "LatentsFolderOptions",
    "LibriSpeechOptions",
    "SpeechDemoOptions",
    "WhiteNoiseOptions",
    "latentbench_corpora",
]


@dataclass(frozen=True)
class LibriSpeechOptions:
    """Options of the corpus `librispeech`."""

    root: Annotated[
        str, "folder that holds SPEAKERS.TXT and the subsets; empty: download into the cache"
    ] = ""
    subset: Annotated[str, "subset, or several joined by '+'"] = "train-clean-100"
    mirror: Annotated[str, "where downloads come from: OpenSLR's resources, or a mirror"] = (
        "https://www.openslr.org/resources"
    )


@dataclass(frozen=True)
class FolderOptions:
    """Options of the corpus `folder`."""

    root: Annotated[str, "folder that holds the files"] = ""
    glob: Annotated[str, "which paths below root are used; ** is any depth of folders"] = "**"
    speaker_pattern: Annotated[
        str, "path below root with {speaker} where the speaker's name is; * is any name"
    ] = "{speaker}/**"
    speakers_csv: Annotated[
        str, "CSV with columns path,speaker[,...], used instead of speaker_pattern"
    ] = ""


@dataclass(frozen=True)
class LatentsFolderOptions(FolderOptions):
    """Options of the corpus `latents-folder`."""

    frame_rate: Annotated[float, Ge(0), "frames a second; must be given"] = 0.0
    array: Annotated[
        str, "which array of a .npz, .pt or .safetensors file is the latents; empty: each is"
    ] = ""
    transposed: Annotated[bool, "arrays are [D, T] instead of [T, D]"] = False


@dataclass(frozen=True)
class KaldiOptions:
    """Options of the corpus `kaldi`."""

    root: Annotated[str, "folder that holds wav.scp, utt2spk and perhaps segments"] = ""
    base: Annotated[str, "folder that paths in wav.scp are relative to; empty: root"] = ""


@dataclass(frozen=True)
class SpeechDemoOptions:
    """Options of the corpus `speech-demo`."""

    speakers: Annotated[int, Ge(2), Le(24), "how many voices speak"] = 16
    sentences: Annotated[int, Ge(1), Le(20), "how many sentences each voice says"] = 10


@dataclass(frozen=True)
class WhiteNoiseOptions:
    """Options of the corpus `white-noise`."""

    sample_rate: Annotated[int, Ge(1000), "samples a second"] = 24_000
    speakers: Annotated[int, Ge(2), "how many speakers, who differ in nothing"] = 16
    utterances: Annotated[int, Ge(1), "how many utterances each of them has"] = 10
    seconds: Annotated[float, Gt(0), "length of an utterance"] = 10.0
    level: Annotated[float, Gt(0), "standard deviation of the samples; full scale is 1"] = 0.1
    seed: Annotated[int, Ge(0), "which noise"] = 0


@hookimpl
def latentbench_corpora() -> Iterator[CorpusSpec]:
    """Yield the built-in corpora."""
    yield CorpusSpec(
        name="librispeech",
        summary="English read from audiobooks, 16 kHz, by subset; local or downloaded",
        factory="latentbench.corpora.librispeech:LibriSpeech",
        options=LibriSpeechOptions,
        licence="CC BY 4.0",
    )
    yield CorpusSpec(
        name="folder",
        summary="Your own audio: any files libsndfile reads, speakers from paths or a CSV",
        factory="latentbench.corpora.audio_folder:Folder",
        options=FolderOptions,
        licence="yours",
    )
    yield CorpusSpec(
        name="speech-demo",
        summary="Speech made on the spot by espeak-ng; needs no network",
        factory="latentbench.corpora.speech_demo:SpeechDemo",
        options=SpeechDemoOptions,
        requires=("espeakng-loader>=0.2.4",),
        licence="CC0-1.0",
    )
    yield CorpusSpec(
        name="white-noise",
        summary="Gaussian white noise made in memory: a control without temporal structure",
        factory="latentbench.corpora.white_noise:WhiteNoise",
        options=WhiteNoiseOptions,
        licence="none: made on the spot",
    )
    yield CorpusSpec(
        name="latents-folder",
        summary="Your own latents: .npy, .npz, .pt, .safetensors or .parquet, [T, D] a file",
        factory="latentbench.corpora.latent_arrays:LatentsFolder",
        options=LatentsFolderOptions,
        licence="yours",
    )
    yield CorpusSpec(
        name="kaldi",
        summary="Your own audio in a Kaldi data folder: wav.scp, utt2spk, segments",
        factory="latentbench.corpora.kaldi:Kaldi",
        options=KaldiOptions,
        licence="yours",
    )
