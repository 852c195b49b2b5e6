"""Checks of a contract: small functions of a subject, and the findings they end in.

A check takes the subject of its kind and looks at one promise of the contract. Its name is what
users see, the first line of its docstring says what is wanted. It returns what it saw, or a
`Doubt` or a `Skip`, and calls `require` for what must hold.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    "described",
    "kit_of",
    "require",
    "run_checks",
]

Status: TypeAlias = Literal["pass", "warn", "skip", "fail"]
Check: TypeAlias = Callable[[Any], "str | None"]


class Doubt(str):
    """What is allowed, but probably not what the author wants."""

    __slots__ = ()


class Skip(str):
    """Why a check does not apply to a component."""

    __slots__ = ()


class NonconformityError(Exception):
    """A broken contract: what it wants here, and what came instead."""

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}; came {came}")


def require(condition: object, expected: str, came: str) -> None:
    """Hold a component to its contract.

    Raises:
        NonconformityError: the condition is false.
    """
    if not condition:
        raise NonconformityError(expected, came)


class Subject:
    """A component with its options, and what the checks of its kind share.

    Attributes:
        contract: the class of which the factory gives an instance.
        blocked: the gate that failed; the checks after it could not mean anything.
    """

    contract: ClassVar[type]

    def __init__(self, component: Component, options: Any, workspace: Workspace) -> None:
        self.component = component
        self.options = options
        self.workspace = workspace
        self.blocked = ""

    def make(self) -> Any:
        """A new instance."""
        return self.component.create(self.options)


@dataclass(frozen=True)
class Finding:
    """How one check ended.

    Attributes:
        whose: component and distribution.
        check: name of the check.
        wanted: what the check wants, one line.
        status: `pass`, `warn` of a doubt, `skip` or `fail`.
        detail: what was found.
        error: what the component itself raised.
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
class Kit:
    """The checks of one kind.

    Attributes:
        subject: what the checks are given.
        gates: checks that are made first; where one fails, the others are skipped.
        checks: the others.
    """

    subject: type[Subject]
    gates: tuple[Check, ...]
    checks: tuple[Check, ...]

    @property
    def all(self) -> tuple[Check, ...]:
        """Every check in the order they are made."""
        return (creates, *self.gates, *self.checks)

    def look(self, check: Check, subject: Subject) -> Finding:
        """Make one check; whatever the component raises is a finding."""
        whose, wanted = str(subject.component), (check.__doc__ or "").partition("\n")[0]
        status: Status = "pass"
        error = None
        try:
            verdict = Skip(f"'{subject.blocked}' failed") if subject.blocked else check(subject)
        except Exception as raised:  # noqa: BLE001 - a stranger's code may raise anything
            verdict, error = _why(raised)
            status = "fail"
            if check not in self.checks:
                subject.blocked = check.__name__
        if isinstance(verdict, (Doubt, Skip)):
            status = "warn" if isinstance(verdict, Doubt) else "skip"
        return Finding(whose, check.__name__, wanted, status, str(verdict or ""), error)


def creates(subject: Subject) -> None:
    """The factory gives an instance of the contract's class."""
    made, contract = subject.make(), subject.contract
    factory = subject.component.spec.factory
    wanted = f"{factory} to give a {contract.__module__}.{contract.__name__}"
    require(isinstance(made, contract), wanted, type(made).__name__)


def kit_of(kind: str) -> Kit:
    """The checks of a kind of component; they import torch."""
    kit: Kit = importlib.import_module(f"latentbench.conformance.{kind}").KIT
    return kit


def run_checks(component: Component, options: Any, workspace: Workspace) -> Iterator[Finding]:
    """Make every check of the component's kind and yield each finding as it ends.

    Args:
        component: of the registry.
        options: an instance of its options dataclass.
        workspace: where it may keep what it can make again.
    """
    kit = kit_of(component.spec.kind)
    subject = kit.subject(component, options, workspace)
    for check in kit.all:
        yield kit.look(check, subject)


def described(error: BaseException) -> str:
    """An exception in one line, with the place it came from."""
    text = (str(error).strip() or "without a message").splitlines()[0]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{where}"


def _why(error: Exception) -> tuple[str, Exception | None]:
    """What a failed check says, and what the component raised, if it did."""
    if isinstance(error, LatentbenchError):
        detail, cause = " ".join(filter(None, (error.message, error.hint))), error.__cause__
    elif isinstance(error, NonconformityError):
        detail, cause = str(error), error.__cause__
    else:
        detail, cause = f"raised {described(error)}", error
    return detail, cause if isinstance(cause, Exception) else None
