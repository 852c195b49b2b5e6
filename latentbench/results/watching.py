"""Watching a run from another process, by its journal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, TypeAlias

from latentbench.amounts import duration_text
from latentbench.engines.relay import Receiver
from latentbench.errors import UsageError
from latentbench.results.folder import RunFolder, runs_in
from latentbench.results.journal import Tail
from latentbench.results.listing import is_held

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from latentbench.progress import Progress
    from latentbench.results.journal import Event

__all__ = ["Ended", "Watched", "journals_in", "watch"]

Ended: TypeAlias = Literal["finished", "failed", "stopped", "running"]
ENDS = ("finished", "failed", "stopped")
PAUSE = 0.5  # seconds between looks at the file


class Watched:
    """A run as its journal tells it.

    Args:
        folder: of the run.
        progress: where it is shown; what went on before is told in a line a task.
        told: is given every event of the last start, in order.
    """

    def __init__(
        self, folder: Path, progress: Progress, told: Callable[[Event], object] = lambda _: None
    ) -> None:
        self.folder = folder
        self.ended: Ended = "running"
        self.error = ""
        self._progress = progress
        self._told = told
        self._tail = Tail(RunFolder(folder).journal_file)
        self._shown = Receiver(progress)
        self._done: dict[int, float] = {}
        self._catch_up(self._tail.more())

    def look(self) -> Ended:
        """Show what came since the last look; how the run ended, or that it goes on."""
        held = is_held(self.folder)  # before the file is read: what it ends with is in it
        for event in self._tail.more():
            self._told(event)
            self._show(event)
        if self.ended == "running" and not held:
            self.ended = "stopped"
        return self.ended

    def close(self) -> None:
        """End the display of what goes on."""
        self._shown.close()

    def _catch_up(self, events: Sequence[Event]) -> None:
        """Tell of the tasks that have ended, and begin to show the others where they are."""
        starts = [at for at, one in enumerate(events) if one["event"] == "run"]
        events = events[starts[-1] :] if starts else events
        tasks: dict[int, Event] = {}
        for one in events:
            self._told(one)
            kind, number = one["event"], one.get("task")
            if kind == "begin":
                tasks[one["task"]] = dict(one)
            elif kind == "end" and number in tasks:
                begun = tasks.pop(number)
                taken = duration_text(one["at"] - begun["at"])
                self._progress.say(f"{begun['title']}: {one['how']} in {taken}")
            elif number in tasks:
                tasks[number] |= {"done": one["done"]}
            else:
                self._show(one)
        for one in tasks.values():
            self._show(one)

    def _show(self, event: Event) -> None:
        kind, number = event["event"], event.get("task", -1)
        if kind == "begin":
            self._done[number] = event["done"]
            shape = (event[name] for name in ("title", "total", "unit", "done"))
            self._shown.take(("begin", number, *shape))
        elif number in self._done:
            amount = event["done"] - self._done[number]
            self._shown.take(("advance", number, amount, event.get("note")))
            self._done[number] += amount
            if kind == "end":
                del self._done[number]
                self._shown.take(("end", number, event["how"] == "done"))
        elif kind == "say":
            self._progress.say(event["text"])
        elif kind in ENDS:
            self.ended = kind
            self.error = event.get("error", "")
        elif kind == "run":  # it was started again
            self.ended = "running"


def journals_in(folder: Path) -> list[Path]:
    """The runs in a folder that keep a journal, or the folder itself, by when they last wrote.

    Raises:
        UsageError: there is none.
    """
    runs = [folder] if RunFolder(folder).is_run() else runs_in(folder)
    kept = [one for one in runs if RunFolder(one).journal_file.exists()]
    if not kept:
        raise UsageError(
            f"There is no run to watch in '{folder}': no progress.jsonl.",
            "Name the folder given to --out of 'latentbench run', once the run has begun.",
        )
    return sorted(kept, key=lambda one: RunFolder(one).journal_file.stat().st_mtime)


def watch(
    folder: Path, progress: Progress, told: Callable[[Event], object] = lambda _: None
) -> Watched:
    """Show a run until it ends; the same as `latentbench watch`.

    Args:
        folder: of the run, or of runs, of which the one that wrote last is shown.
        progress: where it is shown.
        told: is given every event.

    Raises:
        UsageError: there is no run to watch.
    """
    run = Watched(journals_in(folder)[-1], progress, told)
    try:
        while run.look() == "running":
            time.sleep(PAUSE)
    finally:
        run.close()
    return run
