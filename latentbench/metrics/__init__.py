"""Station 6, numbers: scores of single frames, and statistics of them."""

from latentbench.metrics.metric import MeanMetric, Metric, Prediction

__all__ = ["MeanMetric", "Metric", "Prediction"]
