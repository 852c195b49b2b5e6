"""Encoding throughput: our pipeline against a loop over files, for every installed encoder.

Both encode the same utterances with the same loaded encoder in one run and one process:

- `loop`: file after file, as one would write it: decode, `torchaudio.functional.resample`, pad,
  encode, `torch.save`.
- `pipeline`: `encode_missing` into an empty store: files decoded and resampled ahead by threads,
  batches of like length, checksummed shards written behind.
- `encoder alone`: the pipeline's own batches, already in memory: what bounds both.

Prints seconds of audio encoded per second (x real time), the ratio of pipeline to loop, the
share of the pipeline's time that the encoder alone takes, and how far the latents differ in
units of their largest magnitude. The best of several turns, taken in turns, so that other work
on the machine hits all alike.

With `--workers N` also the engine `processes`, N of one thread each, against one process of N
threads by the pipeline, in turns; with its start, which a few utterances
take the time of, and without.

`--device cuda` has encoders compute there; `--workers` always takes the processor.

The audio is read speech where `../shared/data/LibriSpeech` is beside the checkout, else the
corpus `speech-demo`. Weights are random unless given: speed does not depend on them.

Usage: python benchmarks/encoding.py [--encoders mimi,logmel] [--seconds 60] [--threads N]
           [--turns 2] [--weights soundstream=FILE] [--workers 2] [--device cpu]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torchaudio

from latentbench.config import ComponentConfig, RunConfig
from latentbench.corpora.selection import leave_out
from latentbench.device import choose_device, describe_device
from latentbench.engines.plugin import ProcessesOptions
from latentbench.engines.processes import ProcessesEngine
from latentbench.errors import LatentbenchError
from latentbench.latents.encoding import plan_batches
from latentbench.latents.preparation import prepare
from latentbench.latents.store import LatentStore
from latentbench.latents.stretches import Elsewhere, encode_missing, key_of
from latentbench.plugins import load_registry
from latentbench.progress import SILENT
from latentbench.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latentbench.corpora import Corpus, Utterance
    from latentbench.encoders import Encoder
    from latentbench.plugins import Component, Registry

CPU = torch.device("cpu")
SHARED = Path(__file__).parents[2] / "shared" / "data"
SOUNDSTREAM = SHARED / "lyra" / "soundstream_encoder.tflite"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoders", default="")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--weights", action="append", default=[], metavar="ENCODER=FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    registry, workspace = load_registry(), Workspace()
    corpus = speech(registry, workspace)
    utterances = spread(corpus, arguments.seconds)
    device = choose_device("cpu" if arguments.workers else arguments.device)
    total = sum(one.seconds for one in utterances)
    print(
        f"{corpus.name}: {len(utterances)} utterances, {total:.0f} s; {arguments.threads} threads, "
        f"{describe_device(device)}"
    )
    print(
        f"{'encoder':<14}{'loop':>9}{'pipeline':>10}{'ratio':>7}{'alone':>9}{'share':>7}{'apart':>9}"
    )
    wanted = arguments.encoders.split(",") if arguments.encoders else None
    given = {"soundstream": str(SOUNDSTREAM)} | dict(one.split("=", 1) for one in arguments.weights)
    for component in registry.of_kind("encoder"):
        name = component.spec.name
        if wanted is None or name in wanted:
            try:
                encoder = loaded(component, given.get(name, "random"), workspace, corpus, device)
            except LatentbenchError as error:
                print(f"{name:<14}left out: {error.message}")
            else:
                if arguments.workers:
                    weights = given.get(name, "random")
                    crew = Crew(name, weights, corpus, registry, arguments.workers)
                    crew.show(encoder, utterances, arguments.turns)
                else:
                    show(name, encoder, utterances, arguments.turns, device)


def show(
    name: str,
    encoder: Encoder,
    utterances: Sequence[Utterance],
    turns: int,
    device: torch.device,
) -> None:
    """One row."""
    total = sum(one.seconds for one in utterances)
    ready = [(audio.to(device), n.to(device)) for audio, n in batches(encoder, utterances)]
    encoder.encode(*ready[-1])  # whatever is made at the first call is made now
    best = {"loop": float("inf"), "pipeline": float("inf"), "alone": float("inf")}
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as folder:
            took, looped = loop(encoder, utterances, Path(folder), device)
            best["loop"] = min(best["loop"], took)
            took, stored = pipeline(encoder, utterances, Path(folder), device)
            best["pipeline"] = min(best["pipeline"], took)
        best["alone"] = min(best["alone"], alone(encoder, ready))
    apart = max(
        float((a - b).abs().max() / a.abs().max()) for a, b in zip(looped, stored, strict=True)
    )
    speed = {what: total / took for what, took in best.items()}
    print(
        f"{name:<14}{speed['loop']:>8.1f}x{speed['pipeline']:>9.1f}x"
        f"{best['loop'] / best['pipeline']:>7.2f}{speed['alone']:>8.1f}x"
        f"{best['alone'] / best['pipeline']:>7.0%}{apart:>9.0e}",
        flush=True,
    )


class Crew:
    """One encoder by several processes of one thread, and by one process of as many threads."""

    def __init__(
        self, name: str, weights: str, corpus: Corpus, registry: Registry, workers: int
    ) -> None:
        self.name, self.corpus, self.registry, self.workers = name, corpus, registry, workers
        options = {field.name for field in fields(registry.get("encoder", name).spec.options)}
        given = {"weights": weights} if "weights" in options else {}
        where = {"root": str(SHARED / "LibriSpeech"), "subset": "train-clean-5"}
        self.config = RunConfig(
            encoder=ComponentConfig(name=name, **given),
            corpus=ComponentConfig(
                name="librispeech" if corpus.name.startswith("librispeech") else "speech-demo",
                **(where if corpus.name.startswith("librispeech") else {}),
            ),
            device="cpu",
        )

    def show(self, encoder: Encoder, utterances: Sequence[Utterance], turns: int) -> None:
        """One row."""
        torch.set_num_threads(self.workers)
        few = utterances[: self.workers]
        alone, crew, start = [], [], []
        for _ in range(turns):
            with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
                alone.append(self.seconds(encoder, utterances, Path(one), by_crew=False))
                crew.append(self.seconds(encoder, utterances, Path(other), by_crew=True))
            with tempfile.TemporaryDirectory() as folder:
                start.append(self.seconds(encoder, few, Path(folder), by_crew=True))
        total, rest = (
            sum(one.seconds for one in of) for of in (utterances, utterances[len(few) :])
        )
        one, all_, begun = min(alone), min(crew), min(crew) - min(start)
        print(
            f"{self.name:<14}{self.workers} threads {total / one:.1f}x, {self.workers} processes "
            f"{total / all_:.1f}x: {one / all_:.2f}; after their start of {min(start):.1f} s "
            f"{rest / begun:.1f}x: {one * rest / total / begun:.2f}",
            flush=True,
        )

    def seconds(
        self, encoder: Encoder, utterances: Sequence[Utterance], folder: Path, *, by_crew: bool
    ) -> float:
        """Of an empty store filled."""
        store = LatentStore.for_key(folder, key_of(self.config, encoder, self.corpus))
        options = ProcessesOptions(workers=self.workers, threads=1)
        crew = Elsewhere(ProcessesEngine(options), self.config, self.registry)
        start = time.perf_counter()
        encode_missing(
            store,
            encoder,
            utterances,
            digests={one.id: one.id for one in utterances},
            device=CPU,
            progress=SILENT,
            elsewhere=crew if by_crew else None,
        )
        return time.perf_counter() - start


def loop(
    encoder: Encoder, utterances: Sequence[Utterance], folder: Path, device: torch.device
) -> tuple[float, list[torch.Tensor]]:
    """The seconds of the loop one would write, and its latents."""
    start, made = time.perf_counter(), []
    for number, one in enumerate(utterances):
        audio = torch.from_numpy(one.source.read())
        audio = audio.mean(0, keepdim=True).expand(encoder.channels, -1)
        if one.sample_rate != encoder.sample_rate:
            rates = int(one.sample_rate), encoder.sample_rate
            audio = torchaudio.functional.resample(audio, *rates)
        length = torch.tensor([audio.shape[-1]], device=device)
        padded = torch.nn.functional.pad(audio, (0, -audio.shape[-1] % encoder.hop)).to(device)
        with torch.inference_mode():
            latents, frames = encoder.encode(
                padded[None] if encoder.channels > 1 else padded, length
            )
        made.append(latents[0, : int(frames[0])].cpu().clone())
        torch.save(made[-1], folder / f"{number}.pt")
    return time.perf_counter() - start, made


def pipeline(
    encoder: Encoder, utterances: Sequence[Utterance], folder: Path, device: torch.device
) -> tuple[float, list[torch.Tensor]]:
    """The seconds of `encode_missing`, and what the store holds then."""
    store = LatentStore.for_key(folder, {"encoder": "benchmark", "corpus": "speech"})
    digests = {one.id: one.id for one in utterances}
    start = time.perf_counter()
    encoded = encode_missing(
        store, encoder, utterances, digests=digests, device=device, progress=SILENT
    )
    took = time.perf_counter() - start
    entries = [store.entries()[one.id, encoded.digests[one.id]] for one in utterances]
    numbers = sorted({entry.shard for entry in entries})
    shards = {n: rows for n, (rows, _) in zip(numbers, store.open_shards(numbers), strict=True)}
    return took, [
        shards[entry.shard][entry.start : entry.start + sum(entry.segments)].clone()
        for entry in entries
    ]


def alone(encoder: Encoder, ready: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """The seconds of the encoder for batches that are in memory."""
    start = time.perf_counter()
    with torch.inference_mode():
        for audio, lengths in ready:
            latents, _ = encoder.encode(audio, lengths)
        latents.sum().item()  # waits for the device
    return time.perf_counter() - start


def batches(
    encoder: Encoder, utterances: Sequence[Utterance]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The pipeline's batches."""
    made = []
    for batch in plan_batches(utterances, encoder.max_batch_seconds):
        audio = [prepare(one.source.read(), one.sample_rate, encoder) for one in batch]
        longest = max(one.samples.shape[-1] for one in audio)
        padded = torch.stack(
            [
                torch.nn.functional.pad(one.samples, (0, longest - one.samples.shape[-1]))
                for one in audio
            ]
        )
        lengths = torch.tensor([one.length for one in audio])
        made.append((padded if encoder.channels > 1 else padded[:, 0], lengths))
    return made


def loaded(
    component: Component,
    weights: str,
    workspace: Workspace,
    corpus: Corpus,
    device: torch.device,
) -> Encoder:
    names = {field.name for field in fields(component.spec.options)}
    given: dict[str, Any] = {"weights": weights} if "weights" in names else {}
    encoder: Encoder = component.create(component.spec.options(**given), workspace)
    encoder.bind(corpus)
    encoder.load(device)
    return encoder


def speech(registry: Registry, workspace: Workspace) -> Corpus:
    """Read speech where it is beside the checkout, else made speech."""
    root = SHARED / "LibriSpeech"
    name = "librispeech" if root.is_dir() else "speech-demo"
    component = registry.get("corpus", name)
    given = {"root": str(root), "subset": "train-clean-5"} if root.is_dir() else {}
    corpus: Corpus = component.create(component.spec.options(**given), workspace)
    return corpus


def spread(corpus: Corpus, seconds: float) -> list[Utterance]:
    """Utterances of at least 3 s from all speakers in turn, at least so many seconds."""
    listed = corpus.utterances()
    for limit in range(1, len(listed) + 1):
        out = leave_out(listed, min_seconds=3.0, limit=limit, progress=SILENT)
        chosen = [one for one in listed if one.id not in out]
        if sum(one.seconds for one in chosen) >= seconds:
            break
    return chosen


if __name__ == "__main__":
    main()
