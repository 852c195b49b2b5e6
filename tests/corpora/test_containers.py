"""A file that ends before what its header promises is refused, whatever its format."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from latentbench.corpora.audio_files import READ
from latentbench.corpora.containers import require_whole
from latentbench.corpora.corpus import AudioError

# What the format of each suffix that is listed is to soundfile; PVF, IRCAM and PAF state no length,
# and MP3 and Ogg are made by encoders that libsndfile may lack.
STATED = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "VOC", "AVR", "WVE", "SVX")
STATED += ("MPC2K",)
MAGICS = (b"RIFF", b"Crea", b"2BIT", b"ALaw", b"NIST", b"OggS", b"FORM", b"caff", b".snd", b"riff")
MAGICS += (b"\x01\x04",)


def sound(format_, subtype, channels=1):
    file = io.BytesIO()
    samples = 0.1 * np.random.default_rng(0).standard_normal((16_000, channels))
    with soundfile.SoundFile(
        file, "w", 16_000, channels, subtype=subtype, format=format_
    ) as written:
        written.write(samples)
    return file.getvalue()


PAIRS = [
    (format_, subtype) for format_ in STATED for subtype in soundfile.available_subtypes(format_)
]


def made(format_, subtype, channels=1):
    try:
        return sound(format_, subtype, channels)
    except (soundfile.LibsndfileError, ValueError):
        return None


@pytest.mark.parametrize(("format_", "subtype"), PAIRS)
def test_a_whole_file_is_taken_and_one_cut_short_is_not(format_, subtype):
    tried = [found for channels in (1, 2) if (found := made(format_, subtype, channels))]
    for whole in tried:
        require_whole(io.BytesIO(whole))
        with pytest.raises(AudioError, match="cut short"):
            require_whole(io.BytesIO(whole[: int(len(whole) * 0.6)]))


def test_most_formats_can_be_made_here():
    assert sum(made(*one) is not None for one in PAIRS) > 25
    assert {".voc", ".avr", ".wve", ".nist"} <= READ


@given(st.sampled_from(MAGICS), st.binary(max_size=300))
def test_any_bytes_are_taken_or_refused_in_words(magic, rest):
    try:
        require_whole(io.BytesIO(magic + rest))
    except AudioError as error:
        assert str(error)  # noqa: PT017 - most bytes are refused by libsndfile, later
