"""Worlds as corpora of latents, and the encoder that passes them through."""

import numpy as np
import pytest
import torch

from latentbench.encoders.logmel import LogMelEncoder
from latentbench.encoders.passthrough import LatentsEncoder
from latentbench.encoders.plugin import LogMelOptions
from latentbench.errors import UsageError
from latentbench.latents.preparation import prepare
from latentbench.specs import NoOptions
from latentbench.workspace import Workspace
from latentbench.worlds.plugin import Ar1Options, SwitchingOptions
from latentbench.worlds.world_corpus import WorldCorpus


def test_a_world_is_a_corpus_of_latents():
    corpus = WorldCorpus(Ar1Options(dim=3, speakers=2, utterances=2, frames=25), Workspace())
    first, *others = corpus.utterances()
    assert len(others) == 3
    assert (first.id, first.speaker, first.seconds, first.sample_rate) == (
        "s000-000",
        "s000",
        2.0,
        12.5,
    )
    values = first.source.read()
    assert (values.shape, values.dtype) == ((3, 25), np.float32)
    assert np.array_equal(values, first.source.read())
    assert len({one.source.digest() for one in corpus.utterances()}) == 4
    # More speakers leave the others as they are; another seed or world does not.
    more = WorldCorpus(Ar1Options(dim=3, speakers=5, utterances=1, frames=25), Workspace())
    assert more.utterances()[0].source.digest() == first.source.digest()
    other = WorldCorpus(Ar1Options(dim=3, frames=25, seed=1), Workspace())
    assert other.utterances()[0].source.digest() != first.source.digest()
    assert corpus.identity["rho"] == "0.64"


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_encoder_passes_latents_through(dim):
    corpus = WorldCorpus(SwitchingOptions(dim=dim, frames=12), Workspace())
    encoder = LatentsEncoder(NoOptions(), Workspace())
    encoder.bind(corpus)
    encoder.load(torch.device("cpu"))
    assert (encoder.dim, encoder.frame_rate, encoder.hop) == (dim, 12.5, 1)
    one = corpus.utterances()[0]
    ready = prepare(one.source.read(), one.sample_rate, encoder)
    audio = ready.samples if dim == 1 else ready.samples[None]
    latents, frames = encoder.encode(audio, torch.tensor([ready.length]))
    assert frames.tolist() == [12]
    assert np.array_equal(latents[0].numpy(), one.source.read().T)
    assert ready.energy.numpy() == pytest.approx(np.sqrt((one.source.read() ** 2).mean(0)))


def test_audio_and_latents_are_not_mixed_up():
    world = WorldCorpus(Ar1Options(), Workspace())
    with pytest.raises(
        UsageError, match=r"holds latents already; the encoder takes audio.\n.*--enc"
    ):
        LogMelEncoder(LogMelOptions(), Workspace()).bind(world)
    world.latents = None
    with pytest.raises(UsageError, match="holds audio; the encoder 'latents' takes latents"):
        LatentsEncoder(NoOptions(), Workspace()).bind(world)
