"""Scaffold: distributions to start a plugin from."""

from latentbench.scaffold.create import TEMPLATE_KINDS, Made, create

__all__ = ["TEMPLATE_KINDS", "Made", "create"]
