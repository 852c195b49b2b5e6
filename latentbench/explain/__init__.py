"""Explanations of a run's scores: the frames that carry its means, and what they share."""
