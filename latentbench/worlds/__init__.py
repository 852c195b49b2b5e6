"""Worlds: processes whose optimal predictor is known, to test the whole instrument against.

This package stands before the road: it imports no station, and any station may import it.
"""
