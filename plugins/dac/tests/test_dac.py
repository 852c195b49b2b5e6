"""The DAC plugin against transformers, with seeded weights."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from latentbench_dac import encoder as encoder_module
from latentbench_dac.encoder import Dac16k, Dac24k, Dac44k
from latentbench_dac.network import DacNetwork
from latentbench_dac.plugin import DacOptions
from transformers import DacConfig, DacModel

from latentbench.conformance.audio import encode
from latentbench.errors import UsageError
from latentbench.plugins import load_registry
from latentbench.workspace import Workspace

with warnings.catch_warnings():
    # dac and what it imports were written for older Pythons
    for category in (DeprecationWarning, FutureWarning, SyntaxWarning):
        warnings.simplefilter("ignore", category)
    from dac.model.dac import DAC

MODELS = (Dac16k, Dac24k, Dac44k)
STRIDES = (Dac16k, Dac44k)  # the 24 kHz model has those of the 16 kHz one


def noise(samples, seed=0):
    generator = torch.Generator().manual_seed(seed)
    wave = torch.randn(samples, generator=generator).cumsum(-1)
    return 0.02 * (wave - wave.roll(50))


@pytest.fixture(scope="module")
def files(tmp_path_factory, scatter):
    """Files as the package would save them."""
    folder = tmp_path_factory.mktemp("dac")
    for kind in MODELS:
        torch.manual_seed(7)
        network = DacNetwork(kind.strides, kind.codebooks)
        scatter(network, gain=1.3)
        state = network.state_dict() | {"decoder.model.0.bias": torch.zeros(1536)}
        kwargs = {"sample_rate": kind.sample_rate, "n_codebooks": kind.codebooks}
        checkpoint = {"state_dict": state, "metadata": {"kwargs": kwargs}}
        torch.save(checkpoint, folder / f"{kind.name}.pth")
    return {kind: folder / f"{kind.name}.pth" for kind in MODELS}


def in_transformers(file, kind):
    """The same weights, weight norm folded, under the names and in the code of transformers."""
    model = DacModel(
        DacConfig(
            downsampling_ratios=list(kind.strides),
            n_codebooks=kind.codebooks,
            sampling_rate=kind.sample_rate,
            decoder_hidden_size=32,
        )
    ).eval()
    folded = dict(torch.load(file, weights_only=True)["state_dict"])
    for name in [name for name in folded if name.endswith("weight_v")]:
        direction = folded.pop(name)
        gain = folded.pop(name[:-1] + "g")
        norm = direction.flatten(1).norm(dim=1).reshape(gain.shape)
        folded[name[:-2]] = gain * direction / norm
    units = {0: "snake1", 1: "conv1", 2: "snake2", 3: "conv2"}
    blocks = {0: "res_unit1", 1: "res_unit2", 2: "res_unit3", 3: "snake1", 4: "conv1"}
    outer = {0: "conv1", 5: "snake1", 6: "conv2"}
    renamed = {}
    for name, tensor in folded.items():
        parts = re.match(r"encoder\.block\.(\d)(?:\.block\.(\d))?(?:\.block\.(\d))?\.(\w+)$", name)
        if parts is None:
            renamed[name] = tensor
            continue
        block, part, unit, leaf = parts.groups()
        path = [f"block.{int(block) - 1}" if part else outer[int(block)]]
        path += [blocks[int(part)]] if part else []
        path += [units[int(unit)]] if unit else []
        renamed[".".join(["encoder", *path, leaf])] = tensor
    renamed.pop("decoder.model.0.bias")
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    assert not unexpected
    assert all(name.startswith("decoder.") for name in missing)
    return model


@pytest.mark.parametrize("kind", MODELS)
def test_both_views_agree_with_transformers(load, files, kind, assert_same_codes):
    wave = noise(24 * kind.hop)
    model = in_transformers(files[kind], kind)
    with torch.inference_mode():
        latents = model.encoder(wave[None, None])[0].T
        quantized = model.quantizer(latents.T[None], 5)[0][0].T
    (ours,) = encode(load(kind, files[kind]), wave)
    assert ours.shape == (24, 1024)
    assert 0.2 < ours.std() < 5
    torch.testing.assert_close(ours, latents, atol=1e-4, rtol=0)
    (ours,) = encode(load(kind, files[kind], view="quantized:5"), wave)
    assert_same_codes(ours, quantized)


@pytest.mark.parametrize("kind", STRIDES)
def test_decodes_as_the_package_does_without_its_quantizer(loaded, scatter, kind, tmp_path):
    with warnings.catch_warnings():
        # the package builds its networks with torch's older weight norm
        warnings.filterwarnings("ignore", ".*weight_norm.*deprecated", FutureWarning)
        model = DAC(
            encoder_rates=list(kind.strides),
            decoder_rates=list(reversed(kind.strides)),
            n_codebooks=kind.codebooks,
        ).eval()
    torch.manual_seed(7)
    scatter(model, gain=1.0)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "whole.pth")
    encoder = loaded(kind, tmp_path / "whole.pth")
    latents = torch.randn(1, 24, 1024, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model.decode(latents.mT)[:, 0]
    sound = encoder.decode(latents)
    assert sound.shape == (1, 24 * kind.hop)
    assert expected.std() > 1e-3
    lacking = sound.shape[1] - expected.shape[1]
    assert lacking == (0 if kind is Dac44k else 8)  # of a stride of 5, in samples of its own rate
    torch.testing.assert_close(sound[:, : expected.shape[1]], expected)
    assert not sound[:, expected.shape[1] :].any()


@pytest.mark.parametrize("kind", STRIDES)
def test_the_sound_of_a_hop_depends_on_as_many_later_frames_as_said(loaded, kind):
    ahead = kind.hop - 1 + 3  # the last sample of hop 0, by the last convolution of kernel 7
    for stride in kind.strides:
        # three of kernel 7 dilated by 1, 3, 9; then output o sees inputs up to (o + padding) / s
        ahead = (ahead + 3 * (1 + 3 + 9) + -(-stride // 2)) // stride
    ahead += 3
    assert kind.decoder_look_ahead == ahead
    encoder = loaded(kind, "random")
    latents = torch.randn(1, 26, 1024, generator=torch.Generator().manual_seed(0))
    changed = latents.clone()
    changed[:, 14:] += 1.0
    before, after = encoder.decode(latents), encoder.decode(changed)
    assert torch.equal(before[:, : (14 - ahead) * kind.hop], after[:, : (14 - ahead) * kind.hop])


def reach(strides):
    """Samples after the start of its hop that a frame sees: the sum over all layers.

    Padding is a fixed number of samples, so it shifts a layer's window left by that many.
    """
    samples, jump = 3, 1
    for stride in strides:
        samples += (3 * (1 + 3 + 9) + 2 * stride - 1 - -(-stride // 2)) * jump
        jump *= stride
    return samples + jump


@pytest.mark.parametrize("kind", STRIDES)
def test_look_ahead_is_what_the_layers_add_up_to(load, files, kind):
    seen = reach(kind.strides)
    assert seen // kind.hop == kind.look_ahead == 8
    encoder = load(kind, files[kind])
    wave, t = noise(15 * kind.hop), 4
    (before,) = encode(encoder, wave)
    beyond, within = wave.clone(), wave.clone()
    beyond[(t + 9) * kind.hop :] += 1.0
    within[(t + 8) * kind.hop : t * kind.hop + seen + 1] += 1.0
    torch.testing.assert_close(
        encode(encoder, beyond)[0][: t + 1], before[: t + 1], atol=1e-6, rtol=0
    )
    assert (encode(encoder, within)[0][t] - before[t]).abs().max() > 1e-5


def test_a_bare_state_dict_is_no_checkpoint(load, files, tmp_path):
    torch.save(torch.load(files[Dac16k])["state_dict"], tmp_path / "bare.pth")
    with pytest.raises(UsageError, match="is no checkpoint of dac-16k"):
        load(Dac16k, tmp_path / "bare.pth")


@pytest.mark.parametrize("kind", MODELS)
def test_weights_come_from_where_the_package_gets_and_keeps_them(kind, tmp_path, monkeypatch):
    from dac import utils

    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    encoder, model = kind(DacOptions(), Workspace()), f"{kind.name.removeprefix('dac-')}hz"
    assert not encoder.weights_at_hand()
    tag = utils.__MODEL_LATEST_TAGS__[(model, "8kbps")]
    published = encoder.published()
    assert published.url == utils.__MODEL_URLS__[(model, tag, "8kbps")]
    published.place.parent.mkdir(parents=True)
    published.place.write_bytes(b"weights")
    assert encoder.weights_at_hand()
    assert utils.download(model, "8kbps") == published.place
    assert published.place.read_bytes() == b"weights"


def test_missing_weights_are_found_before_seconds_of_import(loaded, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(encoder_module, "RELEASES", "http://127.0.0.1:9/")
    monkeypatch.setitem(sys.modules, "latentbench_dac.network", None)  # its import would fail
    with pytest.raises(UsageError, match=r"9/0\.0\.4/weights_24khz\.pth cannot be down") as caught:
        loaded(Dac24k, "pretrained")
    assert "weights_24khz_8kbps_0.0.4.pth" in caught.value.hint
    assert "--set encoder.weights=/path/to/weights_24khz.pth" in caught.value.hint
    with pytest.raises(UsageError, match=r"nowhere\.pth' is not there"):
        loaded(Dac24k, tmp_path / "nowhere.pth")


def test_the_plugin_registers_without_torch():
    registry = load_registry()
    for kind in MODELS:
        assert registry.get("encoder", kind.name).spec.options is DacOptions
    code = (
        "import sys, latentbench_dac.plugin\n"
        "print([m for m in ('torch', 'numpy', 'pydantic', 'dac') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"
