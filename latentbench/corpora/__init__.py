"""Station 1, audio: sources of utterances and the split by speaker."""

from latentbench.corpora.corpus import AudioError, Corpus, LatentFormat, Utterance

__all__ = ["AudioError", "Corpus", "LatentFormat", "Utterance"]
