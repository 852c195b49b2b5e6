"""Measures how predictable the continuous latents of neural audio encoders are.

    import latentbench as lb

    result = lb.run(preset="demo", predictor="mdn-robust", steps=200)
    result.figures.where(figure="dnll_context").to_pandas()

docs/python.md shows the rest. Every name is imported when it is first used: this module loads
neither torch nor anything else that takes long.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentbench.answers import Answer, Comparison, Result
    from latentbench.api import (
        calibrate,
        card,
        compare,
        components,
        encode,
        factorize,
        leaderboard,
        plan,
        publish,
        read,
        report,
        reproduce,
        run,
        runs,
        watch,
    )
    from latentbench.corpora.corpus import Corpus, Utterance
    from latentbench.encoders.encoder import Encoder
    from latentbench.errors import LatentbenchError, UsageError
    from latentbench.factorizations.factorization import Factorization
    from latentbench.latents.transform import Transform
    from latentbench.metrics.metric import MeanMetric, Metric, Prediction, metric
    from latentbench.predictors.predictor import Predictor
    from latentbench.predictors.training import Training, train
    from latentbench.results.figures import Figures
    from latentbench.tasks.windows import TaskFrames

__all__ = [
    "Answer",
    "Comparison",
    "Corpus",
    "Encoder",
    "Factorization",
    "Figures",
    "LatentbenchError",
    "MeanMetric",
    "Metric",
    "Prediction",
    "Predictor",
    "Result",
    "TaskFrames",
    "Training",
    "Transform",
    "UsageError",
    "Utterance",
    "__version__",
    "calibrate",
    "card",
    "compare",
    "components",
    "encode",
    "factorize",
    "leaderboard",
    "metric",
    "plan",
    "publish",
    "read",
    "report",
    "reproduce",
    "run",
    "runs",
    "train",
    "watch",
]

__version__ = version("latentbench")

_NAMES = {
    "answers": ("Answer", "Comparison", "Result"),
    "api": (
        "calibrate",
        "card",
        "compare",
        "components",
        "encode",
        "factorize",
        "leaderboard",
        "plan",
        "publish",
        "read",
        "report",
        "reproduce",
        "run",
        "runs",
        "watch",
    ),
    "corpora.corpus": ("Corpus", "Utterance"),
    "encoders.encoder": ("Encoder",),
    "errors": ("LatentbenchError", "UsageError"),
    "factorizations.factorization": ("Factorization",),
    "latents.transform": ("Transform",),
    "metrics.metric": ("MeanMetric", "Metric", "Prediction", "metric"),
    "predictors.predictor": ("Predictor",),
    "predictors.training": ("Training", "train"),
    "results.figures": ("Figures",),
    "tasks.windows": ("TaskFrames",),
}
_WHERE = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
