"""The SoundStream encoder of Lyra V2 as a latentbench plugin."""

__all__: list[str] = []
