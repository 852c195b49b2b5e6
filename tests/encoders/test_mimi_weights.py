import json

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file

from latentbench.encoders.mimi import MimiEncoder
from latentbench.encoders.network_encoder import OTHERWISE
from latentbench.encoders.plugin import MimiOptions
from latentbench.errors import UsageError
from latentbench.progress import SilentProgress
from latentbench.workspace import Workspace

WEIGHTS = MimiEncoder.weights_file


@pytest.fixture
def folder(small_folder, tmp_path):
    """A copy of the narrow checkpoint to spoil."""
    for file in small_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_the_architecture_is_the_published_one():
    from transformers import MimiConfig

    published = MimiConfig()
    rope = published.rope_parameters["rope_theta"]
    for name, value in MimiEncoder.published_architecture.items():
        assert (rope if name == "rope_theta" else getattr(published, name)) == value, name
    assert published.frame_rate == 12.5


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("missing.safetensors", "is not there"),
        ("nowhere/mimi", "is not there"),
        ("notes.txt", "is no folder and no .safetensors file"),
    ],
)
def test_weights_that_are_not_there(tmp_path, how, found):
    (tmp_path / "notes.txt").write_text("not weights", "utf-8")
    with pytest.raises(UsageError) as error:
        MimiEncoder(MimiOptions(weights=str(tmp_path / how)), Workspace())
    assert found in error.value.message
    assert "kyutai/mimi, random, a folder with model.safetensors" in error.value.hint


def test_a_refusal_says_what_the_folder_holds_instead(tmp_path):
    with pytest.raises(UsageError, match=r"holds no model\.safetensors, but nothing"):
        MimiEncoder(MimiOptions(weights=str(tmp_path)), Workspace())
    (tmp_path / "snapshots" / "another").mkdir(parents=True)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(UsageError, match=r"but pytorch_model\.bin, snapshots/"):
        MimiEncoder(MimiOptions(weights=str(tmp_path)), Workspace())


def test_the_hubs_own_folder_of_the_model_is_one_with_weights(folder, small_folder, mimi, tmp_path):
    snapshot = tmp_path / "models--kyutai--mimi" / "snapshots" / WEIGHTS.revision
    snapshot.mkdir(parents=True)
    for file in folder.glob("*.*"):
        file.rename(snapshot / file.name)
    repository = mimi(weights=str(tmp_path / "models--kyutai--mimi"))
    assert repository.fingerprint() == mimi(weights=str(small_folder)).fingerprint()


def test_shards_with_an_index_give_the_latents_of_one_file(tmp_path):
    """Both written by transformers, decoder and codebooks included."""
    from transformers import MimiConfig, MimiModel

    sizes = {"hidden_size": 32, "num_filters": 4, "num_hidden_layers": 1, "head_dim": 8}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 48}
    sizes |= {"vector_quantization_hidden_dimension": 12, "num_quantizers": 2, "codebook_size": 2}
    model = MimiModel(MimiConfig(**sizes, upsample_groups=32))
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "many", max_shard_size="40KB")
    assert not (tmp_path / "many" / "model.safetensors").exists()
    latents = []
    for folder in ("one", "many", "many/model.safetensors.index.json"):
        encoder = MimiEncoder(MimiOptions(weights=str(tmp_path / folder)), Workspace())
        encoder.load(torch.device("cpu"))
        latents.append(encoder.encode(torch.ones(1, 3840), torch.tensor([3840]))[0])
    assert latents[0].abs().max() > 0
    assert torch.equal(latents[0], latents[1])
    assert torch.equal(latents[1], latents[2])


def test_a_shard_that_is_not_there_is_named(folder, mimi):
    shard = "model-00001-of-00002.safetensors"
    (folder / "model.safetensors").rename(folder / "model-00002-of-00002.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"downsample.conv.weight": shard}}), "utf-8")
    with pytest.raises(UsageError, match=rf"{shard}' are not there, though the index"):
        mimi(weights=str(folder))
    for damaged in ("{", "[]", '{"weight_map": 3}', "{}"):
        index.write_text(damaged, "utf-8")
        with pytest.raises(UsageError, match=r"index\.json' cannot be read"):
            mimi(weights=str(folder))


def test_more_layers_than_the_config_says_are_not_dropped(folder, mimi):
    """A deeper model would load as the one of its config.json, and encode something else."""

    def deepen(tensors):
        for name in [name for name in tensors if name.startswith("encoder_transformer.layers.2.")]:
            tensors[name.replace("layers.2", "layers.3")] = tensors[name].clone()

    rewrite(folder, deepen)
    with pytest.raises(UsageError, match=r"12 beside 69 not known: encoder_transformer\.layers\.3"):
        mimi(weights=str(folder))


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda weight: weight.to(torch.int8), "of another kind of number: .* torch.int8"),
        (lambda weight: weight.to(torch.uint8), "of another kind of number: .* torch.uint8"),
        (lambda weight: weight.to(torch.float8_e4m3fn), "of another kind .* torch.float8_e4m3fn"),
        (lambda weight: weight.fill_(torch.nan), "1 of 69 not finite: downsample"),
        (lambda weight: weight.double().fill_(1e300), "1 of 69 not finite: downsample"),
    ],
)
def test_weights_that_are_no_numbers_to_compute_with_are_refused(folder, mimi, spoil, found):
    def change(tensors):
        tensors["downsample.conv.weight"] = spoil(tensors["downsample.conv.weight"])

    rewrite(folder, change)
    with pytest.raises(UsageError, match=found):
        mimi(weights=str(folder))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_another_precision_load(folder, mimi, dtype):
    def change(tensors):
        for name in tensors:
            tensors[name] = tensors[name].to(dtype)

    audio = 0.1 * torch.randn(1, 3840, generator=torch.Generator().manual_seed(0))
    before = mimi().encode(audio, torch.tensor([3840]))[0]
    rewrite(folder, change)
    after = mimi(weights=str(folder)).encode(audio, torch.tensor([3840]))[0]
    assert (after - before).norm() < 0.1 * before.norm()


def test_missing_weights_are_named(folder, mimi):
    def drop(tensors):
        del tensors["downsample.conv.weight"]
        del tensors["encoder_transformer.layers.2.mlp.fc1.weight"]

    rewrite(folder, drop)
    with pytest.raises(UsageError) as error:
        mimi(weights=str(folder))
    assert "2 of " in error.value.message
    assert "downsample.conv.weight" in error.value.message
    assert "encoder_transformer.layers.2.mlp.fc1.weight" in error.value.message
    assert "config.json and model.safetensors of kyutai/mimi" in error.value.hint


def test_renamed_weights_are_not_replaced_by_random_ones(folder, mimi):
    def rename(tensors):
        for name in [name for name in tensors if name.startswith("encoder.layers")]:
            tensors[f"encoder.encoder_{name}"] = tensors.pop(name)

    rewrite(folder, rename)
    with pytest.raises(UsageError, match=r"28 of 69 missing: encoder\.layers\.0\.conv\.weight"):
        mimi(weights=str(folder))


def test_weights_of_another_shape_are_named(folder, mimi):
    (folder / "config.json").unlink()  # so that the published architecture is expected
    with pytest.raises(UsageError, match=r"missing: encoder_transformer\.layers\.3"):
        mimi(weights=str(folder))
    config = {"hidden_size": 32, "num_filters": 8, "num_hidden_layers": 3}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 48}
    config |= {"vector_quantization_hidden_dimension": 12}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(UsageError, match=r"conv\.weight \[4, 1, 7\] instead of \[8, 1, 7\]"):
        mimi(weights=str(folder))


def test_a_whole_checkpoint_with_decoder_and_codebooks_loads(folder, mimi):
    def add(tensors):
        tensors["decoder.layers.0.conv.weight"] = torch.ones(3)
        tensors["quantizer.semantic_residual_vector_quantizer.layers.0.codebook.embed_sum"] = (
            torch.ones(2, 2)
        )

    before = mimi().encode(torch.ones(1, 1920), torch.tensor([1920]))[0]
    rewrite(folder, add)
    assert torch.equal(
        mimi(weights=str(folder)).encode(torch.ones(1, 1920), torch.tensor([1920]))[0], before
    )


def test_a_truncated_file_is_named(folder, mimi):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(UsageError, match=r"model\.safetensors' cannot be read") as error:
        mimi(weights=str(folder))
    assert "damaged or incomplete" in error.value.hint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_act", "nonsense"),
        ("hidden_act", None),
        ("pad_mode", "nonsense"),
        ("sliding_window", None),
        ("sliding_window", 0),
        ("num_hidden_layers", "8"),
        ("num_hidden_layers", True),
        ("num_attention_heads", 0),
        ("num_attention_heads", 5),
        ("norm_eps", "small"),
        ("upsampling_ratios", [8, 6, 5, None]),
        ("attention_bias", 1),
        ("rope_parameters", {"rope_type": "linear", "factor": 2.0}),
        ("rope_parameters", [1]),
    ],
)
def test_a_value_that_is_none_is_named_with_its_file(folder, mimi, key, value):
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, key: value}), "utf-8")
    with pytest.raises(UsageError) as error:
        mimi(weights=str(folder))
    assert "config.json" in str(error.value)
    named = "rope_type=linear" if isinstance(value, dict) else key
    assert named in str(error.value) or value == [1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "cannot be read"),
        ("[1]", "cannot be read"),
        ('{"model_type": "encodec"}', "describes no Mimi: model_type=encodec"),
        ('{"sampling_rate": 16000}', "describes no Mimi: sampling_rate=16000"),
        ('{"upsampling_ratios": [8, 5, 4, 2]}', "describes no Mimi: upsampling_ratios="),
    ],
)
def test_a_config_of_something_else(folder, text, found):
    (folder / "config.json").write_text(text, "utf-8")
    with pytest.raises(UsageError) as error:
        MimiEncoder(MimiOptions(weights=str(folder)), Workspace())
    assert found in error.value.message


def test_the_config_of_older_and_newer_transformers_reads_the_same(folder, mimi):
    config = json.loads((folder / "config.json").read_text("utf-8"))
    fingerprints = []
    for rope in ({"rope_theta": 5000.0}, {"rope_parameters": {"rope_theta": 5000.0}}):
        (folder / "config.json").write_text(json.dumps({**config, **rope}), "utf-8")
        fingerprints.append(mimi(weights=str(folder)).fingerprint())
    assert fingerprints[0] == fingerprints[1] != mimi().fingerprint()


def test_no_network_says_how_to_go_on(tmp_path):
    with pytest.raises(UsageError) as error:
        WEIGHTS.fetch(SilentProgress(), OTHERWISE, endpoint="http://127.0.0.1:9", cache=tmp_path)
    assert "kyutai/mimi are not here and cannot be downloaded" in error.value.message
    hint = error.value.hint
    assert (
        f"hf download kyutai/mimi config.json model.safetensors --revision {WEIGHTS.revision}"
        in (hint)
    )
    assert "--set encoder.weights=/path/to/mimi" in hint
    assert "--set encoder.weights=random" in hint
    assert "--preset demo" in hint


def test_a_damaged_copy_without_a_network_is_called_damaged_and_named(tmp_path):
    snapshot = tmp_path / "models--kyutai--mimi" / "snapshots" / WEIGHTS.revision
    snapshot.mkdir(parents=True)
    (snapshot / WEIGHTS.name).write_bytes(b"half of the weights")
    progress = SilentProgress()
    with pytest.raises(UsageError, match="kyutai/mimi here are damaged and cannot be downloaded"):
        WEIGHTS.fetch(progress, endpoint="http://127.0.0.1:9", cache=tmp_path)
    assert str(snapshot / WEIGHTS.name) in progress.said[0]


def test_it_is_known_beforehand_whether_a_download_is_needed(tmp_path, monkeypatch, small_folder):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for weights, at_hand in (("random", True), (str(small_folder), True), (WEIGHTS.repo, False)):
        encoder = MimiEncoder(MimiOptions(weights=weights), Workspace())
        assert encoder.weights_at_hand() is at_hand, weights
    snapshot = tmp_path / "models--kyutai--mimi" / "snapshots" / WEIGHTS.revision
    snapshot.mkdir(parents=True)
    (snapshot / WEIGHTS.name).write_bytes(b"weights")
    assert MimiEncoder(MimiOptions(), Workspace()).weights_at_hand()


def test_the_hubs_offline_mode_is_respected(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    encoder = MimiEncoder(MimiOptions(), Workspace())
    with pytest.raises(UsageError, match=r"(?s)OfflineModeIsEnabled.*--preset demo"):
        encoder.load(torch.device("cpu"))
