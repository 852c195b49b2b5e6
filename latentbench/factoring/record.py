"""What `latentbench factorize` found: a row per state, and an answer per point of the grid."""

from __future__ import annotations

from typing import Literal

from latentbench.comparisons.comparison import Failure  # noqa: TC001 - pydantic reads it
from latentbench.escapes import csv_text
from latentbench.results.schema import Number, Record

__all__ = ["FactoredRow", "Factoring", "Measure", "PointAnswer"]

FIGURES = (
    *("error", "rebuilt_error", "kl", "movement", "gain", "r2i", "excess"),
    *("rolled", "rolled_spread"),
)
HEADER = ("row", "role", "dim", "figure", "value", "low", "high", "n", "speakers")


class Measure(Record):
    """A figure over the scored eval frames, and its 95 % interval over speakers.

    Attributes:
        value: of all frames; infinite where one of a rollout is not finite.
        low: lower bound; None where there is none.
        high: upper bound.
        n: frames.
        speakers: whose.
    """

    value: Number
    low: Number | None = None
    high: Number | None = None
    n: int = 0
    speakers: int = 0


class FactoredRow(Record):
    """One state.

    Attributes:
        label: design and options, `x` for the latents themselves.
        role: the latents, a point of the grid, or a control of one.
        folder: of its run.
        dim: d.
        error: squared error of x rebuilt from the state alone, over the variance of x.
        rebuilt_error: the same with the innovation told too.
        kl: nats per frame that the innovation carries; None where its design does not say.
        movement: root mean square of one step over that of the distance from the mean: 0 stands
            still, the square root of 2 is white.
        rank: effective rank of the state (Roy & Vetterli 2007).
        gain: G, nats per frame.
        r2i: R²_I, per dimension.
        excess: NLL of the state given its past and of the rest given the state, minus NLL of x
            given its past, nats per frame; None where it is not known.
        rolled: root mean square step of its rollouts by samples, decoded into x, over that of the
            true states, decoded too; None where nothing is rolled out.
        rolled_spread: the same of the mean squared distance from the mean.
        stable_milliseconds: up to the deepest of the depths 1, 2, 4, ... before step or distance
            of a decoded rollout leaves a half to twice the true one; 0: it never stays; None: no
            frame tells.
        dead_at: the depth in frames at which it does; None: it stays alive at all of them.
        stamps: why the row says nothing of its design.
    """

    label: str
    role: Literal["latents", "point", "control"]
    folder: str
    dim: int
    error: Measure
    rebuilt_error: Measure | None
    kl: Measure | None
    movement: Measure
    rank: float
    gain: Measure
    r2i: Measure
    excess: Measure | None
    rolled: Measure | None = None
    rolled_spread: Measure | None = None
    stable_milliseconds: float | None = None
    dead_at: int | None = None
    stamps: tuple[str, ...] = ()


class PointAnswer(Record):
    """Whether a state is easier to model than as good a summary of x that looks at no time.

    Attributes:
        label: of the point.
        matched: label of the principal components that rebuild x about as well.
        difference: R²_I of the state minus that of these, over the same speakers.
        verdict: `easier`, `harder`, `not distinguishable`; or `withheld` where a state collapsed or
            a model was not fitted, and where there is no interval, as the sentence says.
        sentence: the same in words.
    """

    label: str
    matched: str
    difference: Measure
    verdict: Literal["easier", "harder", "not distinguishable", "withheld"]
    sentence: str


class Factoring(Record):
    """A grid.

    Attributes:
        schema_version: raised by every change of it.
        folder: that holds the runs.
        encoder, corpus, predictor: by name.
        k: staleness in frames; `ms` in milliseconds.
        rows: the latents first, then each point with its controls.
        answers: one for each point.
        failures: points that are missing.
        sampled: what intervals are over: `speakers`, or `files` of one voice.
    """

    schema_version: Literal[1] = 1
    folder: str
    encoder: str
    corpus: str
    predictor: str
    k: int
    ms: float
    rows: tuple[FactoredRow, ...]
    answers: tuple[PointAnswer, ...]
    failures: tuple[Failure, ...] = ()
    sampled: str = "speakers"

    def to_csv(self) -> str:
        """One line a figure: row, role, d, figure, value, low, high, n, speakers."""
        rows: list[tuple[object, ...]] = [HEADER]
        for row in self.rows:
            place = (row.label, row.role, row.dim)
            for name in FIGURES:
                one = getattr(row, name)
                if one is not None:
                    rows.append((*place, name, one.value, one.low, one.high, one.n, one.speakers))
            bare = {"rank": row.rank, "stable_milliseconds": row.stable_milliseconds}
            rows += [
                (*place, name, value, None, None, None, None)
                for name, value in bare.items()
                if value is not None
            ]
        return csv_text(rows)
