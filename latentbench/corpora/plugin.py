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
    "HFOptions",
    "KaldiOptions",
    "LatentsFolderOptions",
    "LhotseOptions",
    "LibriSpeechOptions",
    "SpeechDemoOptions",
    "WebDatasetOptions",
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
class HFOptions:
    """Options of the corpus `hf`."""

    path: Annotated[
        str, "OWNER/NAME on the hub, or a folder with Parquet files or of save_to_disk"
    ] = ""
    subset: Annotated[str, "configuration of the dataset; empty: its default"] = ""
    split: Annotated[str, "of the dataset; its speakers are split anew"] = "train"
    revision: Annotated[str, "branch, tag or commit on the hub"] = "main"
    audio: Annotated[str, "column of the audio"] = "audio"
    speaker: Annotated[str, "column of the speaker"] = "speaker_id"
    attributes: Annotated[str, "other columns to keep, joined by commas"] = ""
    take: Annotated[int, Ge(0), "rows from the start; 0: all"] = 0


@dataclass(frozen=True)
class LhotseOptions:
    """Options of the corpus `lhotse`."""

    cuts: Annotated[str, "manifest of cuts, .jsonl or .jsonl.gz"] = ""
    base: Annotated[str, "folder that paths are relative to; empty: that of the manifest"] = ""


@dataclass(frozen=True)
class WebDatasetOptions:
    """Options of the corpus `webdataset`."""

    root: Annotated[str, "folder that holds *.tar, or one tar file"] = ""
    speaker_field: Annotated[str, "field of a sample's .json that names the speaker"] = "speaker"
    speaker_pattern: Annotated[
        str, "key of a sample with {speaker} where the speaker is; used instead of the field"
    ] = ""


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
    yield CorpusSpec(
        name="lhotse",
        summary="Your own audio by a manifest of Lhotse's cuts",
        factory="latentbench.corpora.lhotse:Lhotse",
        options=LhotseOptions,
        licence="yours",
    )
    yield CorpusSpec(
        name="webdataset",
        summary="Your own audio in tar files of WebDataset, read in place",
        factory="latentbench.corpora.webdataset:WebDataset",
        options=WebDatasetOptions,
        licence="yours",
    )
    yield CorpusSpec(
        name="hf",
        summary="A dataset of Hugging Face: the hub, Parquet files or save_to_disk",
        factory="latentbench.corpora.hf:HuggingFace",
        options=HFOptions,
        requires=("datasets>=3.0",),
        licence="of the dataset",
    )
