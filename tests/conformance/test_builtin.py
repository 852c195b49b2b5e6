"""What comes with latentbench keeps its own contracts."""

from pathlib import Path
from typing import ClassVar

import pytest

from latentbench.conformance import Conformance
from latentbench.conformance.check import kit_of
from latentbench.plugins import load_registry
from latentbench.specs import KINDS

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


class TestLogMel(Conformance):
    kind = "encoder"
    name = "logmel"


class TestMdn(Conformance):
    kind = "predictor"
    name = "mdn"
    options: ClassVar = {"width": 64}


class TestTransformerOfWholeUtterances(Conformance):
    kind = "predictor"
    name = "neural"
    options: ClassVar = {"backbone": "transformer", "width": 16, "attention_heads": 2}


class TestSamplesAlone(Conformance):
    kind = "predictor"
    name = "neural"
    options: ClassVar = {"head": "energy", "width": 16, "head_width": 16, "head_layers": 1}


class TestABound(Conformance):
    kind = "predictor"
    name = "rssm"
    options: ClassVar = {"width": 16, "head_width": 16}


class TestMemory(Conformance):
    kind = "predictor"
    name = "memory"
    options: ClassVar = {"keys": 8}


class TestMemoryOfWhatANetworkLeaves(Conformance):
    kind = "predictor"
    name = "memory"
    options: ClassVar = {"kind": "residual", "keys": 8, "width": 16}


class TestMemoryGated(Conformance):
    kind = "predictor"
    name = "memory"
    options: ClassVar = {"kind": "hybrid", "keys": 8, "width": 16, "gate_width": 8}


class TestMarginal(Conformance):
    kind = "predictor"
    name = "marginal"


class TestStandardize(Conformance):
    kind = "transform"
    name = "standardize"


class TestPca(Conformance):
    kind = "transform"
    name = "pca"
    options: ClassVar = {"components": 3, "whiten": True}


class TestShuffledFrames(Conformance):
    kind = "transform"
    name = "shuffled-frames"


class TestUnfactored(Conformance):
    kind = "factorization"
    name = "none"


class TestLinearFactorization(Conformance):
    kind = "factorization"
    name = "linear"
    options: ClassVar = {"dim": 3, "lags": 2}


class TestPrincipalFactorization(Conformance):
    kind = "factorization"
    name = "pca"


class TestRandomFactorization(Conformance):
    kind = "factorization"
    name = "random"


class TestRssm(Conformance):
    kind = "factorization"
    name = "rssm"
    options: ClassVar = {"dim": 3, "width": 8, "steps": 5, "frames": 6, "batch_size": 4}


class TestRssmOfABudget(Conformance):
    kind = "factorization"
    name = "rssm"
    options: ClassVar = {**TestRssm.options, "budget": 2.0}


class TestOriginal(Conformance):
    kind = "factorization"
    name = "original"
    options: ClassVar = {"dim": 3, "width": 8, "innovation": 2, "steps": 4, "warmup": 2}


class TestLocal(Conformance):
    kind = "engine"
    name = "local"


class TestProcesses(Conformance):
    kind = "engine"
    name = "processes"


class TestTable(Conformance):
    kind = "reporter"
    name = "table"


class TestJson(Conformance):
    kind = "reporter"
    name = "json"


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no recordings at {DATA}")
class TestLibriSpeech(Conformance):
    kind = "corpus"
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


def test_every_kind_has_checks():
    assert all(kit_of(kind).checks for kind in KINDS)
