"""The base of codec encoders, by a codec small enough to do again in numpy."""

import hashlib
from importlib.metadata import version

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from latentbench.conformance import run_checks
from latentbench.conformance.audio import encode
from latentbench.encoders import CodecOptions
from latentbench.encoders.codec import CodecEncoder
from latentbench.encoders.weights import WebFile
from latentbench.errors import UsageError
from latentbench.plugins import Component, Provider
from latentbench.specs import EncoderSpec
from latentbench.workspace import Workspace

CPU = torch.device("cpu")
HOP, DIM, CODEBOOKS = 80, 3, 2


class ToyNetwork(nn.Module):
    """A linear map of each hop less the next (the last: itself), and a quantizer of 5 codes."""

    def __init__(self, channels):
        super().__init__()
        self.encoder = nn.Linear(channels * HOP, DIM)
        self.quantizer = nn.ParameterList(list(torch.randn(CODEBOOKS, 5, DIM)))

    def forward(self, waves, codebooks):
        hops = waves.unfold(2, HOP, HOP).transpose(1, 2).flatten(2)
        following = torch.cat([hops[:, 1:], hops[:, -1:]], dim=1)
        latents = residual = self.encoder(hops - following)
        if codebooks is None:
            return latents
        for codes in list(self.quantizer)[:codebooks]:
            residual = residual - codes[torch.cdist(residual, codes).argmin(-1)]
        return latents - residual


class Toy(CodecEncoder):
    name = "toy"
    libraries = ("numpy",)
    sample_rate = 8_000
    hop = HOP
    dim = DIM
    look_ahead = 1
    codebooks = CODEBOOKS

    def build(self):
        return ToyNetwork(self.channels)

    def published(self):
        content = hashlib.sha256(b"toy").hexdigest()
        place = self.workspace.cache / "toy.pth"
        return WebFile(url="http://127.0.0.1:9/v1/toy.pth", place=place, sha256=content)


class StereoToy(Toy):
    name = "stereo-toy"
    channels = 2


@pytest.fixture
def toy(tmp_path):
    def make(kind=Toy, **options):
        return kind(CodecOptions(**{"weights": "random", **options}), Workspace(tmp_path))

    return make


@pytest.fixture
def load(toy):
    def load(kind=Toy, **options):
        encoder = toy(kind, **options)
        encoder.load(CPU)
        return encoder

    return load


@pytest.fixture
def checkpoint(tmp_path):
    """A file as a codec's package saves it: encoder and quantizer among other parts."""

    def save(change=lambda state: state):
        generator = torch.Generator().manual_seed(4)
        shapes = {
            "encoder.weight": (DIM, HOP),
            "encoder.bias": (DIM,),
            **{f"quantizer.{n}": (5, DIM) for n in range(CODEBOOKS)},
            "decoder.weight": (7, 7),
        }
        state = {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
        torch.save(change(state), tmp_path / "local.pth")
        return tmp_path / "local.pth"

    return save


def noise(samples, seed=0, channels=1):
    return torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


def test_views_are_the_latents_and_the_sum_of_the_nearest_codes(load, checkpoint):
    file = checkpoint()
    state = {name: tensor.numpy() for name, tensor in torch.load(file).items()}
    wave = noise(20 * HOP)
    hops = wave.numpy().reshape(20, HOP)
    latents = (hops - hops[[*range(1, 20), 19]]) @ state["encoder.weight"].T + state["encoder.bias"]
    expected = {"encoder": latents}
    summed = np.zeros_like(latents)
    for n in range(CODEBOOKS):
        codes = state[f"quantizer.{n}"]
        residual = latents - summed
        distances = ((residual[:, None] - codes) ** 2).sum(-1)
        summed = summed + codes[distances.argmin(1)]
        expected[f"quantized:{n + 1}"] = summed
    for view, rows in expected.items():
        (found,) = encode(load(weights=str(file), view=view), wave)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), rows, atol=1e-4)


def test_the_kit_finds_nothing_to_say(tmp_path):
    factory = f"{__name__}:Toy"
    spec = EncoderSpec(name="toy", summary="a toy", factory=factory, options=CodecOptions)
    component = Component(spec, Provider("latentbench", "0", "tests"))
    options = CodecOptions(weights="random")
    findings = list(run_checks(component, options, Workspace(tmp_path)))
    assert [str(one) for one in findings if one.status == "fail"] == []
    assert {one.check for one in findings if one.status == "skip"} == {
        "batch",
        "decoded_shape",
        "decoder_deterministic",
        "decoder_level",
        "decoder_look_ahead",
        "right_padding",
    }


def test_each_utterance_is_encoded_at_its_own_length(load):
    encoder = load()
    waves = [noise(samples, samples) for samples in (9 * HOP, 1, 4 * HOP + 3)]
    together = encode(encoder, *waves)
    assert [len(rows) for rows in together] == [9, 1, 5]
    for wave, rows in zip(waves, together, strict=True):
        assert torch.equal(rows, encode(encoder, wave)[0])
    assert encoder.max_batch_seconds == 0


def test_mono_audio_fills_both_channels(load):
    encoder = load(StereoToy)
    mono = noise(3 * HOP)
    (expected,) = encode(encoder, mono.expand(2, -1))
    for given in (mono, mono[0]):
        assert torch.equal(encode(encoder, given)[0], expected)


def test_audio_it_cannot_take_is_refused(load, toy):
    lengths = torch.tensor([HOP])
    with pytest.raises(ValueError, match=r"^toy takes 1 channel\(s\), not 2$"):
        load().encode(torch.zeros(1, 2, HOP), lengths)
    with pytest.raises(ValueError, match="81 samples are no whole number of 80"):
        load().encode(torch.zeros(1, HOP + 1), lengths)
    with pytest.raises(RuntimeError, match=r"load\(\) comes before encode\(\)"):
        toy().encode(torch.zeros(1, HOP), lengths)


def test_nothing_to_encode_gives_no_frames(load):
    latents, frames = load().encode(torch.zeros(2, 0), torch.zeros(2, dtype=torch.int64))
    assert latents.shape == (2, 0, DIM)
    assert frames.tolist() == [0, 0]


def test_random_weights_are_stamped_seeded_and_leave_the_generator_alone(load, toy):
    before = torch.random.get_rng_state()
    first, again, other = (load(weights_seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    wave = noise(6 * HOP)
    assert torch.equal(encode(first, wave)[0], encode(again, wave)[0])
    assert not torch.equal(encode(first, wave)[0], encode(other, wave)[0])
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert first.stamps == ("random weights",)
    assert toy(weights="pretrained").stamps == ()


def test_the_fingerprint_says_all_that_changes_latents(load, checkpoint):
    class Installed(Toy):
        distribution = "latentbench"

    common = {
        "precision": "float32",
        "numpy": np.__version__,
        "torch": torch.__version__,
        "device": "cpu",
    }
    own = {"encoder": "toy", "weights": "random, seed 3", "view": "quantized:2"}
    assert load(weights_seed=3, view="quantized:2").fingerprint() == own | common
    file = checkpoint()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    own = {
        "encoder": f"latentbench {version('latentbench')} toy",
        "weights": f"sha256:{digest}",
        "view": "encoder",
    }
    assert load(Installed, weights=str(file)).fingerprint() == own | common


def test_a_gpu_takes_larger_batches_where_the_codec_says_so(toy):
    class Batched(Toy):
        max_batch_seconds = 16.0
        gpu_batch_seconds = 60.0

    for kind, seconds in ((Batched, 60.0), (Toy, 0.0)):
        encoder = toy(kind)
        encoder.load(torch.device("meta"))  # as good as any device that is not the processor
        assert encoder.max_batch_seconds == seconds
    encoder = toy(Batched)
    encoder.load(CPU)
    assert encoder.max_batch_seconds == 16.0


@pytest.mark.parametrize("view", ["quantised:2", "quantized:0", "quantized:3", "quantized", ""])
def test_an_unknown_view_names_the_known_ones(toy, view):
    with pytest.raises(UsageError, match=f"encoder.view={view} is no view of this toy") as caught:
        toy(view=view)
    assert caught.value.hint == "Known: encoder, and quantized:1 to quantized:2."


def test_it_is_known_beforehand_whether_a_download_is_needed(toy, tmp_path):
    for weights, at_hand in (("random", True), ("/nowhere.pth", True), ("pretrained", False)):
        assert toy(weights=weights).weights_at_hand() is at_hand, weights
    (tmp_path / "toy.pth").write_bytes(b"toy")
    assert toy(weights="pretrained").weights_at_hand()


class NotBuilt(Toy):
    def build(self):
        raise AssertionError("weights are looked for before what takes seconds to import")


def test_without_network_the_error_says_how_to_go_on(toy, tmp_path):
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:9/v1/toy\.pth cannot be down") as caught:
        toy(NotBuilt, weights="pretrained").load(CPU)
    assert caught.value.hint == (
        f"Fetch it on a machine with network, then copy it to '{tmp_path / 'toy.pth'}' "
        "or pass --set encoder.weights=/path/to/toy.pth; "
        "or take --set encoder.weights=random, a control with the same architecture."
    )


@pytest.mark.parametrize(
    ("name", "found"), [("nowhere.pth", "is not there"), ("", r"holds no toy\.pth, but nothing")]
)
def test_weights_that_are_no_file_are_named(toy, tmp_path, name, found):
    given = str(tmp_path / name)
    with pytest.raises(UsageError, match=f"weights={given}: '{given}' {found}") as caught:
        toy(NotBuilt, weights=given).load(CPU)
    assert "Known: pretrained, random, a folder with toy.pth, or a file" in caught.value.hint
    assert "http://127.0.0.1:9/v1/toy.pth" in caught.value.hint


def test_a_checkpoint_that_would_run_code_is_refused(load, tmp_path):
    class Harm:
        def __reduce__(self):
            return (tmp_path.joinpath("harmed").touch, ())

    file = tmp_path / "harm.pth"
    torch.save({"encoder.bias": Harm()}, file)
    with pytest.raises(UsageError, match="cannot be loaded: no readable checkpoint"):
        load(weights=str(file))
    assert not (tmp_path / "harmed").exists()


def test_a_truncated_checkpoint_is_named(load, checkpoint):
    file = checkpoint()
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(UsageError, match=r"local\.pth' cannot be loaded: no readable checkpoint"):
        load(weights=str(file))


def less(*names):
    return lambda state: {name: state[name] for name in state if name not in names}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (less("encoder.bias", "quantizer.1"), "2 of 4 missing: encoder.bias, quantizer.1"),
        (
            lambda state: state | {"quantizer.2": state["quantizer.1"]},
            "1 beside 4 not known: quantizer.2",
        ),
        (
            lambda state: state | {"quantizer.0": torch.zeros(6, DIM)},
            "1 of another shape: quantizer.0 [6, 3] instead of [5, 3]",
        ),
        (
            lambda state: state | {"encoder.bias": 1.5},
            "1 of another shape: encoder.bias no tensor instead of [3]",
        ),
        (
            lambda state: [state],
            "4 of 4 missing: encoder.weight, encoder.bias, quantizer.0, …",
        ),
        (lambda state: dict(enumerate(state)), "4 of 4 missing"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(load, checkpoint, change, found):
    with pytest.raises(UsageError, match="is no checkpoint of toy") as caught:
        load(weights=str(checkpoint(change)))
    assert found in caught.value.message
    assert caught.value.hint == "toy takes http://127.0.0.1:9/v1/toy.pth."


def test_a_folder_with_the_checkpoint_and_a_safetensors_file_are_taken(load, checkpoint, tmp_path):
    wave, file = noise(3 * HOP), checkpoint()
    (expected,) = encode(load(weights=str(file)), wave)
    folder = tmp_path / "copied"
    folder.mkdir()
    (folder / "toy.pth").write_bytes(file.read_bytes())
    save_file(torch.load(file), folder / "model.safetensors")
    for given in (folder, folder / "model.safetensors"):
        assert torch.equal(encode(load(weights=str(given)), wave)[0], expected)


def test_a_checkpoint_may_be_wrapped(load, checkpoint):
    class Wrapped(Toy):
        def state_dict_of(self, checkpoint):
            return checkpoint["model"]

    wave = noise(3 * HOP)
    (expected,) = encode(load(weights=str(checkpoint())), wave)
    wrapped = checkpoint(lambda state: {"model": state, "epoch": 3})
    assert torch.equal(encode(load(Wrapped, weights=str(wrapped)), wave)[0], expected)
