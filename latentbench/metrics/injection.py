"""Which frames of a rollout are given back as they truly were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from latentbench.errors import UsageError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NEVER", "Injection"]

Kind = Literal["never", "once", "every", "teacher"]
COUNTED = ("once", "every")
KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}


@dataclass(frozen=True)
class Injection:
    """When the true frame takes the place of the one the model made.

    The model's first own frame, t0, is that of step 1. What is replaced is the frame as the
    model's later contexts and sums see it; what the model made of it is still scored.

    Attributes:
        kind: `never`; `once`, at step n; `every`, at steps n, 2n, ...; `teacher`, at every step.
        steps: n, at least 1; of no meaning where the kind has none.
    """

    kind: Kind = "never"
    steps: int = 1

    @classmethod
    def parse(cls, text: str) -> Injection:
        """Read `never`, `once:N`, `every:N` (or `each:N`) or `teacher`.

        Raises:
            UsageError: anything else; names the nearest.
        """
        name, colon, number = text.partition(":")
        name = "every" if name == "each" else name
        if name not in KINDS:
            known = [f"{one}:N" if one in COUNTED else one for one in KINDS]
            raise UsageError(f"'{text}' is no way to inject true frames.", nearest(text, known))
        kind = KINDS[name]
        if kind not in COUNTED:
            if colon:
                raise UsageError(f"'{text}' counts nothing.", f"Write '{name}'.")
            return cls(kind)
        if not number.isdecimal() or int(number) < 1:
            raise UsageError(
                f"'{text}' does not say after how many steps.",
                f"Write '{name}:N' with a whole number of at least 1, e.g. '{name}:8'.",
            )
        return cls(kind, int(number))

    def __str__(self) -> str:
        return f"{self.kind}:{self.steps}" if self.kind in COUNTED else self.kind

    def at_steps(self, count: int) -> NDArray[np.bool_]:
        """Whether the frames of steps 1..count are true, bool [count]."""
        step = np.arange(1, count + 1)
        if self.kind == "once":
            return np.asarray(step == self.steps)
        if self.kind == "every":
            return np.asarray(step % self.steps == 0)
        return np.full(count, self.kind == "teacher")


NEVER = Injection()
