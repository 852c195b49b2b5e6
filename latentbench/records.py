"""Records that are written to JSON and read back.

Numbers may be infinite or undefined; in JSON these are the strings `"Infinity"`, `"-Infinity"`
and `"NaN"`, so any JSON reader takes the file, and they read back as floats.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer

__all__ = ["Number", "Record"]


def _json_number(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


Number = Annotated[float, PlainSerializer(_json_number, return_type=float | str, when_used="json")]


class Record(BaseModel):
    """What is written to JSON and read back: no other keys, and unchanged once made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_json(self) -> str:
        """Indented JSON that any reader takes and `model_validate_json` reads back."""
        return self.model_dump_json(indent=2) + "\n"
