"""Station 1, audio: sources of utterances and the split by speaker."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentbench.corpora.corpus import AudioError, Corpus, LatentFormat, Utterance
    from latentbench.corpora.split import SpeakerSplit, split_speakers

__all__ = ["AudioError", "Corpus", "LatentFormat", "SpeakerSplit", "Utterance", "split_speakers"]


def __getattr__(name: str) -> Any:
    """Import a module only when one of its names is asked for: listing plugins asks for none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    where = "split" if name in {"SpeakerSplit", "split_speakers"} else "corpus"
    return getattr(importlib.import_module(f"{__name__}.{where}"), name)
