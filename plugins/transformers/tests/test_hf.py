"""The encoder `hf` against the library's own forward pass, for every family of models."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
import transformers
from click.testing import CliRunner
from latentbench_transformers.encoder import HfEncoder
from latentbench_transformers.plugin import HfOptions
from safetensors.torch import load_file, save_file

from latentbench.cli import main
from latentbench.conformance import run_checks
from latentbench.conformance.audio import encode, padded
from latentbench.encoders import WHOLE_UTTERANCE, Segment
from latentbench.errors import UsageError
from latentbench.plugins import load_registry
from latentbench.workspace import Workspace

CPU = torch.device("cpu")


def noise(samples, channels=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(channels, samples, generator=generator)


def loaded(folder, **options):
    encoder = HfEncoder(HfOptions(model=str(folder), **options), Workspace())
    encoder.load(CPU)
    return encoder


def close(ours, expected):
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 1e-3


@pytest.mark.parametrize("layer", [0, 2, -1])
@pytest.mark.parametrize("name", ["wavlm", "hubert"])
def test_hidden_states_of_models_that_take_audio_as_it_is(saved, make, name, layer):
    model, wave = make(name), noise(12_345)
    with torch.inference_mode():
        expected = model(wave, output_hidden_states=True).hidden_states[layer][0]
    (ours,) = encode(loaded(saved(name), layer=layer), wave)
    close(ours, expected)


def test_wav2vec2_is_given_each_utterance_normalised_over_its_own_samples(saved, make):
    model, wave = make("wav2vec2"), 3 * noise(12_345) + 0.5
    with torch.inference_mode():
        whitened = (wave - wave.mean()) / wave.std(correction=0)
        expected = model(whitened, output_hidden_states=True).hidden_states[1][0]
    encoder = loaded(saved("wav2vec2"), layer=1)
    close(encode(encoder, wave)[0], expected)
    with torch.inference_mode():
        bare = model(wave, output_hidden_states=True).hidden_states[1][0]
    close(encode(loaded(saved("wav2vec2"), layer=1, features="raw"), wave)[0], bare)


@pytest.mark.parametrize("samples", [16_000, 16_160])
def test_wav2vec2_bert_leaves_out_the_frame_that_its_extractor_fills_up(saved, make, samples):
    model, wave = make("wav2vec2-bert"), noise(samples)
    extractor = transformers.SeamlessM4TFeatureExtractor()
    inputs = extractor(wave[0].numpy(), sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        states = model(**inputs, output_hidden_states=True).hidden_states[1][0]
    valid = int(inputs["attention_mask"].sum())
    encoder = loaded(saved("wav2vec2-bert"), layer=1)
    (ours,) = encode(encoder, wave)
    close(ours, states[:valid])
    spectra = (samples - 400) // 160 + 1
    assert len(ours) == encoder.frame_count(samples) == spectra // 2


def test_whisper_is_cut_into_windows_and_the_silence_after_the_audio_left_out(saved, make):
    model, wave = make("whisper"), noise(480_000 + 5_000)
    extractor = transformers.WhisperFeatureExtractor(feature_size=20)
    expected = []
    for part in (wave[0, :480_000], wave[0, 480_000:]):
        features = extractor(part.numpy(), sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            run = model.model.encoder(features["input_features"], output_hidden_states=True)
        expected.append(run.hidden_states[1][0][: -(-len(part) // 320)])
    encoder = loaded(saved("whisper"), layer=1)
    assert encoder.segments(485_000) == (Segment(0, 1_500), Segment(480_000, 16))
    close(encode(encoder, wave)[0], torch.cat(expected))
    assert encoder.stamps == ("a frame sees its whole window of 30 s",)
    assert encoder.look_ahead == 1_499


def padded_to(wave, hop):
    return torch.nn.functional.pad(wave, (0, -wave.shape[-1] % hop))


@pytest.mark.parametrize(
    ("name", "latents"),
    [
        ("dac", lambda model, wave: model.encoder(wave)[0].T),
        ("encodec", lambda model, wave: model.encoder(wave)[0].T),
        ("mimi", lambda model, wave: model.encoder(wave).latents[0].T),
        ("vibevoice-acoustic", lambda model, wave: model.encode(wave, sample=False).latents[0]),
        ("wavtokenizer", lambda model, wave: model.encoder_model.encoder(wave)[0].T),
    ],
)
def test_codecs_give_what_their_quantizer_takes(saved, make, name, latents):
    encoder = loaded(saved(name))
    wave = noise(9 * encoder.hop - 100)
    with torch.inference_mode():
        expected = latents(make(name), padded_to(wave, encoder.hop)[None])
    (ours,) = encode(encoder, wave)
    close(ours, expected)
    assert len(ours) == encoder.frame_count(wave.shape[1]) == 9


def test_xcodec_gives_its_fused_acoustic_and_semantic_latents(saved, make):
    model, wave = make("xcodec"), noise(20 * 320)
    seen = []
    hook = model.quantizer.encode
    model.quantizer.encode = lambda e, bandwidth: seen.append(e) or hook(e, bandwidth)
    with torch.inference_mode():
        model.encode(wave[None])
    close(encode(loaded(saved("xcodec")), wave)[0], seen[0][0].T)


def test_encodec_48k_is_normalised_and_encoded_chunk_by_chunk(saved, make):
    model, stereo = make("encodec-48k"), noise(47_520 + 1_000, channels=2)
    seen = []
    model.encoder.register_forward_hook(lambda _module, _given, made: seen.append(made[0].T))
    with torch.inference_mode():
        for start in (0, 47_520):
            chunk = stereo[None, :, start : start + 48_000]
            model._encode_frame(chunk, 6.0)
    encoder = loaded(saved("encodec-48k"))
    assert encoder.segments(stereo.shape[1]) == (Segment(0, 150), Segment(47_520, 4))
    (ours,) = encode(encoder, stereo)
    close(ours, torch.cat(seen))
    assert encoder.stamps == ("a frame sees its whole window of 1 s",)


def test_the_semantic_tokenizer_of_vibevoice_alone_and_inside_the_whole_model(saved, make):
    whole, wave = make("vibevoice").model, noise(5 * 3_200)
    tokenizer = whole.semantic_tokenizer_encoder
    with torch.inference_mode():
        expected = tokenizer(wave[None]).latents[0]
    encoder = loaded(saved("vibevoice"), part="semantic_tokenizer_encoder")
    close(encode(encoder, wave)[0], expected)
    rms = wave.square().mean().sqrt()
    louder = wave * 10 ** (-25 / 20) / (rms + 1e-6)
    model = make("vibevoice-semantic")
    with torch.inference_mode():
        expected = model(louder[None]).latents[0]
    close(encode(loaded(saved("vibevoice-semantic")), wave)[0], expected)


def test_a_module_by_its_name_stands_where_the_library_calls_it(saved, make):
    model, wave = make("wavlm"), noise(9_000)
    with torch.inference_mode():
        expected = model.feature_extractor(wave)[0].T
    (ours,) = encode(loaded(saved("wavlm"), layer="feature_extractor"), wave)
    close(ours, expected)


# Known of these architectures: (rate, hop, D, look-ahead).
GEOMETRY = {
    "wavlm": (16_000, 320, 16, WHOLE_UTTERANCE),
    "hubert": (16_000, 320, 16, WHOLE_UTTERANCE),
    "wav2vec2": (16_000, 320, 16, WHOLE_UTTERANCE),
    "wav2vec2-bert": (16_000, 320, 16, WHOLE_UTTERANCE),
    "whisper": (16_000, 320, 16, 1_499),
    "dac": (16_000, 320, 128, 8),
    "encodec": (24_000, 320, 16, 0),
    "encodec-48k": (48_000, 320, 16, 149),
    "mimi": (24_000, 1_920, 16, 0),
    "xcodec": (16_000, 320, 32, WHOLE_UTTERANCE),
    "vibevoice-acoustic": (24_000, 3_200, 8, 0),
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_rate_hop_size_and_look_ahead_are_measured(saved, name):
    encoder = loaded(saved(name))
    found = (encoder.sample_rate, encoder.hop, encoder.dim, encoder.look_ahead)
    assert found == GEOMETRY[name]
    sees_all = encoder.look_ahead == WHOLE_UTTERANCE
    assert (encoder.stamps == ("a frame sees its whole utterance",)) == sees_all


@pytest.mark.parametrize("samples", [1, 399, 400, 719, 720, 16_000, 54_321])
def test_the_frames_promised_are_those_the_library_gives(saved, make, samples):
    encoder = loaded(saved("wavlm"))
    promised = int(make("wavlm")._get_feat_extract_output_lengths(samples))
    assert encoder.frame_count(samples) == max(0, promised)
    latents, frames = encoder.encode(*padded(encoder, [noise(samples)]))
    assert frames.tolist() == [latents.shape[1]] == [max(0, promised)]


def test_loudness_normalised_over_the_utterance_is_seen_as_look_ahead(saved):
    assert loaded(saved("vibevoice-semantic")).look_ahead == WHOLE_UTTERANCE
    assert loaded(saved("vibevoice-semantic"), features="raw").look_ahead == 0


def test_a_lone_layer_before_attention_sees_no_further_than_its_convolutions(saved):
    # 7 convolutions see 400 samples from a frame's start: 80 past its hop. Group norm sees all.
    assert loaded(saved("wav2vec2"), layer="feature_extractor", features="raw").look_ahead == 1
    assert loaded(saved("wavlm"), layer="feature_extractor").look_ahead == WHOLE_UTTERANCE


def test_an_utterance_is_the_same_beside_a_longer_one(saved):
    encoder = loaded(saved("wav2vec2"), layer=2)
    waves = [noise(7_000), noise(12_000, seed=1)]
    for wave, together in zip(waves, encode(encoder, *waves), strict=True):
        torch.testing.assert_close(together, encode(encoder, wave)[0], atol=0, rtol=0)
    assert encoder.max_batch_seconds == 0


def test_a_checkpoint_with_a_head_gives_the_latents_of_its_body(saved, make):
    model, wave = make("wavlm-ctc"), noise(8_000)
    with torch.inference_mode():
        expected = model.wavlm(wave, output_hidden_states=True).hidden_states[2][0]
    close(encode(loaded(saved("wavlm-ctc"), layer=2), wave)[0], expected)


@pytest.fixture
def spoilt(saved, tmp_path):
    """A copy of the tiny WavLM whose weights or configuration a function has changed."""

    def spoil(weights=lambda tensors: tensors, **config):
        folder = tmp_path / "model"
        shutil.copytree(saved("wavlm"), folder)
        tensors = load_file(folder / "model.safetensors")
        save_file(weights(tensors), folder / "model.safetensors", {"format": "pt"})
        told = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**told, **config}))
        return folder

    return spoil


NAME = "encoder.layers.1.feed_forward.output_dense.weight"


@pytest.mark.parametrize(
    ("weights", "config", "text"),
    [
        (lambda t: {k: v for k, v in t.items() if k != NAME}, {}, f"1 missing: {NAME}"),
        (lambda t: {**t, NAME: t[NAME][:3].clone()}, {}, "do not fit"),
        (lambda t: {**t, NAME: t[NAME] * float("nan")}, {}, f"1 not finite: {NAME}"),
        (lambda t: t, {"num_hidden_layers": 2}, "not known: encoder.layers.2"),
        (lambda t: t, {"num_hidden_layers": 4}, "missing: encoder.layers.3"),
        (lambda t: t, {"quantization_config": {"quant_method": "x"}}, "are quantized"),
        (lambda t: t, {"model_type": "bort"}, "no model that this transformers builds"),
    ],
)
def test_weights_that_are_not_those_of_the_configuration_are_refused(spoilt, weights, config, text):
    with pytest.raises(UsageError, match=text):
        loaded(spoilt(weights, **config))


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("wavlm", {"layer": 4}, "hidden_states 0 to 3"),
        ("wavlm", {"layer": "encoder.layer.1"}, "Did you mean 'encoder.layers.1"),
        ("wavlm", {"part": "decoder"}, "no such model is inside this wavlm"),
        ("dac", {"layer": 1}, "A dac has no hidden_states, so no layer 1"),
        ("whisper", {"features": "raw"}, "takes input_features, not audio"),
        ("whisper", {"layer": "conv1"}, "no frames at a steady hop"),
    ],
)
def test_what_a_model_has_not_is_named_with_what_it_has(saved, name, options, text):
    with pytest.raises(UsageError) as caught:
        loaded(saved(name), **options)
    assert text in f"{caught.value.message} {caught.value.hint}"


def test_a_folder_that_is_not_there_or_holds_no_model_is_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no such folder"):
        loaded(tmp_path / "nothing")
    with pytest.raises(UsageError, match=r"holds no config.json"):
        loaded(tmp_path)


def test_the_fingerprint_tells_apart_what_gives_other_latents_and_nothing_else(
    saved, spoilt, tmp_path
):
    own = loaded(saved("wavlm"), layer=2).fingerprint()
    assert own["transformers"] == transformers.__version__
    copy = tmp_path / "elsewhere"
    shutil.copytree(saved("wavlm"), copy)
    assert loaded(copy, layer=2).fingerprint() == own

    def nudged(tensors):
        tensors[NAME][0, 0] += 1e-6
        return tensors

    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    extractor.save_pretrained(copy)
    others = [
        loaded(saved("wavlm"), layer=1),
        loaded(saved("wavlm"), layer=2, weights="random"),
        loaded(saved("wavlm"), layer=2, weights="random", weights_seed=1),
        loaded(spoilt(nudged, layer_norm_eps=1e-5), layer=2),
        loaded(copy, layer=2),
    ]
    prints = [tuple(sorted(one.items())) for one in (own, *(o.fingerprint() for o in others))]
    assert len(set(prints)) == len(prints)


def test_random_weights_are_stamped_and_follow_their_seed(saved):
    wave = noise(8_000)
    one, same, other = (
        loaded(saved("wavlm"), layer=2, weights="random", weights_seed=seed) for seed in (0, 0, 1)
    )
    assert one.stamps == ("random weights", "a frame sees its whole utterance")
    assert torch.equal(encode(one, wave)[0], encode(same, wave)[0])
    assert not torch.equal(encode(one, wave)[0], encode(other, wave)[0])


def test_measuring_leaves_the_weights_and_the_random_numbers_as_they_were(saved, make):
    folder = saved("mimi")  # making it seeds
    torch.manual_seed(1)
    state = torch.get_rng_state()
    encoder = loaded(folder)
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in make("mimi").state_dict().items():
        held = encoder._network.model.state_dict()[name]
        assert held.dtype == tensor.dtype
        assert torch.equal(held, tensor), name


@pytest.mark.parametrize("options", [{"model": "wavlm", "layer": 2}, {"model": "mimi"}])
def test_it_passes_the_conformance_checks(saved, options):
    component = load_registry().get("encoder", "hf")
    given = HfOptions(**{**options, "model": str(saved(options["model"]))})
    findings = list(run_checks(component, given, Workspace()))
    assert {one.check for one in findings if one.status == "skip"} == {
        "batch",
        "decoded_shape",
        "decoder_deterministic",
        "decoder_level",
        "decoder_look_ahead",
        "right_padding",
    }
    assert {one.status for one in findings} == {"pass", "skip"}


def test_the_plugin_registers_without_torch():
    assert load_registry().get("encoder", "hf").spec.options is HfOptions
    code = (
        "import sys, latentbench_transformers.plugin\n"
        "print([m for m in ('torch', 'numpy', 'pydantic', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_run_says_that_every_horizon_leaks(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("LATENTBENCH_CACHE", str(tmp_path / "cache"))
    rng, corpus = np.random.default_rng(0), tmp_path / "corpus"
    for speaker in ("a", "b", "c"):
        (corpus / speaker).mkdir(parents=True)
        wave = 0.1 * rng.standard_normal(16_000 * 2)
        soundfile.write(corpus / speaker / "one.wav", wave, 16_000)
    command = ["run", "--corpus", "folder", "--encoder", "hf"]
    sets = [f"corpus.root={corpus}", f"encoder.model={saved('wavlm')}", "encoder.layer=2"]
    sets += ["predictor.width=8", "utterances.min_seconds=0", "split.eval_fraction=0.34"]
    words = [word for one in sets for word in ("--set", one)]
    out = ["--steps", "3", "--horizons", "1,8", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(main, [*command, *words, *out])
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert "k=1,8: leaky, within the encoder's look-ahead of the whole utterance" in told
    assert "a frame sees its whole utterance" in told
