"""The predictor `neural`: a backbone that reads the context, and a head that gives a density."""
