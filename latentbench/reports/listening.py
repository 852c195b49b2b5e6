"""Sounds of a run as a table: what each is, how near it is to the original, and how it ends."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latentbench.errors import counted
from latentbench.reports.columns import compact, shown_number, time_text
from latentbench.reports.tables import BLANK, Column, Line, Table, column
from latentbench.reports.words import TITLE
from latentbench.rollout.alive import ALIVE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from latentbench.listening.record import Listening, Sound

__all__ = ["fate", "listening_report", "words_of_listening"]

CODEC, STATE = "codec", "state"
LEGEND = """\
from: second from which on a model made the frames; what is scored begins there
SI-SDR, log-mel, STFT: against the original; log-mel in dB, 0 is the same
STOI, PESQ: intelligibility, 1 is the same, and quality, 1 to 4.64, where their libraries are
level: over that of the original, dB
moves: change of the frames over that of true ones"""


def listening_report(found: Listening) -> Iterator[Table | Line]:
    """What the terminal shows of sounds."""
    stamps = tuple((f" [{stamp}]", "bold yellow") for stamp in found.stamps)
    yield Line(f"{found.predictor} on {found.encoder}, {found.corpus}", "bold", stamps)
    yield Line(
        f"k = {found.k} ({time_text(found.milliseconds)} ms), seed {found.seed}, "
        f"{found.sample_rate:,} Hz; rollouts by samples after {found.prompt_seconds:g} s",
        "dim",
    )
    yield Line()
    yield Line(TITLE, "bold")
    yield from (Line(f"- {text}") for text in words_of_listening(found))
    yield _table(found.sounds)
    yield from (Line(text, "dim") for text in LEGEND.splitlines())
    yield from map(Line, found.left_out)
    yield Line(f"Sounds and listen.json in {found.folder}")


def words_of_listening(found: Listening) -> list[str]:
    """How near the sounds are, and how the rollouts end."""
    kinds: dict[str, list[Sound]] = {}
    for one in found.sounds:
        kinds.setdefault(one.kind, []).append(one)
    told = []
    for kind, what in ((CODEC, "codec"), (STATE, "true state")):
        if kind in kinds:
            told.append(
                f"The {what} alone is {_distance(kinds[kind])} dB of log-mel distance from the "
                "original: what is predicted cannot be expected to come nearer."
            )
    for kind, ones in kinds.items():
        if kind in {"original", CODEC, STATE}:
            continue
        ends = [text for one in ones if (text := fate(one))]
        all_of = "".join(
            f"; {text} in {ends.count(text)} of {len(ones)}" for text in dict.fromkeys(ends)
        )
        told.append(f"{kind}: {_distance(ones)} dB{all_of}.")
    if found.target == "delta":
        told.append(
            "This run predicts changes, which one-step sounds add to the true frame before: that "
            "alone brings them near the codec, the control's too. A run of target x, as lb1, tells "
            "more."
        )
    if cut := [one for one in found.sounds if one.clipped]:
        told.append(
            f"{counted(len(cut), 'sound')} of {len(found.sounds)} were louder than full scale and "
            "are cut off there."
        )
    return told or ["There is nothing to hear."]


def fate(sound: Sound) -> str:
    """How the frames of a sound end, in words; empty where they move as true ones do."""
    if sound.explodes_at is not None:
        return "explodes"
    if "rollout" not in sound.kind or sound.movement is None or math.isnan(sound.movement):
        return ""  # a mean over true contexts moves less than what it predicts, and must
    least, most = ALIVE
    if sound.movement < least:
        return "stands still"
    return "moves too much" if sound.movement > most else ""


def _distance(sounds: Sequence[Sound]) -> str:
    known = [one.log_mel for one in sounds if math.isfinite(one.log_mel)]
    return compact(sum(known) / len(known), 1) if known else BLANK


def _table(sounds: Sequence[Sound]) -> Table:
    def score(name: str) -> Column:
        return column(name.upper(), sounds, lambda one: shown_number(getattr(one, name), 2))

    # Scores whose library was there.
    known = [of for of in ("stoi", "pesq") if any(getattr(one, of) is not None for one in sounds)]
    keys = (
        column("utterance", sounds, lambda one: one.utterance, left=True, once=True, fold=24),
        column("sound", sounds, lambda one: one.kind, left=True),
    )
    figures = (
        column("from s", sounds, lambda one: shown_number(one.predicted_from or None, 1)),
        column("SI-SDR", sounds, lambda one: shown_number(one.si_sdr, 1)),
        column("log-mel", sounds, lambda one: shown_number(one.log_mel, 1)),
        column("STFT", sounds, lambda one: shown_number(one.stft, 2)),
        *map(score, known),
        column("level", sounds, lambda one: shown_number(one.level, 1)),
        column("moves", sounds, lambda one: shown_number(one.movement, 2)),
    )
    ends = column("ends", sounds, _end, left=True)
    return Table(keys, (figures, (ends,)), "Against the original", ruled=True)


def _end(sound: Sound) -> str:
    if sound.explodes_at is not None:
        return f"explodes at {sound.explodes_at:.1f} s, then silence"
    return fate(sound)
