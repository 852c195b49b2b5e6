"""The card of an encoder: sentences, the figures in a table, and what changes with the lag."""

from __future__ import annotations

from itertools import accumulate
from statistics import median
from typing import TYPE_CHECKING

from latentbench.encoders.encoder import sight_text
from latentbench.errors import counted
from latentbench.reports.columns import (
    number_text,
    shown_interval,
    shown_number,
    shown_share,
    time_text,
)
from latentbench.reports.tables import BLANK, Interval, Line, Table, column
from latentbench.reports.words import TITLE
from latentbench.results.standing import worded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from latentbench.cards.card import Card, Heard, Lag, Predictable

__all__ = ["card_report", "card_tables", "card_title", "directions_for", "words_of_card"]

MANY, MOST = 0.9, 0.99
HEAVY = 1.0  # excess kurtosis from which tails are called heavy
Row = tuple[str, str, str]


def card_report(card: Card) -> Iterator[Table | Line]:
    """What the terminal shows of a card."""
    stamps = tuple((f"  [{stamp}]", "bold") for stamp in card.stamps)
    yield Line(card_title(card), "bold", stamps)
    yield Line(TITLE, "bold")
    for text in words_of_card(card):
        yield Line(f"- {text}")
    yield from card_tables(card)


def card_title(card: Card) -> str:
    """Encoder, its options, of paths the last name, and corpus."""
    last = {name: value.replace("\\", "/").split("/")[-1] for name, value in card.options.items()}
    options = "".join(f" {name}={value}" for name, value in last.items())
    return f"The latents of {card.encoder}{options} on {card.corpus}"


def card_tables(card: Card) -> Iterator[Table]:
    """The figures, and those by lag."""
    yield _figures(card)
    yield _by_lag(card)


def words_of_card(card: Card) -> Iterator[str]:
    """What a card says, in sentences."""
    yield from (worded(text, card.sampled[:-1]) for text in _words(card))


def _words(card: Card) -> Iterator[str]:
    yield from _levels(card)
    yield from _directions(card)
    yield from _memory(card)
    yield from _gain(card)
    if card.heard is not None:
        yield from _hearing(card, card.heard)
    yield from (f"{one}." for one in card.warnings)


def directions_for(shares: Sequence[float], part: float) -> int | None:
    """How many of the first hold this part of their sum; None where that is 0 or less."""
    whole = sum(shares)
    if whole <= 0:
        return None
    sums = accumulate(shares)
    return next(number for number, one in enumerate(sums, 1) if one >= part * whole * (1 - 1e-12))


def _levels(card: Card) -> Iterator[str]:
    found = card.statistics
    yield (
        f"{card.frame_rate:g} frames a second of {card.dim} dimensions; all values together have "
        f"mean {_number(found.mean)} and std {_number(found.std)}, to normalise by."
    )
    low, high = min(found.dim_std), max(found.dim_std)
    if low > 0 and high > 2 * low:
        yield (
            f"Dimensions differ in spread, from {_number(low)} to {_number(high)}: "
            "'--transform standardize' treats each by itself."
        )


def _directions(card: Card) -> Iterator[str]:
    found = card.statistics
    many = directions_for(found.spectrum, MANY)
    if many is None:
        yield "The latents do not vary at all."
        return
    yield (
        f"{many} of {counted(card.dim, 'direction')} hold 90 % of the variance; the effective rank "
        f"is {found.effective_rank:.1f}."
    )
    tails = [one for one in found.dim_kurtosis if one is not None]
    if median(tails) > HEAVY:
        yield (
            f"Half of the dimensions have an excess kurtosis above {median(tails):.1f}, where a "
            "Gaussian has 0: their tails are heavy."
        )
    if found.speaker_share is not None:
        yield f"{found.speaker_share:.0%} of the variance is between speakers."


def _memory(card: Card) -> Iterator[str]:
    first, *rest = card.statistics.autocorrelation
    if first.correlation is None:
        return
    half = next((one for one in (first, *rest) if _below(one, 0.5)), None)
    after = (
        f"below 0.5 from {time_text(half.ms)} ms on"
        if half
        else f"still above 0.5 at {time_text(rest[-1].ms)} ms"
    )
    yield (
        f"Frames one step apart ({time_text(first.ms)} ms) correlate by {first.correlation:.2f}; "
        f"the correlation is {after}."
    )


def _below(lag: Lag, value: float) -> bool:
    return lag.correlation is not None and lag.correlation < value


def _gain(card: Card) -> Iterator[str]:
    if not card.predictable:
        yield "There are too few frames to say what a linear prediction gains."
        return
    if leaky := [one for one in card.predictable if _is_leaky(card, one.frames)]:
        yield (
            f"Up to {time_text(leaky[-1].ms)} ms of staleness nothing is predicted: a frame sees "
            "later audio, so the context has seen the target."
        )
    if causal := card.predictable[len(leaky) :]:
        yield from _worth(causal)


def _is_leaky(card: Card, frames: int) -> bool:
    """Whether a context of this staleness has seen the target, as declared or as measured."""
    measured = 0 if card.heard is None else card.heard.look_ahead
    return frames <= max(card.look_ahead, measured)


def _worth(found: Sequence[Predictable]) -> Iterator[str]:
    """What a linear prediction gains at the first of these stalenesses, and until which."""
    first = found[0]
    which = "the next one" if first.frames == 1 else f"the frame {time_text(first.ms)} ms later"
    seen = f"From {counted(first.context, 'frame')} a linear prediction of {which} gains"
    if first.low is not None and first.high is not None and first.low <= 0 <= first.high:
        yield f"{seen} nothing that can be told from 0 on speakers that it has not seen."
        return
    many = directions_for([max(0.0, one) for one in first.directions], MANY)
    where = f", 90 % of it in {counted(many, 'direction')}" if many and first.gain > 0 else ""
    yield f"{seen} {number_text(first.gain, 2)} nats on speakers that it has not seen{where}."
    sure = [number for number, one in enumerate(found, 1) if one.low is not None and one.low > 0]
    if sure and sure[-1] < len(found):
        yield (
            f"From {time_text(found[sure[-1]].ms)} ms of staleness on "
            f"{counted(first.speakers, 'speaker')} show no gain above 0."
        )


def _hearing(card: Card, heard: Heard) -> Iterator[str]:
    declared = sight_text(card.look_ahead)
    ahead = heard.look_ahead
    saw = f"up to {counted(ahead, 'frame')} after its own" if ahead else "none"
    yield f"Of later audio a frame was seen to depend on {saw}; declared: {declared}."
    constant = min(one.constant for one in heard.levels)
    most = max(one.change for one in heard.levels)
    alike = ", by nearly the same vector in every frame" if constant > MANY else ""
    yield f"Audio 6 dB louder or quieter moves frames by up to {most:.2f} of their spread{alike}."


def _figures(card: Card) -> Table:
    told = [*_levels_rows(card), *_direction_rows(card), *_heard_rows(card)]
    rows = [tuple(worded(text, card.sampled[:-1]) for text in row) for row in told]
    return Table(
        (column("figure", rows, lambda row: row[0], left=True),),
        (
            (
                column("value", rows, lambda row: row[1]),
                column("what it is", rows, lambda row: row[2], left=True, fold=44),
            ),
        ),
        title="Figures",
    )


def _levels_rows(card: Card) -> Iterator[Row]:
    found = card.statistics
    tails = [one for one in found.dim_kurtosis if one is not None]
    yield (
        "frames",
        f"{found.frames:,}",
        (f"of {counted(found.utterances, 'utterance')}, {counted(found.speakers, 'speaker')}"),
    )
    yield "rate", f"{card.frame_rate:g}", f"Hz; hop {card.hop} at {card.sample_rate:g} Hz"
    yield "dimensions", str(card.dim), "D"
    yield "mean", _number(found.mean), "of all values"
    yield "std", _number(found.std), "of all values"
    yield "lowest", _number(found.low), "value"
    yield "highest", _number(found.high), "value"
    yield (
        "kurtosis",
        _number(median(tails) if tails else None),
        "median dimension; Gaussian 0",
    )
    yield "most kurtosis", _number(max(tails, default=None)), "of a dimension"
    yield "norm", _number(found.norm), f"mean of frames; std {_number(found.norm_std)}"
    yield "move", _number(found.move), "mean norm of the change to the next frame"
    yield "move, relative", _number(found.move_share), "rms, over the spread; 1.41 where white"


def _direction_rows(card: Card) -> Iterator[Row]:
    found, facts = card.statistics, card.facts
    yield "effective rank", _number(found.effective_rank, 1), "exp of the entropy of the spectrum"
    yield "participation", _number(found.participation_ratio, 1), "1 / sum of squared shares"
    yield "for 90 %", _whole(directions_for(found.spectrum, MANY)), "directions of most variance"
    yield "for 99 %", _whole(directions_for(found.spectrum, MOST)), "likewise"
    yield "speakers", shown_share(found.speaker_share, 1), "of the variance is between speakers"
    if facts is not None:
        yield "constant", str(facts.constant_dims), "dimensions"
        yield "tiny", _whole(facts.tiny_directions), "directions below 1e-6 of the largest variance"
        yield "repeats", shown_share(facts.repeats, 1), "of frames equal the one before"
        step = f" of step {facts.lattice_step:.4g}" if facts.lattice_step else ""
        yield "lattice", shown_share(facts.lattice, 1), f"of values lie on one{step}"
        yield "silence", shown_share(facts.silent, 1), "of frames are digital silence"


def _heard_rows(card: Card) -> Iterator[Row]:
    heard = card.heard
    if heard is None:
        return
    yield "look-ahead", str(heard.look_ahead), f"frames measured; declared {_declared(card)}"
    if heard.start is not None:
        yield "start", str(heard.start), "frames until the start of the audio is forgotten, to 1 %"
    elif heard.start_tried:
        yield "start", f"> {heard.start_tried}", "frames until the start is forgotten, to 1 %"
    for one in heard.levels:
        said = f"of the spread; {one.constant:.0%} of it one vector"
        yield f"level {one.decibels:+g} dB", _number(one.change, 2), said
    if heard.decoded is not None:
        yield "decoded", _number(heard.decoded.distance, 1), "dB log-spectral distance"
        yield "decoded level", f"{heard.decoded.level:+.1f}", "dB against the original"
    yield "x real time", f"{heard.times_real_time:,.0f}", "encoding, on the CPU"


def _declared(card: Card) -> str:
    return sight_text(card.look_ahead) if card.sees_all else str(card.look_ahead)


def _by_lag(card: Card) -> Table:
    gains = {one.frames: one for one in card.predictable}
    lags = {one.frames: one.correlation for one in card.statistics.autocorrelation}

    def nats(k: int) -> str:
        return _number(gains[k].gain, 2) if k in gains else BLANK

    powers = [lag for lag in lags if lag & (lag - 1) == 0]
    rows = sorted({*powers, *gains})
    keys = [
        column("k", rows, str, unit="frames"),
        column("ms", rows, lambda k: time_text(1e3 * k / card.frame_rate)),
    ]
    if any(_is_leaky(card, one) for one in rows):
        keys.append(column("", rows, lambda k: "leaky" if _is_leaky(card, k) else ""))
    return Table(
        tuple(keys),
        (
            (
                column("correlation", rows, lambda k: _number(lags.get(k), 3)),
                column("linear gain", rows, nats, unit="nats/frame"),
                column("95 % interval", rows, lambda k: _interval(gains.get(k)), beside=True),
                column("for 90 %", rows, lambda k: _components(gains.get(k)), unit="directions"),
            ),
        ),
        title="By lag: correlation of frames, and what a linear prediction gains from k frames ago",
    )


def _interval(found: Predictable | None) -> str | Interval:
    return BLANK if found is None else shown_interval(found.low, found.high, 2)


def _components(found: Predictable | None) -> str:
    if found is None or found.gain <= 0:
        return BLANK
    return _whole(directions_for([max(0.0, one) for one in found.directions], MANY))


def _number(value: float | None, decimals: int = 4) -> str:
    return shown_number(value, decimals)


def _whole(value: int | None) -> str:
    return BLANK if value is None else str(value)
