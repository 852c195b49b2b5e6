"""Station 1, audio: sources of utterances and the split by speaker."""

from latentbench.corpora.corpus import AudioError, Corpus, LatentFormat, Utterance
from latentbench.corpora.split import SpeakerSplit, split_speakers

__all__ = ["AudioError", "Corpus", "LatentFormat", "SpeakerSplit", "Utterance", "split_speakers"]
