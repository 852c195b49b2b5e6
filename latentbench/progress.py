"""How long work is reported, without saying where it is shown.

The stations of the road call `Progress.task`; the command line shows it as bars or as plain
lines; a notebook or a test passes `SILENT`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

__all__ = [
    "SILENT",
    "STEPS",
    "Headed",
    "Meter",
    "Networks",
    "Progress",
    "SilentProgress",
    "Titled",
    "Together",
    "measure",
]

STEPS = "steps"  # the unit of a training


class Meter(Protocol):
    """One piece of work under way."""

    def advance(self, amount: float = 1.0) -> None:
        """Say that `amount` more of the total is done, in the unit of the task."""

    def note(self, text: str) -> None:
        """Show a short text beside the bar, e.g. the running loss."""


class Progress(Protocol):
    """Where work is reported."""

    def task(
        self, title: str, total: float | None, unit: str, done: float = 0.0
    ) -> AbstractContextManager[Meter]:
        """Begin a piece of work of `total` units (None: unknown), `done` of them before now."""

    def say(self, text: str) -> None:
        """Tell the user one thing that happened."""


def measure(meter: Meter, **facts: float | str) -> None:
    """Tell a meter the numbers behind its note, if it has a place for them: `measure(**facts)`."""
    if (keep := getattr(meter, "measure", None)) is not None:
        keep(**facts)


class _SilentMeter:
    def advance(self, amount: float = 1.0) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class SilentProgress:
    """Shows nothing and keeps what was said in `said`."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def task(
        self,
        title: str,  # noqa: ARG002 - the protocol's signature
        total: float | None,  # noqa: ARG002
        unit: str,  # noqa: ARG002
        done: float = 0.0,  # noqa: ARG002
    ) -> AbstractContextManager[Meter]:
        """Begin a piece of work that nobody watches."""
        return nullcontext(_SilentMeter())

    def say(self, text: str) -> None:
        """Keep the text."""
        self.said.append(text)


class Titled:
    """Reports to another progress with a word behind every title."""

    def __init__(self, progress: Progress, word: str) -> None:
        self._progress = progress
        self._word = word

    def task(
        self, title: str, total: float | None, unit: str, done: float = 0.0
    ) -> AbstractContextManager[Meter]:
        """Begin a piece of work, `title (word)`."""
        return self._progress.task(f"{title} ({self._word})", total, unit, done)

    def say(self, text: str) -> None:
        """Tell the user one thing that happened."""
        self._progress.say(text)


class Headed:
    """Reports to another progress, and says a heading there before the first report."""

    def __init__(self, progress: Progress, heading: str) -> None:
        self._progress = progress
        self._heading = heading

    def task(
        self, title: str, total: float | None, unit: str, done: float = 0.0
    ) -> AbstractContextManager[Meter]:
        """Begin a piece of work."""
        self._begin()
        return self._progress.task(title, total, unit, done)

    def say(self, text: str) -> None:
        """Tell the user one thing that happened."""
        self._begin()
        self._progress.say(text)

    def _begin(self) -> None:
        heading, self._heading = self._heading, ""
        if heading:
            self._progress.say(heading)


class Together:
    """Reports to another progress, and there on all pieces of work of one title as one.

    Args:
        progress: to report to.
        title: of the pieces, and of the whole.
        total: of the whole.
        unit: of both.
        done: of the whole, before now.
    """

    def __init__(
        self, progress: Progress, title: str, total: float, unit: str, done: float
    ) -> None:
        self._progress = progress
        self._title = title
        self._fresh = 0.0
        self._whole = progress.task(title, total, unit, done)

    def __enter__(self) -> Self:
        self._meter = self._whole.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._whole.__exit__(*error)  # type: ignore[arg-type] # the three that it takes

    def task(
        self, title: str, total: float | None, unit: str, done: float = 0.0
    ) -> AbstractContextManager[Meter]:
        """Begin a piece of work."""
        if title == self._title:
            return _Part(self, done)
        return self._progress.task(title, total, unit, done)

    def say(self, text: str) -> None:
        """Tell the user one thing that happened."""
        self._progress.say(text)

    def advance(self, amount: float = 1.0) -> None:
        """Say that `amount` more of the whole is done."""
        self._fresh += amount
        self._meter.advance(amount)

    def note(self, text: str) -> None:
        """Show a short text beside the whole."""
        self._meter.note(text)

    def reach(self, fresh: float) -> None:
        """Say that at least `fresh` of the whole was done since it began.

        For pieces of work that end without a word here, as those of another machine.
        """
        self.advance(max(0.0, fresh - self._fresh))


class _Part:
    """Advances the whole; what was done of a part that died is done again by another."""

    def __init__(self, whole: Meter, done: float) -> None:
        self._whole = whole
        self._done = 0.0
        self.advance(done)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._whole.advance(-self._done)

    def advance(self, amount: float = 1.0) -> None:
        self._done += amount
        self._whole.advance(amount)

    def note(self, text: str) -> None:
        self._whole.note(text)


class Networks:
    """Reports to another progress, and there on all the trainings of a run as one piece of work.

    That begins with the first training: models in closed form have none. What is counted is
    networks, parts of them included: one that converges early is done as a whole, and its steps say
    nothing of those of the others.

    Args:
        progress: to report to.
        count: how many networks will be trained, at most.
    """

    def __init__(self, progress: Progress, count: int) -> None:
        self._progress = progress
        self._count = count
        self._begun = 0
        self._done = 0.0
        self._all: Meter | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.__exit__(*error)  # type: ignore[arg-type] # the three that it takes

    def task(
        self, title: str, total: float | None, unit: str, done: float = 0.0
    ) -> AbstractContextManager[Meter]:
        """Begin a piece of work; one in steps is a training."""
        if unit != STEPS or total is None or self._count == 1:
            return self._progress.task(title, total, unit, done)
        return self._training(title, total, done)

    def say(self, text: str) -> None:
        """Tell the user one thing that happened."""
        self._progress.say(text)

    @contextmanager
    def _training(self, title: str, total: float, done: float) -> Iterator[Meter]:
        self._begun += 1
        told = 0.0
        if self._all is None:
            told = done
            self._done = done / total if total else 0.0  # before this command: no time of its own
            whole = self._progress.task("all networks", self._count, "", self._done)
            self._all = self._open.enter_context(whole)
        # Side by side, cells may fit a network that one after the other they would share.
        self._all.note(f"network {self._begun} of {max(self._count, self._begun)}")
        with self._progress.task(title, total, STEPS, done) as meter:
            part = _Share(meter, self._advance, total, told)
            part.reach(done)
            yield part
            part.reach(total)

    def _advance(self, networks: float) -> None:
        networks = min(networks, self._count - self._done)
        if self._all is not None and networks > 0:
            self._done += networks
            self._all.advance(networks)


class _Share:
    """The meter of one training, which is one network of all; `done` is known to the whole."""

    def __init__(
        self, one: Meter, whole: Callable[[float], None], total: float, done: float
    ) -> None:
        self._one = one
        self._whole = whole
        self._total = total
        self._done = done

    def reach(self, steps: float) -> None:
        """Say to the whole, not to the training, that so many steps are done."""
        if self._total:
            self._whole((steps - self._done) / self._total)
        self._done = steps

    def advance(self, amount: float = 1.0) -> None:
        self._one.advance(amount)
        self.reach(self._done + amount)

    def note(self, text: str) -> None:
        self._one.note(text)

    def measure(self, **facts: float | str) -> None:
        measure(self._one, **facts)


SILENT = SilentProgress()
