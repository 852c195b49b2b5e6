"""Slurm as an engine of latentbench."""

__all__: list[str] = []
