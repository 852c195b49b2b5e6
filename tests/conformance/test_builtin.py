"""What comes with latentbench keeps its own contracts."""

from pathlib import Path
from typing import ClassVar

import pytest

from latentbench.conformance import (
    CorpusConformance,
    EncoderConformance,
    EngineConformance,
    MetricConformance,
    PredictorConformance,
    ReporterConformance,
    TransformConformance,
)
from latentbench.plugins import load_registry

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


class TestLogMel(EncoderConformance):
    name = "logmel"


class TestMdn(PredictorConformance):
    name = "mdn"
    options: ClassVar = {"width": 64}


class TestTransformerOfWholeUtterances(PredictorConformance):
    name = "neural"
    options: ClassVar = {"backbone": "transformer", "width": 16, "attention_heads": 2}


class TestMarginal(PredictorConformance):
    name = "marginal"


class TestStandardize(TransformConformance):
    name = "standardize"


class TestPca(TransformConformance):
    name = "pca"
    options: ClassVar = {"components": 3, "whiten": True}


class TestShuffledFrames(TransformConformance):
    name = "shuffled-frames"


class TestLocal(EngineConformance):
    name = "local"


class TestTable(ReporterConformance):
    name = "table"


class TestJson(ReporterConformance):
    name = "json"


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no recordings at {DATA}")
class TestLibriSpeech(CorpusConformance):
    name = "librispeech"
    options: ClassVar = {"root": str(DATA / "LibriSpeech"), "subset": "train-clean-5"}


METRICS = [
    component.spec.name
    for component in load_registry().of_kind("metric")
    if component.provider.distribution == "latentbench"
]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_keeps_its_contract(check, name):
    failures = [str(f) for f in check("metric", name).values() if f.status != "pass"]
    assert failures == []


def test_suites_are_those_of_every_kind():
    from latentbench import conformance
    from latentbench.specs import KINDS

    suites = {
        getattr(conformance, name).kind
        for name in conformance.__all__
        if name.endswith("Conformance")
    }
    assert suites == set(KINDS)
    assert MetricConformance.kind == "metric"
