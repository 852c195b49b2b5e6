"""An inline plugin of metrics, corpora, transforms, engines and reporters that break contracts."""

# ruff: noqa: ARG002 - contracts hand over more than a bad component looks at

import uuid
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import torch

from latentbench.corpora import Corpus, Utterance
from latentbench.corpora.corpus import AudioSource
from latentbench.engines import Engine, Outcome
from latentbench.factorizations.factorization import Unfactored
from latentbench.hookspecs import hookimpl
from latentbench.latents.transform import Transform
from latentbench.metrics.metric import Metric
from latentbench.metrics.statistics import Mean, OfFrames, Sums
from latentbench.reports.reporter import Reporter
from latentbench.specs import (
    CorpusSpec,
    EngineSpec,
    FactorizationSpec,
    MetricSpec,
    ReporterSpec,
    TransformSpec,
)


def error(prediction):
    return (prediction.target - prediction.model.mean).square().sum(-1)


class SoundMetric(Metric):
    better = "lower"
    columns = MappingProxyType({"error": error})
    statistic = Mean("error")
    needs = ("mean",)

    def __init__(self, options):
        super().__init__(options)
        self.name = type(self).__name__


class NoDirection(SoundMetric):
    better = "best"


class ColumnPerDimension(SoundMetric):
    columns = MappingProxyType(
        {"error": lambda prediction: prediction.target - prediction.model.mean}
    )


class AsksForMore(SoundMetric):
    columns = MappingProxyType(
        {"error": lambda prediction: prediction.model.log_prob(prediction.target)}
    )


class NeedsByLetter(SoundMetric):
    needs = "mean"


class StatisticOfOthers(SoundMetric):
    statistic = Mean("nll")


class CentredTerms(SoundMetric):
    statistic = Sums(
        ("error",),
        lambda columns: [(columns["error"] - columns["error"].mean()) ** 2],
        lambda n, squares: squares / n,
    )


class FirstFrames(SoundMetric):
    statistic = OfFrames(("error",), lambda columns: columns["error"][:10].mean())


class InfiniteFigure(SoundMetric):
    statistic = Sums(("error",), lambda columns: [columns["error"]], lambda _n, total: total / 0)


class StatisticByName(SoundMetric):
    statistic = "mean"


class Tone(AudioSource):
    def __init__(self, pitch):
        self.pitch = pitch

    def read(self):
        return np.sin(self.pitch * np.arange(1600, dtype=np.float32))[None]

    def digest(self):
        return f"{int(self.pitch * 1000):032x}"

    def describe(self):
        return f"a tone at {self.pitch}"


class SoundCorpus(Corpus):
    name = "tones"
    source = Tone

    def __init__(self, options, workspace):
        pass

    @property
    def identity(self):
        return {"corpus": self.name}

    def utterances(self):
        return [
            Utterance(f"u{i}", f"s{i}", self.source(0.1 * (i + 1)), 16_000, 0.1) for i in range(4)
        ]


class NoUtterances(SoundCorpus):
    def utterances(self):
        return []


class OneId(SoundCorpus):
    def utterances(self):
        return [replace(one, id="same") for one in super().utterances()]


class NoSpeaker(SoundCorpus):
    def utterances(self):
        return [replace(one, speaker="") for one in super().utterances()]


class OneSpeaker(SoundCorpus):
    def utterances(self):
        return [replace(one, speaker="s") for one in super().utterances()]


class RandomIds(SoundCorpus):
    def utterances(self):
        return [replace(one, id=str(uuid.uuid4())) for one in super().utterances()]


class DecodesAtOnce(SoundCorpus):
    def utterances(self):
        found = super().utterances()
        return [replace(one, seconds=one.source.read().shape[1] / 16_000) for one in found]


class NumberInIdentity(SoundCorpus):
    @property
    def identity(self):
        return {"tones": 4}


class RandomDigest(Tone):
    def digest(self):
        return uuid.uuid4().hex


class DigestsDiffer(SoundCorpus):
    source = RandomDigest


class Mono(Tone):
    def read(self):
        return super().read()[0]


class FlatAudio(SoundCorpus):
    source = Mono


class LengthsWrong(SoundCorpus):
    def utterances(self):
        return [replace(one, seconds=2.0) for one in super().utterances()]


class SoundTransform(Transform):
    def __init__(self, options):
        self.scale = torch.ones(1)

    def fit(self, latents, train):
        self.scale = sum(latents.utterance(index).square().sum(0) for index in train)

    def apply(self, latents):
        return latents.mapped(lambda rows: rows / self.scale, latents.dim)

    def state(self):
        return {"scale": self.scale}

    def restore(self, state):
        self.scale = state["scale"]


class SeesEval(SoundTransform):
    def fit(self, latents, train):
        super().fit(latents, range(len(latents.utterances)))


class ForgetsState(SoundTransform):
    def restore(self, state):
        pass


class ByBatch(SoundTransform):
    def apply(self, latents):
        return latents.mapped(lambda rows: rows - rows.mean(0), latents.dim)


class DividesByZero(SoundTransform):
    def apply(self, latents):
        return latents.mapped(lambda rows: rows / 0, latents.dim)


class SoundFactorization(Unfactored):
    pass


class SeesTheFuture(SoundFactorization):
    def encode(self, frames):
        return frames - frames.mean(0)


class DecodesBackwards(SoundFactorization):
    def decode(self, states):
        return states.flip(0)


class FitsOnAll(SoundFactorization):
    def fit(self, latents, train, fitting):
        super().fit(latents, train, fitting)
        self.total = latents.utterance(1).sum()

    def state(self):
        return {**super().state(), "total": self.total}


class FitsAtRandom(SoundFactorization):
    def fit(self, latents, train, fitting):
        super().fit(latents, train, fitting)
        self.drawn = torch.rand(3)

    def state(self):
        return {**super().state(), "drawn": self.drawn}


class ForgetsDim(SoundFactorization):
    def restore(self, state):
        pass


class HalfAState(SoundFactorization):
    def encode(self, frames):
        return frames[:, :3]


class CountsOnce(SoundFactorization):
    def account(self, frames):
        return replace(super().account(frames), innovation=torch.zeros(1))


class SoundEngine(Engine):
    def __init__(self, options):
        pass

    def run(self, cells, work):
        for cell in cells:
            yield self.attempt(cell, work)

    def attempt(self, cell, work):
        try:
            work(cell)
        except Exception as error:  # noqa: BLE001 - as a careless engine does
            return Outcome(cell, str(error))
        return Outcome(cell)


class StopsAtFailure(SoundEngine):
    def run(self, cells, work):
        for outcome in super().run(cells, work):
            yield outcome
            if outcome.error:
                return


class RaisesFailure(SoundEngine):
    def attempt(self, cell, work):
        work(cell)
        return Outcome(cell)


class SwallowsText(SoundEngine):
    def attempt(self, cell, work):
        outcome = super().attempt(cell, work)
        return Outcome(cell, "failed" if outcome.error else "")


class SoundReporter(Reporter):
    def __init__(self, options):
        pass

    def report(self, result, console):
        console.print(f"{len(result.horizons)} horizons")


class WritesNothing(SoundReporter):
    def report(self, result, console):
        pass


class PrintsPastConsole(SoundReporter):
    def report(self, result, console):
        super().report(result, console)
        print("done")  # noqa: T201 - what the kit is to find


class WideLines(SoundReporter):
    def report(self, result, console):
        console.file.write("x" * 100 + "\n")


class NeedsRollout(SoundReporter):
    def report(self, result, console):
        console.print(max(horizon.rollout.n for horizon in result.horizons))


def specs(spec, base):
    for value in list(globals().values()):
        if isinstance(value, type) and issubclass(value, base):
            name = value.__name__
            yield spec(name=name, summary="for tests", factory=f"{__name__}:{name}")


@hookimpl
def latentbench_metrics():
    return specs(MetricSpec, SoundMetric)


@hookimpl
def latentbench_corpora():
    return specs(CorpusSpec, SoundCorpus)


@hookimpl
def latentbench_factorizations():
    return specs(FactorizationSpec, SoundFactorization)


@hookimpl
def latentbench_transforms():
    return specs(TransformSpec, SoundTransform)


@hookimpl
def latentbench_engines():
    return specs(EngineSpec, SoundEngine)


@hookimpl
def latentbench_reporters():
    return specs(ReporterSpec, SoundReporter)
