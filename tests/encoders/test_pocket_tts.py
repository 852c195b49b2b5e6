import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from latentbench.conformance.audio import encode
from latentbench.encoders.plugin import PocketTTSOptions
from latentbench.encoders.pocket_tts import WEIGHTS, PocketTTSEncoder
from latentbench.errors import UsageError
from latentbench.progress import SilentProgress
from latentbench.workspace import Workspace

transformers = pytest.importorskip("transformers", "5.23", reason="transformers is older than 5.23")

HOP = 1920


def noise(frames, seed=1, samples=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(frames * HOP + samples, generator=generator)


@pytest.fixture
def pocket(pocket_folder):
    def make(**options):
        options = {"weights": str(pocket_folder), **options}
        encoder = PocketTTSEncoder(PocketTTSOptions(**options), Workspace())
        encoder.load(torch.device("cpu"))
        return encoder

    return make


def in_original_names(weights, config):
    """What Kyutai's own code calls the weights: stacked projections, rotary pairs side by side."""
    head, original = config["head_dim"], {}
    parts = {
        "input_layernorm": "norm1",
        "post_attention_layernorm": "norm2",
        "mlp.fc1": "linear1",
        "mlp.fc2": "linear2",
        "self_attn.o_proj": "self_attn.out_proj",
        "self_attn_layer_scale": "layer_scale_1",
        "mlp_layer_scale": "layer_scale_2",
    }
    for name, tensor in weights.items():
        if name.startswith("encoder.layers."):
            original[f"mimi.{name.replace('encoder.layers', 'encoder.model')}"] = tensor
        elif name.startswith("downsample."):
            original["mimi.downsample.conv.conv.weight"] = tensor
        elif "_proj" not in name or "o_proj" in name:
            for ours, theirs in parts.items():
                name = name.replace(f".{ours}.", f".{theirs}.")  # noqa: PLW2901 - renamed in steps
            original["mimi." + name.replace("transformer.", "transformer.transformer.", 1)] = tensor
    interleaved = [i // 2 + (i % 2) * head // 2 for i in range(head)]
    for layer in range(config["num_hidden_layers"]):
        own = f"encoder_transformer.layers.{layer}.self_attn"
        q, k, v = (weights[f"{own}.{part}_proj.weight"] for part in "qkv")
        rows = [first + i for first in range(0, len(q), head) for i in interleaved]
        name = f"mimi.encoder_transformer.transformer.layers.{layer}.self_attn.in_proj.weight"
        original[name] = torch.cat([q[rows], k[rows], v])
    return original


def test_agrees_with_a_second_implementation(pocket, reference, pocket_weights):
    audio = noise(20)  # 1.6 s: longer than the 1.25 s each layer of the transformer sees
    expected = reference.encode_pocket_tts(pocket_weights, reference.POCKET_TTS_SMALL, audio)
    (found,) = encode(pocket(), audio)
    assert found.dtype == torch.float32
    assert found.shape == (20, 6)
    assert (found - expected).abs().max() < 1e-4


def test_agrees_with_the_model_of_transformers(pocket, pocket_folder):
    config = transformers.PocketTTSAudioTokenizerConfig.from_pretrained(pocket_folder)
    config.decoder_config = None
    model = transformers.PocketTTSAudioTokenizerModel(config)
    saved = load_file(pocket_folder / "model.safetensors")
    assert not model.load_state_dict(saved, strict=False).unexpected_keys
    audio = noise(12)
    with torch.no_grad():
        expected = model.eval().encode(audio[None, None]).latents[0]
    (found,) = encode(pocket(), audio)
    assert (found - expected).abs().max() < 1e-5


def test_the_published_file_and_one_saved_by_transformers_give_the_same(
    pocket, reference, pocket_weights, tmp_path
):
    original = in_original_names(pocket_weights, reference.POCKET_TTS_SMALL)
    original |= {"mimi.decoder.model.0.conv.weight": torch.ones(2), "flow_lm.bos": torch.ones(2)}
    folder = tmp_path / "languages" / "english"
    folder.mkdir(parents=True)
    save_file(
        {name: tensor.contiguous() for name, tensor in original.items()},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(reference.POCKET_TTS_SMALL), "utf-8")
    audio = noise(20)
    assert torch.equal(encode(pocket(weights=str(tmp_path)), audio)[0], encode(pocket(), audio)[0])


def test_the_checkpoint_without_an_encoder_is_refused(pocket, reference, pocket_weights, tmp_path):
    original = in_original_names(pocket_weights, reference.POCKET_TTS_SMALL)
    save_file(
        {name: torch.zeros(tensor.shape) for name, tensor in original.items()},
        tmp_path / "model.safetensors",
    )
    (tmp_path / "config.json").write_text(json.dumps(reference.POCKET_TTS_SMALL), "utf-8")
    with pytest.raises(
        UsageError, match="all zeros: this is the checkpoint without voice"
    ) as error:
        pocket(weights=str(tmp_path))
    assert "languages/english/model.safetensors of kyutai/pocket-tts" in error.value.hint


def test_missing_weights_are_named(pocket, pocket_folder, tmp_path):
    tensors = load_file(pocket_folder / "model.safetensors")
    del tensors["encoder.downsample.conv.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((pocket_folder / "config.json").read_bytes())
    with pytest.raises(UsageError, match=r"1 of 47 missing: downsample\.conv\.weight"):
        pocket(weights=str(tmp_path))


@pytest.fixture(params=["original", "saved"])
def named_either_way(request, pocket_folder, pocket_weights, reference):
    """The narrow codec's weights as Kyutai names them, and as transformers does."""
    if request.param == "saved":
        return load_file(pocket_folder / "model.safetensors")
    return in_original_names(pocket_weights, reference.POCKET_TTS_SMALL)


def test_more_layers_than_the_config_says_are_not_dropped(
    pocket, pocket_folder, named_either_way, tmp_path
):
    tensors = dict(named_either_way)
    for name in [name for name in tensors if ".layers.1." in name and "transformer" in name]:
        tensors[name.replace("layers.1", "layers.2")] = tensors[name].clone()
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((pocket_folder / "config.json").read_bytes())
    with pytest.raises(UsageError, match=r"12 beside 47 not known: encoder_transformer\.layers\.2"):
        pocket(weights=str(tmp_path))


@pytest.mark.parametrize("shape", [(96,), (95, 32)])
def test_stacked_projections_of_other_heads_are_named(
    pocket, pocket_weights, reference, tmp_path, shape
):
    tensors = in_original_names(pocket_weights, reference.POCKET_TTS_SMALL)
    name = "mimi.encoder_transformer.transformer.layers.0.self_attn.in_proj.weight"
    tensors[name] = torch.ones(shape)
    save_file({one: tensors[one].contiguous() for one in tensors}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(reference.POCKET_TTS_SMALL), "utf-8")
    with pytest.raises(UsageError, match=r"0\.self_attn\.in_proj\.weight .*: heads have 8 rows"):
        pocket(weights=str(tmp_path))


def test_mimi_is_no_codec_of_pocket_tts(small_folder, pocket):
    with pytest.raises(UsageError, match="describes no Pocket TTS codec: model_type=mimi"):
        pocket(weights=str(small_folder))


def test_an_utterance_alone_and_in_a_batch_with_longer_ones_agree(pocket):
    encoder = pocket()
    utterances = [noise(9, 1, 700), noise(1, 2), noise(30, 4, 1), noise(0, 5, 40)]
    for audio, batched in zip(utterances, encode(encoder, *utterances), strict=True):
        (alone,) = encode(encoder, audio)
        assert alone.shape == batched.shape
        assert (alone - batched).abs().max() <= 1e-5 * alone.abs().max()


def test_a_frame_sees_no_audio_after_its_own_end(pocket):
    encoder, audio = pocket(), noise(16)
    changed = audio.clone()
    changed[12 * HOP :] += 1.0
    (before,), (after,) = encode(encoder, audio), encode(encoder, changed)
    assert torch.equal(before[:12], after[:12])
    assert (before[12] - after[12]).abs().max() > 0.01 * before.std()
    assert encoder.look_ahead == 0


def test_the_same_latents_every_time_for_nothing_is_sampled(pocket):
    audio = noise(10)
    torch.manual_seed(1)
    (first,) = encode(pocket(), audio)
    torch.manual_seed(2)
    assert torch.equal(encode(pocket(), audio)[0], first)


def test_random_weights_have_the_published_size_and_stamp_the_result(pocket):
    encoder = pocket(weights="random", weights_seed=1)
    assert (encoder.dim, encoder.frame_rate) == (32, 12.5)
    assert encoder.stamps == ("random weights",)
    assert pocket().stamps == ()
    (x,) = encode(encoder, noise(3))
    assert x.shape == (3, 32)
    assert x.isfinite().all()
    other = pocket(weights="random", weights_seed=2)
    assert other.fingerprint()["weights"] != encoder.fingerprint()["weights"]


def test_the_architecture_is_the_one_of_transformers():
    published = transformers.PocketTTSAudioTokenizerConfig()
    rope = published.rope_parameters["rope_theta"]
    for name, value in PocketTTSEncoder.published_architecture.items():
        assert (rope if name == "rope_theta" else getattr(published, name)) == value, name
    assert published.frame_rate == 12.5


def test_without_access_the_error_says_which_terms_to_accept(tmp_path):
    with pytest.raises(UsageError) as error:
        WEIGHTS.fetch(SilentProgress(), endpoint="http://127.0.0.1:9", cache=tmp_path)
    assert "kyutai/pocket-tts are not here and cannot be downloaded" in error.value.message
    hint = error.value.hint
    assert "accept terms" in hint
    assert "hf auth login" in hint
    assert (
        "hf download kyutai/pocket-tts languages/english/model.safetensors "
        f"--revision {WEIGHTS.revision} --local-dir pocket-tts" in hint
    )


@pytest.fixture(scope="module")
def whole(reference, tmp_path_factory):
    """A narrow codec of transformers with its decoder, and where it is saved."""
    given = dict(reference.POCKET_TTS_SMALL)
    rope = {"rope_type": "default", "rope_theta": given.pop("rope_theta", 10_000.0)}
    given.pop("model_type", None)
    config = transformers.PocketTTSAudioTokenizerConfig(
        **given, rope_parameters=rope, upsample_groups=given["hidden_size"]
    )
    torch.manual_seed(0)
    model = transformers.PocketTTSAudioTokenizerModel(config).eval()
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("pocket-tts-whole")
    model.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(reference.POCKET_TTS_SMALL), "utf-8")
    return model, folder


def decoder_in_original_names(model, config):
    """What Kyutai's own code calls the weights of its decoder."""
    head = config["head_dim"]
    interleaved = [i // 2 + (i % 2) * head // 2 for i in range(head)]
    transformer = "mimi.decoder_transformer.transformer.layers"
    original = {
        "mimi.quantizer.output_proj.weight": model.latent_proj.weight,
        "mimi.upsample.convtr.convtr.weight": model.decoder.upsample.conv.weight,
    }
    for i, layer in enumerate(model.decoder.decoder_seanet.layers):
        kind = "convtr" if "Transpose" in type(layer).__name__ else "conv"
        for name, tensor in layer.state_dict().items():
            own = name.replace("conv.", f"{kind}.", 1) if name.startswith("conv.") else name
            original[f"mimi.decoder.model.{i}.{own}"] = tensor
    for i, layer in enumerate(model.decoder.decoder_transformer.layers):
        attention, name = layer.self_attn, f"{transformer}.{i}"
        q, k, v = (getattr(attention, f"{part}_proj").weight for part in "qkv")
        rows = [first + j for first in range(0, len(q), head) for j in interleaved]
        original[f"{name}.self_attn.in_proj.weight"] = torch.cat([q[rows], k[rows], v])
        original[f"{name}.self_attn.out_proj.weight"] = attention.o_proj.weight
        for theirs, module in {
            "norm1": layer.input_layernorm,
            "norm2": layer.post_attention_layernorm,
            "linear1": layer.mlp.fc1,
            "linear2": layer.mlp.fc2,
            "layer_scale_1": layer.self_attn_layer_scale,
            "layer_scale_2": layer.mlp_layer_scale,
        }.items():
            for kind, tensor in module.state_dict().items():
                original[f"{name}.{theirs}.{kind}"] = tensor
    return {name: tensor.detach().contiguous() for name, tensor in original.items()}


@pytest.fixture(scope="module", params=["saved", "original"])
def with_decoder(request, whole, reference, pocket_weights, tmp_path_factory):
    """The folder of that codec, named as transformers does, and as Kyutai does."""
    model, folder = whole
    if request.param == "saved":
        return folder
    original = in_original_names(pocket_weights, reference.POCKET_TTS_SMALL)
    original |= decoder_in_original_names(model, reference.POCKET_TTS_SMALL)
    folder = tmp_path_factory.mktemp("pocket-tts-original")
    save_file({n: t.contiguous() for n, t in original.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(reference.POCKET_TTS_SMALL), "utf-8")
    return folder


def test_decodes_as_transformers_does(pocket, whole, with_decoder):
    model, _ = whole
    encoder = pocket(weights=str(with_decoder))
    latents = torch.randn(2, 20, encoder.dim, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model.decode(latents).audio_values[:, 0]
    sound = encoder.decode(latents)
    assert sound.shape == (2, 20 * HOP)
    assert (sound - expected).abs().max() < 1e-4 * expected.std()
    changed = latents.clone()
    changed[:, 12:] += 1.0
    moved = (encoder.decode(changed) - sound).abs().amax(0) > 1e-6 * expected.std()
    assert int(moved.nonzero()[0]) // HOP == 12  # causal: the hop of the first changed frame


def test_weights_without_a_decoder_encode_but_are_not_heard(pocket):
    with pytest.raises(UsageError, match=r"holds no decoder of pocket-tts: .*missing"):
        pocket().decode(torch.zeros(1, 2, 6))
