"""Audio models of the transformers library as encoders of latentbench."""

__all__: list[str] = []
