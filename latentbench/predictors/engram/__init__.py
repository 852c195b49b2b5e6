"""The predictor `engram`: a network with a hashed table of n-grams beside it."""
