"""The SNAC plugin against the snac package, and how far its frames see."""

import math
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import torch
from latentbench_snac.encoder import SNAC_24K, SNAC_32K, SNAC_44K, Snac24k, Snac32k, Snac44k
from latentbench_snac.network import SnacDecoder, SnacNetwork
from latentbench_snac.plugin import SnacOptions

from latentbench.conformance.audio import encode
from latentbench.errors import UsageError
from latentbench.plugins import load_registry
from latentbench.workspace import Workspace

with warnings.catch_warnings():
    # snac compiles with torch.jit, whose deprecation is its own to mend.
    warnings.simplefilter("ignore", DeprecationWarning)
    from snac import SNAC

MODELS = {Snac24k: SNAC_24K, Snac32k: SNAC_32K, Snac44k: SNAC_44K}
NARROW = {
    "24k": replace(SNAC_24K, width=8, decoder_width=64),
    "32k": replace(SNAC_32K, width=8, decoder_width=64),
}


def package(architecture):
    """The package's own model, made as from its config.json."""
    return SNAC(
        sampling_rate=architecture.sample_rate,
        encoder_dim=architecture.width,
        encoder_rates=list(architecture.strides),
        decoder_dim=architecture.decoder_width,
        decoder_rates=list(reversed(architecture.strides)),
        attn_window_size=architecture.attention,
        vq_strides=list(architecture.vq_strides),
    ).eval()


@pytest.fixture(scope="module")
def pair(scatter):
    """Our narrow network and the package's, with the same weights."""

    def make(name):
        torch.manual_seed(7)
        theirs = package(NARROW[name])
        scatter(theirs, gain=1.0)
        ours = SnacNetwork(NARROW[name])
        missing, others = ours.load_state_dict(theirs.state_dict(), strict=False)
        assert not missing
        assert all(one.startswith("decoder.") for one in others)
        return ours, theirs

    return make


def noise(samples):
    return 0.1 * torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NARROW)
def test_both_views_agree_with_the_package(pair, name):
    ours, theirs = pair(name)
    hop, books = math.prod(NARROW[name].strides), len(NARROW[name].vq_strides)
    wave = noise(45 * hop)
    with torch.inference_mode():
        latents = theirs.encoder(theirs.preprocess(wave))
        quantized, _ = theirs.quantizer(latents)
        torch.testing.assert_close(ours(wave, None), latents[..., :45].transpose(1, 2))
        torch.testing.assert_close(ours(wave, books), quantized[..., :45].transpose(1, 2))
        first = ours(wave, 1)[0]
    assert latents.std() > 1e-3
    shared = NARROW[name].vq_strides[0]
    for start in range(0, 40, shared):
        assert torch.equal(first[start : start + shared], first[start].expand(shared, -1))


@pytest.mark.parametrize("codebooks", [None, 1])
@pytest.mark.parametrize("name", NARROW)
def test_frames_see_as_far_ahead_as_said_and_no_further(pair, name, codebooks):
    network = pair(name)[0].double()
    for quantizer in network.quantizer.quantizers:
        # What a code is chosen by, in place of the code: of random codes few are ever chosen.
        quantizer.decode_latents = lambda latents: (latents, None)
    architecture = NARROW[name]
    hop, frames = math.prod(architecture.strides), 128
    places = math.lcm(architecture.vq_strides[0], architecture.attention or 1)
    wave = noise(frames * hop).double()
    farthest = 0
    with torch.inference_mode():
        before = network(wave, codebooks)[0]
        for cut in range(64, 64 + places):  # every place in a window, and in a code
            after = wave.clone()
            after[..., cut * hop :] *= -1
            moved = (network(after, codebooks)[0] - before).abs().amax(1) > 1e-10
            farthest = max(farthest, cut - int(moved.nonzero()[0]))
    said = architecture.ahead if codebooks is None else architecture.quantized_ahead
    assert farthest == said


@pytest.fixture(scope="module")
def decoders(scatter):
    """Our narrow decoder and the package's model, with the same weights."""

    def make(name):
        torch.manual_seed(8)
        theirs = package(NARROW[name])
        scatter(theirs, gain=1.0)
        ours = SnacDecoder(NARROW[name]).eval()
        missing, others = ours.load_state_dict(theirs.state_dict(), strict=False)
        assert not missing
        assert all(one.startswith(("encoder.", "quantizer.")) for one in others)
        return ours, theirs

    return make


def frames_of(name, frames):
    shape = 1, frames, NARROW[name].dim
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NARROW)
def test_decodes_as_the_package_does_without_its_quantizer(decoders, name):
    ours, theirs = decoders(name)
    latents = frames_of(name, 64)  # whole windows, as the package makes them
    with torch.inference_mode():
        with torch.random.fork_rng([]):
            torch.manual_seed(0)  # the noise that its blocks add
            expected = theirs.decoder(latents.mT)
        state = torch.get_rng_state()
        sound = ours(latents)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(ours(torch.cat([-latents, latents]))[1:], sound)
    assert sound.shape == (1, 1, 64 * math.prod(NARROW[name].strides))
    assert expected.std() > 1e-3
    torch.testing.assert_close(sound, expected)


@pytest.mark.parametrize("name", NARROW)
def test_a_window_that_was_begun_is_filled_by_the_last_frame(decoders, name):
    ours, _ = decoders(name)
    latents, hop = frames_of(name, 40), math.prod(NARROW[name].strides)
    with torch.inference_mode():
        sound = ours(latents)
        assert sound.shape == (1, 1, 40 * hop)
        if NARROW[name].attention:
            filled = torch.cat([latents, latents[:, -1:].expand(-1, 24, -1)], 1)
            assert torch.equal(sound, ours(filled)[..., : 40 * hop])


@pytest.mark.parametrize("name", NARROW)
def test_the_sound_of_a_hop_depends_on_as_many_later_frames_as_said(decoders, name):
    network = decoders(name)[0].double()
    hop, latents = math.prod(NARROW[name].strides), frames_of(name, 128).double()
    farthest = 0
    with torch.inference_mode():
        before = network(latents)[0, 0]
        for cut in range(64, 64 + (NARROW[name].attention or 1)):  # every place in a window
            after = latents.clone()
            after[:, cut:] *= -1
            moved = (network(after)[0, 0] - before).abs() > 1e-12
            farthest = max(farthest, cut - int(moved.nonzero()[0]) // hop)
    assert farthest == NARROW[name].ahead


@pytest.mark.parametrize(("kind", "millions"), [(Snac24k, 19.8), (Snac32k, 54.5), (Snac44k, 54.5)])
def test_the_whole_model_has_as_many_parameters_as_its_authors_say(kind, millions):
    # github.com/hubertsiuzdak/snac, README: this tells how wide the decoder is
    with torch.device("meta"):
        ours = SnacNetwork(MODELS[kind]), SnacDecoder(MODELS[kind])
    found = sum(one.numel() for network in ours for one in network.parameters())
    assert round(found / 1e6, 1) == millions


@pytest.mark.parametrize("kind", MODELS)
def test_figures_and_checkpoints_are_those_of_the_published_model(kind, tmp_path):
    architecture = MODELS[kind]
    encoder = kind(SnacOptions(), Workspace(tmp_path))
    assert encoder.hop == math.prod(architecture.strides)
    assert encoder.sample_rate == architecture.sample_rate
    assert encoder.dim == architecture.dim
    assert encoder.codebooks == len(architecture.vq_strides)
    assert encoder.look_ahead == architecture.ahead
    views = kind(SnacOptions(view="quantized:1"), Workspace(tmp_path))
    assert views.look_ahead == architecture.quantized_ahead
    assert str(encoder.published()) == f"pytorch_model.bin of {architecture.repository}"
    with torch.device("meta"):
        theirs, ours = package(architecture).state_dict(), SnacNetwork(architecture).state_dict()
    with torch.device("meta"):
        decoder = SnacDecoder(architecture).state_dict()
    assert {name: t.shape for name, t in decoder.items()} == {
        name: t.shape for name, t in theirs.items() if name.startswith("decoder.")
    }
    kept = {name: t.shape for name, t in theirs.items() if not name.startswith("decoder.")}
    assert kept == {name: t.shape for name, t in ours.items()}


def test_a_checkpoint_of_the_package_is_read_and_another_refused(loaded, tmp_path):
    torch.manual_seed(1)
    theirs = package(SNAC_24K)
    file = tmp_path / "pytorch_model.bin"
    torch.save(theirs.state_dict(), file)
    encoder = loaded(Snac24k, file)
    wave = noise(9 * 512)
    with torch.inference_mode():
        latents = theirs.encoder(theirs.preprocess(wave))[0, :, :9].T
    assert encode(encoder, wave[0, :, :-100])[0].shape == (9, 768)
    torch.testing.assert_close(encode(encoder, wave[0])[0], latents, atol=1e-5, rtol=1e-4)
    with torch.inference_mode(), torch.random.fork_rng([]):
        torch.manual_seed(0)
        expected = theirs.decoder(latents.T[None])[0]
    torch.testing.assert_close(encoder.decode(latents[None]), expected)
    with pytest.raises(UsageError, match="is no checkpoint of snac-32k"):
        loaded(Snac32k, file)


def test_the_plugin_registers_without_torch():
    registry = load_registry()
    for kind in MODELS:
        assert registry.get("encoder", kind.name).spec.options is SnacOptions
    code = (
        "import sys, latentbench_snac.plugin\n"
        "print([m for m in ('torch', 'numpy', 'pydantic', 'snac') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"
