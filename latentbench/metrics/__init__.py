"""Station 6, numbers: per-frame scores and what is computed from them."""

from latentbench.metrics.metric import MeanMetric, Metric, Prediction

__all__ = ["MeanMetric", "Metric", "Prediction"]
