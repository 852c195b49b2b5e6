"""Degenerate latents are found in a sample of train, and sound ones are left alone."""

import numpy as np
import pytest

from latentbench.errors import LatentbenchError
from latentbench.latents import Latents
from latentbench.latents.degeneracy import check_latents
from latentbench.latents.manifest import ManifestRow, require_disjoint_speakers

STEP = 0.26349


def latents_of(frames, energy=None):
    """Two train utterances and one of eval, each a third of the frames."""
    parts = {f"u{number}": part for number, part in enumerate(np.array_split(frames, 3))}
    speakers = {name: name for name in parts}
    return Latents.from_arrays(parts, speakers, energy=energy)


def check(frames, energy=None, pairs=10_000):
    energy = np.ones(len(frames), np.float32) if energy is None else energy
    latents = latents_of(np.asarray(frames, np.float32), energy)
    return check_latents(latents, latents, [0, 1], pairs)


@pytest.fixture
def noise():
    return np.random.default_rng(0).normal(size=(3000, 6))


def test_sound_latents_have_nothing_to_report(noise):
    found = check(noise)
    assert (found.frames, found.dim, found.constant_dims) == (2000, 6, 0)
    assert (found.repeats, found.silent, found.lattice, found.lattice_step) == (0, 0, 0, 0)
    assert found.tiny_directions == 0
    assert found.effective_rank == pytest.approx(6, abs=0.02)


def test_a_lattice_is_found_with_its_step_and_dither_takes_it_away(noise):
    lattice = (STEP * np.round(4 * noise - 3)).astype(np.float32)
    found = check(lattice)
    assert found.lattice == 1
    assert found.lattice_step == pytest.approx(STEP, rel=1e-5)
    random = np.random.default_rng(1)
    assert check(lattice + STEP * random.uniform(-0.5, 0.5, lattice.shape)).lattice == 0


def test_the_share_on_a_lattice_counts_dimensions_that_vary(noise):
    noise[:, :2] = np.round(noise[:, :2])
    noise[:, 2] = 7
    found = check(noise)
    assert found.lattice == pytest.approx(2 / 5)
    assert found.constant_dims == 1


def test_values_that_recur_without_a_common_step_are_no_lattice(noise):
    points = np.random.default_rng(2).normal(size=50)
    chosen = np.random.default_rng(3).integers(0, 50, noise.shape)
    assert check(points[chosen]).lattice < 0.1


def test_exact_repeats_are_counted_within_utterances(noise):
    noise[1:3000:4] = noise[0:3000:4]
    assert check(noise).repeats == pytest.approx(0.25, abs=0.001)


def test_frames_across_utterances_are_no_repeats():
    frames = np.repeat(np.arange(3.0)[:, None], 2, axis=0) + np.array([[0.0], [0.5]] * 3)
    frames[2] = frames[1]
    assert check(frames).repeats == 0


def test_digital_silence_is_counted(noise):
    energy = np.ones(3000, np.float32)
    energy[:500] = 0
    assert check(noise, energy).silent == pytest.approx(0.25)


def test_directions_without_variance_are_counted(noise):
    rotation, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(6, 6)))
    noise[:, 4:] *= 1e-5
    found = check(noise @ rotation)
    assert found.tiny_directions == 2
    assert found.constant_dims == 0
    assert found.effective_rank == pytest.approx(4, abs=0.02)


def test_the_effective_rank_is_the_exponential_of_the_spectral_entropy(noise):
    scales = np.array([4.0, 2.0, 1.0, 1.0, 0.5, 0.25])
    found = check(noise * scales)
    values = latents_of((noise * scales).astype(np.float32)).gather(np.arange(2000)).numpy()
    eigenvalues = np.linalg.svd(values - values.mean(0), compute_uv=False) ** 2
    share = eigenvalues / eigenvalues.sum()
    assert found.effective_rank == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)


def test_what_the_spectrum_needs_more_frames_for_is_left_open():
    found = check(np.random.default_rng(0).normal(size=(30, 40)))
    assert found.effective_rank is None
    assert found.tiny_directions is None


def test_frames_that_are_not_finite_have_no_spectrum(noise):
    noise[10, 0] = np.nan
    assert check(noise).effective_rank is None


def test_the_sample_is_bounded_and_spread_over_train(noise):
    noise[:1000] = 0  # the first train utterance
    found = check(noise, pairs=100)
    assert found.frames <= 200
    assert found.repeats == pytest.approx(0.5, abs=0.02)


def test_eval_is_not_looked_at(noise):
    noise[2000:] = 5
    assert check(noise).repeats == 0


def test_transforms_decide_what_is_constant_but_not_what_repeats(noise):
    lattice = np.round(4 * noise).astype(np.float32)
    stored = latents_of(lattice, np.ones(3000, np.float32))
    seen = stored.mapped(lambda rows: rows[:, :2] * 0 + 1, 2)
    found = check_latents(stored, seen, [0, 1])
    assert (found.dim, found.constant_dims) == (2, 2)
    assert found.lattice == 1


def test_no_two_frames_nothing_to_look_at():
    latents = Latents.from_arrays({"u": np.zeros((1, 3), np.float32)}, {"u": "s"})
    assert check_latents(latents, latents, [0]) is None
    assert check_latents(latents, latents, []) is None


def row(speaker, split):
    return ManifestRow(f"{speaker}-{split}", speaker, split, "audio", 1.0)


def test_a_speaker_on_both_sides_is_refused_by_name():
    sound = [row("anna", "train"), row("bert", "eval"), row("cleo", "validation")]
    require_disjoint_speakers(sound)
    for speaker, other in (("anna", "train"), ("bert", "eval")):
        with pytest.raises(LatentbenchError, match=rf"\b{other}\b.*: {speaker}"):
            require_disjoint_speakers([*sound, row(speaker, "validation")])
    with pytest.raises(LatentbenchError, match=r"1 speaker\(s\) are in train and in eval: anna"):
        require_disjoint_speakers([*sound, row("anna", "eval")])
