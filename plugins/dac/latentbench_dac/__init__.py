"""The Descript Audio Codec encoders as a latentbench plugin."""

__all__: list[str] = []
