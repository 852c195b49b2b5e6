"""Predictors that remember: tables of what followed each key, in place of a network."""
