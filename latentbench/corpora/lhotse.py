"""The corpus `lhotse`: cuts of a Lhotse manifest, one a line of JSON.

Read without the library: a cut says which recording it is of, from when and for how long, and its
supervisions say who speaks where. Cuts that only Lhotse can compute (mixed, padded, resampled or
otherwise transformed ones, and recordings that are commands or addresses) are skipped by name.

Source: "Cuts" and "Representing a corpus" in https://lhotse.readthedocs.io, as version 1.33 writes
them.
"""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from latentbench.corpora.audio_files import AudioFile, described
from latentbench.corpora.corpus import Corpus
from latentbench.corpora.stretch import Stretch
from latentbench.digest import file_digest
from latentbench.errors import UsageError, counted, some
from latentbench.escapes import as_utf8
from latentbench.workspace import expanded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from latentbench.corpora.corpus import Utterance
    from latentbench.corpora.plugin import LhotseOptions
    from latentbench.workspace import Workspace

__all__ = ["Lhotse"]

KINDS = ("MonoCut", "MultiCut", "Cut")
ATTRIBUTES = ("gender", "language")
SAVE = "save them as audio first, with CutSet.save_audios"


@dataclass(frozen=True)
class _Part:
    """A stretch of one file, in seconds; `channel` is the row of the file, None for all."""

    id: str
    speaker: str
    file: str
    start: float
    end: float
    channel: int | None
    attributes: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether there is no file to look at; `file` is then no more than a name for that."""
        return self.end < 0


class Lhotse(Corpus):
    """Supervisions of cuts, in the order of the manifest; a cut without any is one utterance."""

    def __init__(self, options: LhotseOptions, workspace: Workspace) -> None:
        self._manifest = expanded(options.cuts)
        self._base = expanded(options.base) if options.base else self._manifest.parent
        self._given = bool(options.cuts)
        self._workspace = workspace
        self.name = f"lhotse {as_utf8(self._manifest.name)}"

    @property
    def identity(self) -> Mapping[str, str]:
        """The manifest's name and the digest of its content."""
        self._require_file()
        digest = file_digest(self._manifest)
        return {"corpus": "lhotse", "manifest": as_utf8(self._manifest.name), "digest": digest}

    def utterances(self) -> Sequence[Utterance]:
        """Every supervision of every cut.

        Raises:
            UsageError: the manifest is not there, or a line of it is no cut.
        """
        parts = [part for number, cut in self._cuts() for part in self._parts(number, cut)]
        seen: set[str] = set()
        for part in parts:
            if part.id in seen:
                raise UsageError(f"'{self._manifest}' has '{part.id}' twice.")
            seen.add(part.id)
        alone = [one.id for one in parts if one.speaker == one.id]
        if alone:
            self._workspace.progress.say(
                f"{counted(len(alone), 'cut')} without a speaker; each counts as a speaker of its "
                f"own: {some(alone)}"
            )
        files = {one.file: one.problem if one.is_lost else "" for one in parts}
        listed = described(
            [AudioFile(self._base / file, file, "", problem=files[file]) for file in sorted(files)],
            self._workspace,
            f"listing {self.name}",
        )
        recordings = {one.id: one for one in listed}
        return [_utterance(one, recordings[one.file]) for one in parts]

    def _cuts(self) -> Iterator[tuple[int, dict[str, Any]]]:
        self._require_file()
        opened = gzip.open if self._manifest.suffix == ".gz" else open
        try:
            with opened(self._manifest, "rt", encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield number, json.loads(line)
        except (OSError, EOFError, ValueError) as error:
            raise UsageError(
                f"'{self._manifest}' cannot be read: {error}.",
                "Write it with CutSet.to_file('cuts.jsonl.gz').",
            ) from None

    def _parts(self, number: int, cut: dict[str, Any]) -> Iterator[_Part]:
        try:
            yield from _parts(cut)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"'{self._manifest}', line {number}, is no cut: {type(error).__name__} {error}."
            ) from None

    def _require_file(self) -> None:
        if not self._given or not self._manifest.is_file():
            raise UsageError(
                f"corpus.cuts='{self._manifest if self._given else ''}' is no file.",
                "Pass --set corpus.cuts=/path/to/cuts.jsonl.gz, as CutSet.to_file writes it.",
            )


def _parts(cut: dict[str, Any]) -> Iterator[_Part]:
    """The supervisions of a cut, within its times."""
    name, problem = as_utf8(str(cut["id"])), _why_not(cut)
    if problem:
        yield _Part(name, name, f"cut {name}", 0.0, -1.0, None, problem=problem)
        return
    begins, lasts = float(cut["start"]), float(cut["duration"])
    for one in cut.get("supervisions") or [{"id": name, "start": 0.0, "duration": lasts}]:
        first = max(0.0, float(one["start"]))
        last = min(lasts, float(one["start"]) + float(one["duration"]))
        its = as_utf8(str(one["id"]))
        file, channel, apart = _source(cut["recording"], one.get("channel", cut.get("channel")))
        id_ = name if its == name else f"{name}/{its}"
        yield _Part(
            id_,
            as_utf8(str(one.get("speaker") or id_)),
            file,
            begins + first,
            begins + last,
            channel,
            {key: as_utf8(str(one[key])) for key in ATTRIBUTES if one.get(key)},
            apart or ("" if first < last else "begins after its cut"),
        )


def _why_not(cut: Mapping[str, Any]) -> str:
    """Why a cut cannot be read without Lhotse; empty where it can."""
    if cut["type"] not in KINDS:
        return f"a {cut['type']}, which Lhotse computes: {SAVE}"
    recording = cut.get("recording")
    if not recording:
        return "a cut without a recording"
    if recording.get("transforms"):
        return f"a recording that Lhotse transforms: {SAVE}"
    kinds = {one["type"] for one in recording["sources"]} - {"file"}
    return f"a recording from a {min(kinds)}: {SAVE}" if kinds else ""


def _source(recording: Mapping[str, Any], channel: Any) -> tuple[str, int | None, str]:
    """The file that holds the channels of a recording, which row of it, and what is wrong.

    The row is None for all, where the file has no others.
    """
    wanted = channel if isinstance(channel, list) else [0 if channel is None else channel]
    for one in recording["sources"]:
        held = one["channels"]
        if wanted[0] in held:
            alone = held.index(wanted[0]) if len(wanted) == 1 and len(held) > 1 else None
            apart = len(wanted) > 1 and {*wanted} != {*held}
            why = f"channels {wanted} of a recording, where a file has {held}: {SAVE}"
            return str(one["source"]), alone, why if apart else ""
    raise ValueError(f"no channel {wanted[0]} in its recording")


def _utterance(part: _Part, recording: Utterance) -> Utterance:
    """An utterance of a recording, which knows its length where it can be read."""
    one = replace(recording, id=part.id, speaker=part.speaker, attributes=part.attributes)
    is_all = part.channel is None and not part.problem
    whole = is_all and (part.start, part.end) == (0.0, recording.seconds)
    if recording.problem or whole:
        return one
    rate = recording.sample_rate
    start = _samples(part.start, rate) / rate
    end = start + _samples(part.end - part.start, rate) / rate
    source = Stretch(recording.source, rate, start, end, part.channel)
    late = round(end * rate) > round(recording.seconds * rate)
    problem = f"ends at {part.end:g} s, after its recording" if late else part.problem
    return replace(one, source=source, seconds=end - start, problem=problem)


def _samples(seconds: float, rate: float) -> int:
    """Whole samples as Lhotse counts them: halves are rounded up."""
    return math.floor(round(seconds * rate, 8) + 0.5)
