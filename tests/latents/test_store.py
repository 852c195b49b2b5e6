"""The latent store: what is written is read, damage is found, a kill costs little."""

from __future__ import annotations

import errno
import resource
import signal
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.corpora import AudioError, Corpus, Utterance
from latentbench.corpora.corpus import AudioSource, PassingTroubleError, Recording
from latentbench.corpora.selection import audio_digests
from latentbench.encoders import Encoder, Segment
from latentbench.errors import LatentbenchError, UsageError
from latentbench.latents import store as stores
from latentbench.latents.encoding import plan_batches
from latentbench.latents.manifest import ManifestRow, open_latents
from latentbench.latents.store import (
    LatentStore,
    ShardEntry,
    list_stores,
    remove_store,
    store_key,
)
from latentbench.latents.stretches import encode_missing
from latentbench.progress import SilentProgress

RATE = 1000
HOP = 10


@dataclass(frozen=True)
class ArraySource(AudioSource):
    """Samples in memory; the digest is of the samples, as a file's is of its bytes."""

    samples: np.ndarray
    reason: str = ""

    def read(self):
        if self.reason:
            raise AudioError(self.reason)
        return self.samples

    def digest(self):
        return f"{hash(self.samples.tobytes()):x}"

    def describe(self):
        return "array"


class FrameMeans(Encoder):
    """Frame t is the mean and the sum of its hop: latents that are known from the audio."""

    sample_rate, hop, dim = RATE, HOP, 2

    def __init__(self, max_batch_seconds=1.0):
        self.max_batch_seconds = max_batch_seconds
        self.calls = 0

    def load(self, device):
        pass

    def encode(self, audio, lengths):
        self.calls += 1
        hops = audio.unflatten(-1, (-1, HOP))
        frames = torch.tensor([self.frame_count(int(n)) for n in lengths])
        return torch.stack([hops.mean(-1), hops.sum(-1)], -1), frames

    def fingerprint(self):
        return {"encoder": "frame means"}


class Chunked(FrameMeans):
    """Ten frames a chunk, and chunks that overlap by half a hop, as EnCodec 48 kHz has them."""

    def segments(self, samples):
        return tuple(Segment(start, 10) for start in range(0, samples, 95))

    def frame_count(self, samples):
        return sum(segment.frames for segment in self.segments(samples))

    def encode(self, audio, lengths):
        self.calls += 1
        padded = torch.nn.functional.pad(audio[0], (0, 200))
        rows = [
            padded[s + HOP * i : s + HOP * i + HOP]
            for s, n in self.segments(int(lengths[0]))
            for i in range(n)
        ]
        hops = torch.stack(rows)
        return torch.stack([hops.mean(-1), hops.sum(-1)], -1)[None], torch.tensor([len(rows)])


class Told(Corpus):
    name = "told"

    def __init__(self, what="test"):
        self.what = what

    @property
    def identity(self):
        return {"what": self.what}

    def utterances(self):
        return []


def utterance(name, samples, reason="", speaker="s"):
    samples = np.asarray(samples, np.float32).reshape(1, -1)
    return Utterance(name, speaker, ArraySource(samples, reason), RATE, samples.size / RATE)


def some_utterances(count=7, seed=0):
    rng = np.random.default_rng(seed)
    return [utterance(f"u{i}", rng.normal(size=rng.integers(1, 400))) for i in range(count)]


@dataclass
class Filled:
    store: LatentStore
    encoder: FrameMeans
    progress: SilentProgress = field(default_factory=SilentProgress)

    def fill(self, utterances):
        digests = audio_digests(utterances, self.progress)
        return encode_missing(
            self.store,
            self.encoder,
            utterances,
            digests=digests,
            device=torch.device("cpu"),
            progress=self.progress,
        )

    def rows(self, utterances, encoded):
        return [
            ManifestRow(
                u.id,
                u.speaker,
                "train",
                encoded.digests[u.id],
                u.seconds,
                encoded.skipped.get(u.id, ""),
            )
            for u in utterances
        ]


@pytest.fixture
def filled(tmp_path):
    encoder = FrameMeans()
    return Filled(LatentStore.for_key(tmp_path, store_key(encoder, "means", Told())), encoder)


def expected(one):
    samples = one.source.samples[0]
    hops = np.pad(samples, (0, -len(samples) % HOP)).reshape(-1, HOP)
    return np.stack([hops.mean(1), hops.sum(1)], 1), np.sqrt((hops**2).mean(1))


def test_latents_and_energy_come_back_in_the_order_asked_for(filled):
    utterances = some_utterances()
    latents, sides = open_latents(filled.store, filled.rows(utterances, filled.fill(utterances)))
    assert [one.id for one in latents.utterances] == [one.id for one in utterances]
    assert sides == {"train": list(range(7)), "eval": []}
    for index, one in enumerate(utterances):
        frames, energy = expected(one)
        np.testing.assert_allclose(latents.utterance(index), frames, atol=1e-6)
        stored = latents.utterances[index]
        rows = np.arange(stored.start, stored.start + stored.frames)
        np.testing.assert_allclose(latents.gather(rows), frames, atol=1e-6)
        np.testing.assert_allclose(latents.energy[rows], energy, rtol=1e-5)


def test_a_second_run_encodes_nothing(filled):
    utterances = some_utterances()
    assert filled.fill(utterances).fresh == 7
    filled.encoder.calls = 0
    assert filled.fill(utterances).fresh == 0
    assert filled.encoder.calls == 0


def test_shards_are_read_to_see_what_is_there_only_where_all_is(filled, monkeypatch):
    filled.fill(some_utterances())
    stored = filled.store.usable()
    assert filled.store.holds(stored)
    monkeypatch.setattr(LatentStore, "_damages", lambda _: pytest.fail("a shard is read"))
    assert not filled.store.holds(stored | {("new", "0")})


def test_a_grown_corpus_encodes_only_what_is_new(filled):
    utterances = some_utterances()
    filled.fill(utterances[:4])
    encoded = filled.fill(utterances)
    assert encoded.fresh == 3
    latents, _ = open_latents(filled.store, filled.rows(utterances, encoded))
    for index, one in enumerate(utterances):
        np.testing.assert_allclose(latents.utterance(index), expected(one)[0], atol=1e-6)


def test_changed_audio_of_the_same_name_is_never_a_hit(filled):
    filled.fill([utterance("u", np.ones(100))])
    changed = [utterance("u", np.full(100, 2.0))]
    encoded = filled.fill(changed)
    assert encoded.fresh == 1
    latents, _ = open_latents(filled.store, filled.rows(changed, encoded))
    np.testing.assert_allclose(latents.utterance(0)[:, 0], 2.0)


@pytest.mark.parametrize(
    ("owner", "attribute", "value"),
    [
        ("encoder", "hop", 20),
        ("encoder", "dim", 3),
        ("encoder", "channels", 2),
        ("encoder", "sample_rate", 8_000),
        ("encoder", "fingerprint", lambda: {"encoder": "other weights"}),
        ("corpus", "name", "other"),
        ("corpus", "what", "another subset"),
        ("store", "PREPARATION", "another resampler"),
        ("store", "SCHEMA", 0),
    ],
)
def test_whatever_changes_latents_changes_the_key(tmp_path, monkeypatch, owner, attribute, value):
    parts = {"encoder": FrameMeans(), "corpus": Told(), "store": stores}

    def place(name="means"):
        key = store_key(parts["encoder"], name, parts["corpus"])
        return LatentStore.for_key(tmp_path, key).path

    base = place()
    assert place() == base != place("other")
    monkeypatch.setattr(parts[owner], attribute, value)
    assert place() != base


def test_bad_audio_is_skipped_with_its_reason_and_not_decoded_into_frames(filled):
    utterances = [
        utterance("good", np.ones(95)),
        utterance("broken", np.ones(95), reason="not finite"),
        Utterance("eight", "s", ArraySource(np.ones((8, 95), np.float32)), RATE, 0.095),
        Utterance("none", "s", ArraySource(np.ones((1, 0), np.float32)), RATE, 0.0),
        utterance("silent", np.zeros(95)),
    ]
    encoded = filled.fill(utterances)
    assert encoded.skipped == {
        "broken": "not finite",
        "eight": "8 channels, mono or stereo expected",
        "none": "no samples",
    }
    latents, _ = open_latents(filled.store, filled.rows(utterances, encoded))
    assert [one.id for one in latents.utterances] == ["good", "silent"]
    assert filled.fill(utterances).fresh == 0


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (MemoryError(), "not enough memory"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (RuntimeError("a plugin's own"), ""),
    ],
)
def test_what_the_machine_could_not_read_is_no_utterance_of_any_run(
    filled, monkeypatch, trouble, reason
):
    """All else is stored, the run ends, and the same command goes on."""
    utterances = [utterance("unlucky", np.zeros(95)), utterance("good", np.ones(95))]
    read = ArraySource.read

    def fails(self):
        if not self.samples.any():
            raise trouble
        return read(self)

    with monkeypatch.context() as patched:
        patched.setattr(ArraySource, "read", fails)
        if reason:
            with pytest.raises(
                PassingTroubleError, match=f"'unlucky' could not.*{reason}.*\n.*may"
            ):
                filled.fill(utterances)
        else:  # what is wrong with the audio alone is said, and the others are used
            assert filled.fill(utterances).skipped == {
                "unlucky": "cannot be decoded: RuntimeError: a plugin's own"
            }
    again = filled.fill(utterances)
    assert (again.fresh, again.skipped) == (1, {})


def test_a_file_replaced_while_encoding_is_stored_as_what_it_became(filled, monkeypatch):
    """Its latents under its old digest would be a wrong hit for ever."""
    before, after = utterance("u", np.ones(100)), utterance("u", np.full(100, 2.0))
    digests = audio_digests([before], filled.progress)

    def record(_, rate):
        return Recording(after.source.samples, rate, after.source.digest())

    with monkeypatch.context() as patched:
        patched.setattr(ArraySource, "record", record)
        device = torch.device("cpu")
        digests = encode_missing(
            filled.store,
            filled.encoder,
            [before],
            digests=digests,
            device=device,
            progress=filled.progress,
        ).digests
    assert digests["u"] == after.source.digest()
    assert filled.fill([after]).fresh == 0
    encoded = filled.fill([before])
    assert encoded.fresh == 1
    latents, _ = open_latents(filled.store, filled.rows([before], encoded))
    assert (latents.utterance(0)[:, 0] == 1).all()


def test_skips_that_an_earlier_version_stored_are_tried_again(filled):
    (one,) = utterances = [utterance("u", np.ones(100))]
    entry = ShardEntry("u", one.source.digest(), "", 0, (), "cannot be decoded: Cannot allocate")
    with filled.store.writing(filled.progress):
        filled.store.add(torch.zeros(0, 1), torch.zeros(0), [entry])
    encoded = filled.fill(utterances)
    assert (encoded.fresh, encoded.skipped) == (1, {})
    assert filled.fill(utterances).fresh == 0


def test_a_store_of_nothing_but_bad_audio_opens_empty(filled):
    utterances = [utterance("broken", np.ones(95), reason="not finite")]
    latents, sides = open_latents(filled.store, filled.rows(utterances, filled.fill(utterances)))
    assert len(latents.utterances) == 0
    assert sides == {"train": [], "eval": []}


def test_chunks_become_sequences_of_their_own(tmp_path):
    encoder = Chunked(max_batch_seconds=0.0)
    filled = Filled(LatentStore.for_key(tmp_path, store_key(encoder, "chunked", Told())), encoder)
    samples = np.random.default_rng(0).normal(size=200).astype(np.float32)
    one = utterance("u", samples)
    latents, _ = open_latents(filled.store, filled.rows([one], filled.fill([one])))
    assert [(u.id, u.segment, u.frames) for u in latents.utterances] == [
        ("u", 0, 10),
        ("u", 1, 10),
        ("u", 2, 10),
    ]
    np.testing.assert_allclose(
        latents.utterance(1)[:, 0], samples[95:195].reshape(10, 10).mean(1), atol=1e-6
    )
    energy = latents.energy[latents.utterances[1].start :][:10]
    np.testing.assert_allclose(
        energy, np.sqrt((samples[95:195].reshape(10, 10) ** 2).mean(1)), 1e-5
    )


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "index"])
def test_a_damaged_shard_is_said_and_encoded_again(filled, damage):
    utterances = some_utterances()
    before = filled.fill(utterances)
    reference = open_latents(filled.store, filled.rows(utterances, before))[0].utterance(3).clone()
    (shard,) = filled.store.shards.glob("*/000000.safetensors")
    content = bytearray(shard.read_bytes())
    if damage == "flip":
        content[-5] ^= 0x10
        shard.write_bytes(content)
    elif damage == "truncate":
        shard.write_bytes(content[:-7])
    elif damage == "remove":
        shard.unlink()
    else:
        shard.with_suffix(".parquet").write_bytes(b"PAR1 no longer")
    encoded = filled.fill(utterances)
    assert encoded.fresh == 7
    said = "\n".join(filled.progress.said)
    assert "is damaged" in said
    assert "encoded again" in said
    again = open_latents(filled.store, filled.rows(utterances, encoded))[0].utterance(3)
    assert torch.equal(again, reference)


def test_a_shard_without_its_index_is_taken_for_half_written(filled):
    utterances = some_utterances()
    filled.fill(utterances)
    (index,) = filled.store.shards.glob("*/000000.parquet")
    index.unlink()
    assert filled.fill(utterances).fresh == 7
    assert len(list(filled.store.shards.rglob("*.safetensors"))) == 1


def test_missing_latents_are_an_error_that_says_how_to_go_on(filled):
    utterances = some_utterances()
    rows = filled.rows(utterances, filled.fill(utterances))
    for file in filled.store.shards.glob("*/*"):
        file.unlink()
    with pytest.raises(LatentbenchError, match=r"lacks 7 of 7 utterances.*\n.*same command"):
        open_latents(filled.store, rows)


@given(st.lists(st.floats(0, 50), max_size=40), st.floats(0, 200))
@settings(max_examples=60)
def test_batches_hold_everyone_once_and_no_more_than_allowed(seconds, budget):
    utterances = [
        Utterance(str(i), "s", ArraySource(np.zeros((1, 1), np.float32)), RATE, length)
        for i, length in enumerate(seconds)
    ]
    batches = plan_batches(utterances, budget)
    assert sorted(one.id for batch in batches for one in batch) == sorted(u.id for u in utterances)
    for batch in batches:
        longest = max(one.seconds for one in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget + 1e-9


def test_stores_are_listed_and_removed_by_key(filled, tmp_path):
    filled.fill(some_utterances())
    (info,) = list_stores(tmp_path)
    assert (info.encoder, info.corpus, info.utterances) == ("means", "told", 7)
    assert info.bytes == sum(f.stat().st_size for f in info.path.rglob("*") if f.is_file())
    with pytest.raises(UsageError, match=f"Did you mean '{info.key}'"):
        remove_store(tmp_path, info.key[:-1])
    remove_store(tmp_path, info.key)
    assert list_stores(tmp_path) == []


def test_a_store_in_use_is_not_removed(filled, tmp_path):
    filled.fill(some_utterances())
    with (
        filled.store.writing(filled.progress),
        pytest.raises(UsageError, match="being written by another process"),
    ):
        remove_store(tmp_path, filled.store.path.name)
    assert len(list_stores(tmp_path)) == 1


def test_a_full_disk_is_said_and_leaves_no_half_written_shard(filled):
    utterances = [utterance(f"u{i}", np.ones(40_000)) for i in range(4)]
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(LatentbenchError, match=r"needs about 0.2 MB more.*\n.*same command"):
            filled.fill(utterances)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert list(filled.store.shards.iterdir()) == []
    assert filled.fill(utterances).fresh == 4


def test_a_cache_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "latents").write_text("a file where a folder should be")
    store = LatentStore.for_key(tmp_path, store_key(FrameMeans(), "means", Told()))
    with (
        pytest.raises(LatentbenchError, match=r"cannot be made.*\n.*--cache"),
        store.writing(SilentProgress()),
    ):
        pass
