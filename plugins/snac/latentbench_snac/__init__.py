"""The SNAC encoders as a latentbench plugin."""

__all__: list[str] = []
