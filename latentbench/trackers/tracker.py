"""The tracker contract, and how the events of a run reach trackers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from latentbench.errors import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Tracker", "Tracking"]

ENDS = ("finished", "failed", "stopped")


class Tracker(ABC):
    """Tells another tool what a run does; made by `factory(options)`.

    It is called in the process of the run, one run after another, and never between a loss and the
    next step of a training: so it should not wait for a network.

    Args:
        options: of its spec.
    """

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def begin(self, folder: Path, config: Mapping[str, Any]) -> None:
        """A run begins, or is continued.

        Args:
            folder: of the run; what the tracker keeps may go below `folder / "trackers"`.
            config: resolved, as plain nested values.
        """

    @abstractmethod
    def loss(self, name: str, value: float, step: int) -> None:
        """A loss after so many steps of a training.

        Args:
            name: e.g. `loss/predictor/k1/seed0/validation`.
            value: in the unit of the training; may be nan.
            step: of that training.
        """

    @abstractmethod
    def figure(self, name: str, value: float) -> None:
        """A figure of all eval frames, at the end: `gain/k1`; may be infinite or nan."""

    @abstractmethod
    def end(self, how: str) -> None:
        """The run ended: `finished`, `failed` or `stopped`."""


class Tracking:
    """Tells trackers the events of a journal; one that fails is told no more, and the run goes on.

    Args:
        trackers: that are told.
        folder: of the run.
        config: of the run.
        say: is told of a tracker that failed.
    """

    def __init__(
        self,
        trackers: Sequence[Tracker],
        folder: Path,
        config: Mapping[str, Any],
        say: Callable[[str], object],
    ) -> None:
        self._trackers = list(trackers)
        self._say = say
        self._titles: dict[int, str] = {}
        self._tell("begin", folder, config)

    def take(self, event: Mapping[str, Any]) -> None:
        """One event of the journal (docs/watching.md)."""
        match event:
            case {"event": "begin", "task": number, "title": title}:
                self._titles[number] = title
            case {"event": "loss", "task": number, "k": k, "seed": seed, "split": split}:
                role = self._titles.get(number, "").partition("(")[2].rstrip(")") or "predictor"
                name = f"loss/{role}/k{k}/seed{seed}/{split}"
                self._tell("loss", name, float(event["loss"]), event["step"])
            case {"event": "figure", "figure": figure, "k": k, "value": value}:
                self._tell("figure", f"{figure}/k{k}", float(value))
            case {"event": how} if how in ENDS:
                self._tell("end", how)

    def _tell(self, what: str, *given: Any) -> None:
        for one in [*self._trackers]:
            if reason := _trouble(getattr(one, what), *given):
                self._trackers.remove(one)
                self._say(f"The tracker {type(one).__name__} is told no more: {reason}")


def _trouble(tell: Callable[..., object], *given: Any) -> str:
    """Why a tracker could not be told; empty where it could."""
    try:
        tell(*given)
    except Exception as error:  # noqa: BLE001 - another tool's trouble is not the run's
        return first_line(error)
    return ""
