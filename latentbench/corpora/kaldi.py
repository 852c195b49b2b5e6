"""The corpus `kaldi`: a data folder with wav.scp, utt2spk and perhaps segments.

Source: "Data preparation" in the documentation of Kaldi, https://kaldi-asr.org/doc/data_prep.html.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from latentbench.corpora.audio_files import AudioFile, described
from latentbench.corpora.corpus import Corpus
from latentbench.corpora.stretch import Stretch
from latentbench.digest import file_digest
from latentbench.errors import UsageError
from latentbench.escapes import as_utf8
from latentbench.workspace import expanded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latentbench.corpora.corpus import Utterance
    from latentbench.corpora.plugin import KaldiOptions
    from latentbench.workspace import Workspace

__all__ = ["Kaldi"]

WAVES, SPEAKERS, SEGMENTS = "wav.scp", "utt2spk", "segments"
PIPE = "wav.scp gives a command, and no command is run"


class _Segment(NamedTuple):
    """A stretch of a recording, in seconds; an end below 0 is the recording's own."""

    recording: str
    start: float
    end: float


class Kaldi(Corpus):
    """Utterances of a Kaldi data folder, in the order of their ids."""

    def __init__(self, options: KaldiOptions, workspace: Workspace) -> None:
        self._root = expanded(options.root)
        self._base = expanded(options.base) if options.base else self._root
        self._given = bool(options.root)
        self._workspace = workspace
        self.name = f"kaldi {as_utf8(self._root.resolve().name)}"

    @property
    def identity(self) -> Mapping[str, str]:
        """The folder's name, and digests of the files that say which utterances there are."""
        self._require_folder()
        files = (self._root / name for name in (WAVES, SPEAKERS, SEGMENTS))
        digests = {file.name: file_digest(file) for file in files if file.is_file()}
        return {"corpus": "kaldi", "folder": as_utf8(self._root.resolve().name), **digests}

    def utterances(self) -> Sequence[Utterance]:
        """Every utterance of utt2spk.

        Raises:
            UsageError: a file is not there, or a line of it is not what it should be.
        """
        self._require_folder()
        waves = {name: text for name, (text,) in self._table(WAVES, 1).items()}
        speakers = {name: text for name, (text,) in self._table(SPEAKERS, 1).items()}
        segments = self._segments(speakers)
        for name, segment in segments.items():
            if segment.recording not in waves:
                raise UsageError(
                    f"'{self._root / WAVES}' has no line for '{segment.recording}', the "
                    f"recording of the utterance '{name}'."
                )
        used = sorted({one.recording for one in segments.values()})
        files = [self._file(name, waves[name]) for name in used]
        recordings = {
            one.id: one for one in described(files, self._workspace, f"listing {self.name}")
        }
        return [
            _cut(recordings[one.recording], name, speakers[name], one)
            for name, one in sorted(segments.items())
        ]

    def _file(self, name: str, given: str) -> AudioFile:
        is_pipe = given.endswith("|")
        return AudioFile(self._base / given, name, "", problem=PIPE if is_pipe else "")

    def _segments(self, speakers: Mapping[str, str]) -> dict[str, _Segment]:
        """Where each utterance of utt2spk is."""
        if not (self._root / SEGMENTS).exists():
            return {name: _Segment(name, 0.0, -1.0) for name in speakers}
        rows = self._table(SEGMENTS, 3)
        if missing := sorted(speakers.keys() - rows.keys()):
            raise UsageError(f"'{self._root / SEGMENTS}' has no line for '{missing[0]}'.")
        return {name: self._segment(name, *rows[name]) for name in speakers}

    def _segment(self, name: str, recording: str, start: str, end: str) -> _Segment:
        try:
            found = _Segment(recording, float(start), float(end))
        except ValueError:
            found = _Segment(recording, 0.0, 0.0)
        if not 0 <= found.start < found.end < float("inf") and found.end != -1:
            raise UsageError(
                f"'{self._root / SEGMENTS}' gives '{name}' the times '{start} {end}'.",
                "Write the start and a later end in seconds; an end of -1 is the recording's.",
            )
        return found

    def _table(self, name: str, columns: int) -> dict[str, list[str]]:
        """First word of each line -> the rest, as so many columns."""
        file = self._root / name
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"'{file}' cannot be read: {reason}.") from None
        table: dict[str, list[str]] = {}
        for number, line in enumerate(lines, 1):
            key, *rest = line.strip().split(None, columns) or [""]
            if len(rest) != columns or key in table:
                what = "names it twice" if key in table else f"needs an id and {columns} more"
                raise UsageError(f"'{file}', line {number}: '{line}' {what}.")
            table[key] = rest
        return table

    def _require_folder(self) -> None:
        if not self._given or not self._root.is_dir():
            raise UsageError(
                f"corpus.root='{self._root if self._given else ''}' is no folder.",
                "Pass --set corpus.root=/path/to/data/train, with wav.scp and utt2spk in it.",
            )


def _cut(recording: Utterance, name: str, speaker: str, segment: _Segment) -> Utterance:
    """An utterance of a recording, which knows its length where it can be read."""
    one = replace(recording, id=name, speaker=speaker)
    end = recording.seconds if segment.end < 0 else segment.end
    if recording.problem or (segment.start, end) == (0.0, recording.seconds):
        return one
    source = Stretch(recording.source, recording.sample_rate, segment.start, end)
    rate = recording.sample_rate
    is_late = round(end * rate) > round(recording.seconds * rate)  # times are written in decimals
    late = f"ends at {end:g} s, after its recording" if is_late else ""
    problem = late or ("" if segment.start < end else "begins after its recording")
    return replace(one, source=source, seconds=max(0.0, end - segment.start), problem=problem)
