"""The engine `ray` for latentbench."""

__all__: list[str] = []
