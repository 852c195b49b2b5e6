"""Measures how predictable the continuous latents of neural audio encoders are."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("latentbench")
