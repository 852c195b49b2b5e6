"""Pictures of finished runs: rows made from their figures, drawn for papers and for browsers."""

from __future__ import annotations

__all__: list[str] = []
