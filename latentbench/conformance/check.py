"""What a check is, how a kit runs its checks, and what a finding says."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latentbench.plugins import Component
    from latentbench.workspace import Workspace

__all__ = [
    "Check",
    "Doubt",
    "Finding",
    "Kit",
    "NonconformityError",
    "Skip",
    "Status",
    "Subject",
    "Verdict",
    "require",
]

Status: TypeAlias = Literal["pass", "warn", "skip", "fail"]


class NonconformityError(Exception):
    """A component did not do what its contract says.

    Args:
        expected: what the contract wants, here.
        came: what came instead.
    """

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(expected, came)
        self.expected = expected
        self.came = came

    def __str__(self) -> str:
        return f"expected {self.expected}; came {self.came}"


@dataclass(frozen=True)
class Doubt:
    """Allowed, but probably not what the author wants."""

    text: str


@dataclass(frozen=True)
class Skip:
    """The check says nothing about this component, and why."""

    reason: str


Verdict: TypeAlias = "str | Doubt | Skip | None"


def require(condition: object, expected: str, came: str) -> None:
    """Hold the component to its contract.

    Raises:
        NonconformityError: the condition is false.
    """
    if not condition:
        raise NonconformityError(expected, came)


class Subject:
    """One component with its options: what the checks of a kit look at.

    Attributes:
        blocked: the check that failed without which the others mean nothing; empty if none.
    """

    def __init__(self, component: Component, options: Any, workspace: Workspace) -> None:
        self.component = component
        self.options = options
        self.workspace = workspace
        self.blocked = ""

    @property
    def whose(self) -> str:
        """For messages, e.g. `encoder 'mine' of latentbench-mine 0.1.0`."""
        spec, provider = self.component.spec, self.component.provider
        return f"{spec.kind} '{spec.name}' of {provider.distribution} {provider.version}".rstrip()


S = TypeVar("S", bound=Subject)


@dataclass(frozen=True)
class Finding:
    """How one check ended.

    Attributes:
        whose: which component, of which distribution.
        check: name of the check.
        wanted: what the check wants, one line.
        status: `fail` and `warn` have a detail that says why.
        detail: what was found.
        error: what was raised, where the component raised it itself.
    """

    whose: str
    check: str
    wanted: str
    status: Status
    detail: str = ""
    error: Exception | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        verb = {"fail": "does not pass", "warn": "is in doubt at", "skip": "is not tried at"}
        return (
            f"The {self.whose} {verb.get(self.status, 'passes')} '{self.check}': {self.detail}\n"
            f"Wanted: {self.wanted}"
        )


@dataclass(frozen=True)
class Check(Generic[S]):
    """A named look at a subject.

    Attributes:
        function: returns a detail, a `Doubt`, a `Skip` or nothing; raises
            `NonconformityError` where the contract is not kept. Its name is the check's name,
            the first line of its docstring is what is wanted.
        gate: where it fails, the checks after it are skipped: they could not mean anything.
    """

    function: Callable[[S], Verdict]
    gate: bool = False

    @property
    def name(self) -> str:
        """Of the function."""
        return self.function.__name__

    @property
    def wanted(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or "").partition("\n")[0]

    def __call__(self, subject: S) -> Finding:
        """Look, and say what was found; whatever the component raises is a finding."""
        if subject.blocked:
            return self._finding(subject, "skip", f"'{subject.blocked}' failed")
        try:
            verdict = self.function(subject)
        except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything
            if self.gate:
                subject.blocked = self.name
            return self._failure(subject, error)
        if isinstance(verdict, Doubt):
            return self._finding(subject, "warn", verdict.text)
        if isinstance(verdict, Skip):
            return self._finding(subject, "skip", verdict.reason)
        return self._finding(subject, "pass", verdict or "")

    def _finding(self, subject: S, status: Status, detail: str) -> Finding:
        return Finding(subject.whose, self.name, self.wanted, status, detail)

    def _failure(self, subject: S, error: Exception) -> Finding:
        detail, cause = str(error), error.__cause__
        if isinstance(error, LatentbenchError):
            detail = " ".join(filter(None, (error.message, error.hint)))
        elif not isinstance(error, NonconformityError):
            detail, cause = f"raised {described(error)}", error
        shown = cause if isinstance(cause, Exception) else None
        return Finding(subject.whose, self.name, self.wanted, "fail", detail, shown)


def described(error: BaseException) -> str:
    """An exception in one line, with the place it came from."""
    text = (str(error).strip() or "without a message").splitlines()[0]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{where}"


@dataclass(frozen=True)
class Kit(Generic[S]):
    """The checks of one kind of component.

    Attributes:
        kind: e.g. `encoder`.
        subject: makes the subject of a component, its options and a workspace; runs nothing.
        checks: in the order they are made.
    """

    kind: str
    subject: Callable[[Component, Any, Workspace], S]
    checks: tuple[Check[S], ...]

    def run(self, component: Component, options: Any, workspace: Workspace) -> Iterator[Finding]:
        """Make every check and yield each finding as it ends.

        Args:
            component: of the registry, of this kind.
            options: an instance of its options dataclass.
            workspace: where it may keep what it can make again.
        """
        subject = self.subject(component, options, workspace)
        for check in self.checks:
            yield check(subject)
