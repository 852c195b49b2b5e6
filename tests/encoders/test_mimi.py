import dataclasses
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from latentbench.conformance.audio import encode
from latentbench.encoders.mimi import MimiEncoder
from latentbench.encoders.plugin import MimiOptions
from latentbench.errors import UsageError
from latentbench.workspace import Workspace

HOP = 1920
VIEWS = ["projected", "encoder", "semantic", "acoustic"]


def noise(frames, seed=1, samples=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(frames * HOP + samples, generator=generator)


def relative(found, expected):
    """The largest deviation in units of the latents' standard deviation."""
    return float((found - expected).abs().max() / expected.std())


@pytest.mark.parametrize("view", VIEWS)
def test_views_agree_with_a_second_implementation(mimi, reference, small_weights, view):
    # 12.8 s: longer than the 10 s the transformer sees
    audio = noise(160)
    expected = reference.encode(small_weights, reference.SMALL, audio)[view]
    (found,) = encode(mimi(view=view), audio)
    assert found.dtype == torch.float32
    assert found.shape == (160, 32)
    assert (found - expected).abs().max() < 1e-4


def test_the_transformer_sees_ten_seconds_and_no_more(mimi, reference, small_weights):
    audio = noise(160)
    everything = {**reference.SMALL, "sliding_window": 10**6}
    wide = reference.encode(small_weights, everything, audio)["encoder"]
    (found,) = encode(mimi(view="encoder"), audio)
    assert (found[:125] - wide[:125]).abs().max() < 1e-4
    assert (found[125:] - wide[125:]).abs().max() > 0.1


def test_full_size_agrees_with_a_second_implementation(mimi, reference, tmp_path):
    weights = reference.random_weights(reference.FULL, seed=3)
    file = tmp_path / "mimi.safetensors"  # a file alone has the published architecture
    save_file(weights, file)
    audio = noise(12)
    expected = reference.encode(weights, reference.FULL, audio)
    for view in VIEWS:
        (found,) = encode(mimi(weights=str(file), view=view), audio)
        assert found.shape == (12, 512)
        assert (found - expected[view]).abs().max() < 1e-4


def test_an_utterance_alone_and_in_a_batch_with_longer_ones_agree(mimi):
    encoder = mimi()
    utterances = [noise(9, 1, 700), noise(1, 2), noise(140, 3), noise(30, 4, 1), noise(0, 5, 40)]
    together = encode(encoder, *utterances)
    for audio, batched in zip(utterances, together, strict=True):
        (alone,) = encode(encoder, audio)
        assert alone.shape == batched.shape
        assert (alone - batched).abs().max() <= 1e-5 * alone.abs().max()


def test_zeros_on_the_right_change_nothing_before_them(mimi):
    encoder = mimi()
    audio = noise(20)
    (alone,) = encode(encoder, audio)
    (padded,) = encode(encoder, torch.cat([audio, torch.zeros(7 * HOP)]))
    assert relative(padded[:20], alone) < 1e-5


@pytest.mark.parametrize("frame", [3, 11])
def test_a_frame_sees_no_audio_after_its_own_end(mimi, frame):
    encoder = mimi()
    audio = noise(16)
    changed = audio.clone()
    changed[(frame + 1) * HOP :] += 1.0
    (before,), (after,) = encode(encoder, audio), encode(encoder, changed)
    assert torch.equal(before[: frame + 1], after[: frame + 1])
    assert relative(after[frame + 1], before[frame + 1]) > 0.01
    assert encoder.look_ahead == 0


def test_a_frame_sees_the_audio_at_its_own_end(mimi):
    encoder = mimi()
    audio = noise(8)
    changed = audio.clone()
    changed[6 * HOP - 1] += 1.0
    (before,), (after,) = encode(encoder, audio), encode(encoder, changed)
    assert torch.equal(before[:5], after[:5])
    assert relative(after[5], before[5]) > 1e-3


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(0, 200_000))
def test_frame_counts(samples):
    keep = MimiEncoder(MimiOptions(weights="random"), Workspace())
    drop = MimiEncoder(MimiOptions(weights="random", partial_frame="drop"), Workspace())
    assert keep.frame_count(samples) == len(range(0, samples, HOP))
    assert drop.frame_count(samples) == len(range(HOP, samples + 1, HOP))


def test_dropping_the_partial_frame_drops_only_that(mimi):
    utterances = [noise(5, 1, 600), noise(7, 2), noise(0, 3, 100)]
    kept = encode(mimi(), *utterances)
    dropped = encode(mimi(partial_frame="drop"), *utterances)
    assert [len(latents) for latents in kept] == [6, 7, 1]
    assert [len(latents) for latents in dropped] == [5, 7, 0]
    for some, all_of_them in zip(dropped, kept, strict=True):
        assert torch.equal(some, all_of_them[: len(some)])


def test_nothing_to_encode_gives_no_frames(mimi):
    latents, frames = mimi().encode(torch.zeros(2, 0), torch.zeros(2, dtype=torch.int64))
    assert latents.shape == (2, 0, 32)
    assert frames.tolist() == [0, 0]


def test_audio_with_a_channel_axis_is_the_same(mimi):
    encoder = mimi()
    audio = noise(4)
    lengths = torch.tensor([len(audio)])
    plain, _ = encoder.encode(audio[None], lengths)
    with_channel, _ = encoder.encode(audio[None, None], lengths)
    assert torch.equal(plain, with_channel)


def test_a_length_that_is_no_whole_number_of_hops_is_refused(mimi):
    with pytest.raises(ValueError, match=r"2000 samples are no whole number of 1920"):
        mimi().encode(torch.zeros(1, 2000), torch.tensor([2000]))


def test_encoding_twice_gives_the_same_bits(mimi):
    audio = noise(10)
    first, again = mimi(), mimi()
    assert torch.equal(encode(first, audio)[0], encode(again, audio)[0])
    assert torch.equal(encode(first, audio)[0], encode(first, audio)[0])


def test_reduced_precision_is_off_while_encoding_and_as_it_was_afterwards(mimi):
    encoder = mimi()
    (plain,) = encode(encoder, noise(6))
    seen = []
    encoder._network.register_forward_hook(
        lambda *_: seen.append(
            (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
        )
    )
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.allow_tf32 = True
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (found,) = encode(encoder, noise(6))
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == (
            "medium",
            True,
        )
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
    assert seen == [("highest", False)]
    assert torch.equal(found, plain)


def test_random_weights_follow_the_seed_and_stamp_the_result(mimi):
    state = torch.random.get_rng_state()
    first = mimi(weights="random", weights_seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    other = mimi(weights="random", weights_seed=2)
    assert first.stamps == ("random weights",)
    assert mimi().stamps == ()
    assert first.dim == 512
    audio = noise(3)
    (x,) = encode(first, audio)
    assert x.shape == (3, 512)
    assert torch.isfinite(x).all()
    assert relative(encode(other, audio)[0], x) > 0.1
    again = mimi(weights="random", weights_seed=1)
    assert torch.equal(encode(again, audio)[0], x)
    assert again.fingerprint() == first.fingerprint()
    assert other.fingerprint()["weights"] != first.fingerprint()["weights"]


def test_only_the_encoder_is_kept(mimi, reference):
    network = mimi(weights="random")._network
    expected = reference.random_weights(reference.FULL)
    held = {name: weight.shape for name, weight in network.state_dict().items()}
    assert held == {name: weight.shape for name, weight in expected.items()}


def test_the_fingerprint_says_all_that_changes_latents(mimi, small_folder, reference, tmp_path):
    base = mimi().fingerprint()
    assert base == mimi().fingerprint()
    assert {"weights", "transformers", "torch", "device", "precision"} <= set(base)
    changed = {"weights": "random", "view": "encoder", "partial_frame": "drop"}
    for option, value in changed.items():
        assert mimi(**{option: value}).fingerprint() != base, option
    seeds = [mimi(weights="random", weights_seed=seed).fingerprint() for seed in (0, 1)]
    assert seeds[0] != seeds[1]
    options = {field.name for field in dataclasses.fields(MimiOptions)}
    assert options == set(changed) | {"weights_seed"}

    tensors = load_file(small_folder / "model.safetensors")
    name = "downsample.conv.weight"
    tensors[name] = torch.nextafter(tensors[name], torch.ones(()))
    save_file(tensors, tmp_path / "model.safetensors")
    config = tmp_path / "config.json"
    config.write_text(json.dumps(reference.SMALL), "utf-8")
    nudged = mimi(weights=str(tmp_path)).fingerprint()
    assert nudged["weights"] != base["weights"]
    config.write_text(json.dumps({**reference.SMALL, "sliding_window": 100}), "utf-8")
    assert mimi(weights=str(tmp_path)).fingerprint() != nudged


def test_a_copy_of_the_weights_elsewhere_has_the_same_fingerprint(mimi, small_folder, tmp_path):
    for file in small_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert mimi(weights=str(tmp_path)).fingerprint() == mimi().fingerprint()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A narrow Mimi of transformers, decoder and codebooks included, and where it is saved."""
    from transformers import MimiConfig, MimiModel

    sizes = {"hidden_size": 32, "num_filters": 4, "num_hidden_layers": 2, "head_dim": 8}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 48}
    sizes |= {"vector_quantization_hidden_dimension": 12, "codebook_dim": 12}
    sizes |= {"num_quantizers": 3, "codebook_size": 16}
    torch.manual_seed(0)
    model = MimiModel(MimiConfig(**sizes, upsample_groups=32)).eval()
    for name, buffer in model.named_buffers():
        if name.endswith("embed_sum"):
            buffer.normal_()
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("mimi-whole")
    model.save_pretrained(folder)
    return model, folder


def test_decodes_as_transformers_does_what_its_codebooks_stand_for(mimi, whole):
    model, folder = whole
    codes = torch.randint(16, (2, 3, 20), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model.decode(codes).audio_values[:, 0]
        latents = model.quantizer.decode(codes).mT
    sound = mimi(weights=str(folder)).decode(latents)
    assert sound.shape == (2, 20 * HOP)
    assert relative(sound, expected) < 1e-4
    assert expected.diff(dim=-1).std() > 1e-4


def test_the_encoders_output_sounds_as_its_projection(mimi, whole):
    _, folder = whole
    views = {view: mimi(weights=str(folder), view=view) for view in ("encoder", "projected")}
    sounds = [one.decode(encode(one, noise(9))[0][None]) for one in views.values()]
    assert relative(*sounds) < 1e-5


def test_a_hop_of_sound_depends_on_no_later_frame(mimi, whole):
    encoder = mimi(weights=str(whole[1]))
    latents = torch.randn(1, 12, 32, generator=torch.Generator().manual_seed(0))
    changed = latents.clone()
    changed[:, 7:] += 1.0
    before, after = encoder.decode(latents), encoder.decode(changed)
    moved = (after - before)[0].abs() > 1e-6 * before.std()
    assert int(moved.nonzero()[0]) // HOP == 7
    assert encoder.decoder_look_ahead == 0


@pytest.mark.parametrize("view", ["semantic", "acoustic"])
def test_one_of_two_projections_is_not_heard(mimi, whole, view):
    with pytest.raises(UsageError, match=f"view={view} cannot be heard") as error:
        mimi(weights=str(whole[1]), view=view).decode(torch.zeros(1, 2, 32))
    assert "view=projected" in error.value.hint


def test_weights_without_a_decoder_encode_but_are_not_heard(mimi):
    with pytest.raises(UsageError, match=r"holds no decoder of mimi: .*missing"):
        mimi().decode(torch.zeros(1, 2, 32))
