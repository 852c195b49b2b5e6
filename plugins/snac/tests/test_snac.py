"""The SNAC plugin against the snac package, and how far its frames see."""

import math
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import torch
from latentbench_snac.architecture import SNAC_24K, SNAC_32K, SNAC_44K
from latentbench_snac.encoder import Snac24k, Snac32k, Snac44k
from latentbench_snac.network import SnacNetwork
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
NARROW = {"24k": replace(SNAC_24K, width=8), "32k": replace(SNAC_32K, width=8)}


def package(architecture):
    """The package's own model, made as from its config.json."""
    return SNAC(
        sampling_rate=architecture.sample_rate,
        encoder_dim=architecture.width,
        encoder_rates=list(architecture.strides),
        decoder_dim=64,
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
