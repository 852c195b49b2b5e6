"""The EnCodec encoders as a latentbench plugin."""

__all__: list[str] = []
