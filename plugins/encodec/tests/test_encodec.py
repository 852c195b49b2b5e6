"""The EnCodec plugin against transformers and the encodec package, with seeded weights."""

import re
import subprocess
import sys
import warnings

import pytest
import torch
from latentbench_encodec import encoder as encoder_module
from latentbench_encodec.encoder import Encodec24k, Encodec48k, normalised
from latentbench_encodec.network import EncodecNetwork
from latentbench_encodec.plugin import EncodecOptions
from transformers import EncodecConfig
from transformers import EncodecModel as TransformersEncodec

from latentbench.conformance.audio import encode
from latentbench.encoders import Segment
from latentbench.errors import UsageError
from latentbench.plugins import load_registry
from latentbench.workspace import Workspace

HOP = 320
CPU = torch.device("cpu")


def noise(*shape, seed=0):
    """Noise that grows louder and changes colour, as no two frames of audio are alike."""
    generator = torch.Generator().manual_seed(seed)
    wave = torch.randn(*shape, generator=generator).cumsum(-1)
    wave = wave - wave.roll(50, -1)
    return 0.02 * wave * torch.linspace(0.2, 1.0, shape[-1])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, scatter):
    """Saves a file as the package would."""

    def save(kind):
        torch.manual_seed(7)
        network = EncodecNetwork(kind.channels, kind.codebooks, causal=kind.causal)
        scatter(network, gain=2.0)
        network.draw_codebooks(7)
        file = tmp_path_factory.mktemp("encodec") / f"{kind.name}.th"
        torch.save(network.state_dict(), file)
        return file

    return save


@pytest.fixture(scope="module")
def file_24k(checkpoint):
    return checkpoint(Encodec24k)


@pytest.fixture(scope="module")
def file_48k(checkpoint):
    return checkpoint(Encodec48k)


def in_transformers(file, **config):
    """The same weights under the names and in the code of transformers."""
    model = TransformersEncodec(EncodecConfig(**config)).eval()
    renamed = {}
    for name, tensor in torch.load(file, weights_only=True).items():
        for old, new in (
            (r"^encoder\.model\.", "encoder.layers."),
            (r"\.conv\.conv\.", ".conv."),
            (r"\.conv\.norm\.", ".norm."),
            (r"weight_g$", "parametrizations.weight.original0"),
            (r"weight_v$", "parametrizations.weight.original1"),
            (r"^quantizer\.vq\.(.*)\._codebook\.", r"quantizer.\1.codebook."),
        ):
            name = re.sub(old, new, name)  # noqa: PLW2901 - each rule works on the last
        renamed[name] = tensor
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    assert not unexpected
    assert all(name.startswith("decoder.") for name in missing)
    return model


def test_24k_agrees_with_transformers_in_both_views(load, file_24k, assert_same_codes):
    wave = noise(1, 60 * HOP)
    model = in_transformers(file_24k)
    with torch.inference_mode():
        latents = model.encoder(wave[None])
        codes = model.encode(wave[None], bandwidth=6.0).audio_codes[0]
        quantized = model.quantizer.decode(codes.transpose(0, 1))
    (ours,) = encode(load(Encodec24k, file_24k), wave)
    torch.testing.assert_close(ours, latents[0].T, atol=1e-4, rtol=0)
    assert ours.std(dim=0).mean() > 0.1
    (ours,) = encode(load(Encodec24k, file_24k, view="quantized:8"), wave)
    assert_same_codes(ours, quantized[0].T)


def test_48k_agrees_with_transformers_chunk_by_chunk_in_both_views(
    load, file_48k, assert_same_codes
):
    stereo = noise(2, 47_520 + 48_000)
    model = in_transformers(
        file_48k,
        sampling_rate=48_000,
        audio_channels=2,
        normalize=True,
        chunk_length_s=1.0,
        overlap=0.01,
        norm_type="time_group_norm",
        use_causal_conv=False,
        target_bandwidths=[3.0, 6.0, 12.0, 24.0],
    )
    seen = []
    model.encoder.register_forward_hook(lambda _module, _given, made: seen.append(made[0].T))
    with torch.inference_mode():
        encoded = model.encode(stereo[None], bandwidth=6.0)
        quantized = [
            model.quantizer.decode(codes.transpose(0, 1))[0].T for codes in encoded.audio_codes
        ]
    encoder = load(Encodec48k, file_48k)
    segments = encoder.segments(stereo.shape[1])
    tail = segments[-1].frames  # transformers repeats code 0 where the last chunk is short
    (ours,) = encode(encoder, stereo)
    torch.testing.assert_close(ours, torch.cat(seen), atol=1e-4, rtol=0)
    (ours,) = encode(load(Encodec48k, file_48k, view="quantized:4"), stereo)
    expected = torch.cat([*quantized[:-1], quantized[-1][:tail]])
    assert_same_codes(ours, expected)


def test_48k_cuts_and_scales_chunks_as_the_package_does(load, file_48k):
    from encodec.model import EncodecModel

    with warnings.catch_warnings():
        # the package builds its decoder with torch's older weight norm
        warnings.filterwarnings("ignore", ".*weight_norm.*deprecated", FutureWarning)
        model = EncodecModel.encodec_model_48khz(pretrained=False)
    model.load_state_dict(torch.load(file_48k, weights_only=True), strict=False)
    model.set_target_bandwidth(3.0)
    stereo = noise(2, 47_520 + 1_000, seed=1)
    with torch.inference_mode():
        frames = model.encode(stereo[None])
        expected = [model.quantizer.decode(codes.transpose(0, 1))[0].T for codes, _ in frames]
    encoder = load(Encodec48k, file_48k, view="quantized:2")
    assert encoder.segments(stereo.shape[1]) == (Segment(0, 150), Segment(47_520, 4))
    assert [len(rows) for rows in expected] == [150, 4]
    (ours,) = encode(encoder, stereo)
    torch.testing.assert_close(ours, torch.cat(expected), atol=1e-4, rtol=0)
    for (_, scale), start in zip(frames, (0, 47_520), strict=True):
        chunk, ours = normalised(stereo[None, :, start : start + 48_000])
        torch.testing.assert_close(ours[:, None], scale)
        torch.testing.assert_close(
            chunk * ours[:, None, None], stereo[None, :, start:][..., :48_000]
        )


@pytest.mark.parametrize("samples", [1, 319, 320, 321, 2_500])
def test_48k_short_pieces_give_as_many_frames_as_hops_begun(load, samples):
    encoder = load(Encodec48k, "random")
    (latents,) = encode(encoder, noise(2, samples))
    assert latents.shape == (-(-samples // HOP), 128)
    assert latents.isfinite().all()


@pytest.mark.parametrize("samples", [0, 1, 47_520, 47_521, 48_000, 100_000, 480_000])
def test_48k_segments_cover_every_sample_within_their_chunks(samples):
    encoder = Encodec48k(EncodecOptions(), Workspace())
    segments = encoder.segments(samples)
    assert [segment.start for segment in segments] == [47_520 * i for i in range(len(segments))]
    assert all(segment.frames <= 150 for segment in segments)
    assert all(segment.frames == 150 for segment in segments[:-2])
    if segments:
        last = segments[-1]
        assert last.start < samples <= last.start + last.frames * HOP
        assert last.start + (last.frames - 1) * HOP < samples
    assert encoder.frame_count(samples) == sum(segment.frames for segment in segments)


def package_24k():
    """The package's own model, untrained."""
    from encodec.model import EncodecModel

    with warnings.catch_warnings():
        # the package builds its decoder with torch's older weight norm
        warnings.filterwarnings("ignore", ".*weight_norm.*deprecated", FutureWarning)
        return EncodecModel.encodec_model_24khz(pretrained=False)


def test_24k_decodes_as_the_package_does_without_its_quantizer(loaded, scatter, tmp_path):
    torch.manual_seed(7)
    model = package_24k().eval()
    scatter(model, gain=1.0)
    torch.save(model.state_dict(), tmp_path / "whole.th")
    encoder = loaded(Encodec24k, tmp_path / "whole.th")
    latents = torch.randn(2, 30, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model.decoder(latents.mT)[:, 0]
    sound = encoder.decode(latents)
    assert sound.shape == (2, 30 * HOP)
    assert expected.std() > 1e-3
    torch.testing.assert_close(sound, expected)
    changed = latents.clone()
    changed[:, 12:] += 1.0
    moved = (encoder.decode(changed) - sound).abs().amax(0) > 1e-6 * expected.std()
    assert int(moved.nonzero()[0]) // HOP == 12  # causal: the hop of the first changed frame


def test_a_checkpoint_without_a_decoder_encodes_but_is_not_heard(load, file_24k):
    encoder = load(Encodec24k, file_24k)
    with pytest.raises(
        UsageError, match=r"holds no decoder of encodec-24k: .*decoder\.model"
    ) as no:
        encoder.decode(torch.zeros(1, 2, 128))
    assert "encodec_24khz-d7cc33bc.th" in no.value.hint


def test_24k_utterances_alone_and_in_a_batch_agree(load, file_24k):
    encoder = load(Encodec24k, file_24k)
    waves = [noise(1, samples, seed=i) for i, samples in enumerate((9_600, 320, 1_921, 2_240, 100))]
    for wave, together in zip(waves, encode(encoder, *waves), strict=True):
        torch.testing.assert_close(together, encode(encoder, wave)[0], atol=1e-5, rtol=1e-5)


def test_48k_utterances_alone_and_in_a_batch_agree(load, file_48k):
    encoder = load(Encodec48k, file_48k)
    waves = [noise(2, samples, seed=i) for i, samples in enumerate((50_000, 9_000, 48_000))]
    for wave, together in zip(waves, encode(encoder, *waves), strict=True):
        torch.testing.assert_close(together, encode(encoder, wave)[0], atol=1e-5, rtol=1e-5)


def test_24k_frames_see_no_later_audio_but_for_the_reflected_start(load, file_24k):
    encoder = load(Encodec24k, file_24k)
    wave = noise(1, 24 * HOP)
    (before,) = encode(encoder, wave)
    for frame in range(24):
        changed = wave.clone()
        changed[:, frame * HOP : (frame + 1) * HOP] += 0.05
        moved = (encode(encoder, changed)[0] - before).abs().amax(dim=1) > 1e-6
        first = int(moved.nonzero()[0])
        assert first == (0 if frame <= 6 else frame)
    assert encoder.look_ahead == 0


def test_48k_frames_see_their_whole_chunk_and_nothing_else(load, file_48k):
    encoder = load(Encodec48k, file_48k)
    stereo = noise(2, 2 * 47_520)
    (before,) = encode(encoder, stereo)
    changed = stereo.clone()
    changed[:, 47_400:47_500] += 0.1  # in the first chunk, before the second begins
    (after,) = encode(encoder, changed)
    moved = (after - before).abs().amax(dim=1) > 1e-6
    assert moved[:150].all()
    assert not moved[150:].any()
    assert encoder.look_ahead == 149


def test_48k_latents_do_not_depend_on_loudness_and_mono_fills_both_channels(load, file_48k):
    encoder = load(Encodec48k, file_48k)
    mono = noise(1, 30_000)
    (both,) = encode(encoder, mono.expand(2, -1))
    torch.testing.assert_close(encode(encoder, mono)[0], both)
    torch.testing.assert_close(encode(encoder, mono[0])[0], both)
    torch.testing.assert_close(encode(encoder, 8 * mono)[0], both, atol=1e-4, rtol=0)
    (silent,) = encode(encoder, torch.zeros(2, 30_000))
    assert silent.isfinite().all()


def test_more_codebooks_bring_the_quantized_view_closer_to_the_encoder(load):
    wave = noise(1, 40 * HOP)
    (exact,) = encode(load(Encodec24k, "random"), wave)
    errors = []
    for n in (1, 8):
        (quantized,) = encode(load(Encodec24k, "random", view=f"quantized:{n}"), wave)
        assert len(quantized.unique(dim=0)) > 1
        errors.append(float((quantized - exact).square().mean()))
    assert errors[1] < errors[0]


def test_random_weights_follow_the_seed(loaded):
    one, same, other = (
        loaded(Encodec24k, "random", weights_seed=seed, view="quantized:1") for seed in (0, 0, 1)
    )
    wave = noise(1, 20 * HOP)
    assert torch.equal(encode(one, wave)[0], encode(same, wave)[0])
    assert not torch.equal(encode(one, wave)[0], encode(other, wave)[0])
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    assert one.stamps == ("random weights",)


@pytest.mark.parametrize("kind", [Encodec24k, Encodec48k])
def test_weights_come_from_where_the_package_gets_and_keeps_them(kind, tmp_path, monkeypatch):
    from encodec.model import EncodecModel, _get_checkpoint_url

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    encoder = kind(EncodecOptions(), Workspace())
    assert not encoder.weights_at_hand()
    published, name = encoder.published(), kind.checkpoint
    assert published.url == _get_checkpoint_url(encoder_module.ROOT_URL, name)
    assert re.fullmatch(f".*-{published.sha256}.th", name)
    assert len(published.sha256) == 8
    published.place.parent.mkdir(parents=True)
    torch.save({"weights": torch.arange(3)}, published.place)
    assert encoder.weights_at_hand()
    assert EncodecModel._get_pretrained(name)["weights"].tolist() == [0, 1, 2]
    monkeypatch.setattr(encoder_module, "ROOT_URL", "http://127.0.0.1:9/")
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:9.* cannot be downloaded"):
        encoder.load(CPU)
    assert published.place.with_name(f"{name}.damaged").is_file()


@pytest.mark.parametrize("kind", [Encodec24k, Encodec48k])
def test_the_packages_checkpoint_has_all_we_ask_for_and_no_more(kind):
    from encodec.model import EncodecModel

    make = {24_000: EncodecModel.encodec_model_24khz, 48_000: EncodecModel.encodec_model_48khz}
    with warnings.catch_warnings():
        # the package builds its decoder with torch's older weight norm
        warnings.filterwarnings("ignore", ".*weight_norm.*deprecated", FutureWarning)
        whole = make[kind.sample_rate](pretrained=False).state_dict()
    held = {name: tensor.shape for name, tensor in whole.items()}
    ours = EncodecNetwork(kind.channels, kind.codebooks, causal=kind.causal).state_dict()
    assert {name: shape for name, shape in held.items() if not name.startswith("decoder.")} == {
        name: tensor.shape for name, tensor in ours.items()
    }


def test_the_plugin_registers_without_torch():
    registry = load_registry()
    for name in ("encodec-24k", "encodec-48k"):
        assert registry.get("encoder", name).spec.options is EncodecOptions
    code = (
        "import sys, latentbench_encodec.plugin\n"
        "print([m for m in ('torch', 'numpy', 'pydantic', 'encodec') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"
