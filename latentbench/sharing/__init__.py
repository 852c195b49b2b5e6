"""Results that leave this machine: leaderboards, what is published, and running it again."""

from __future__ import annotations

__all__: list[str] = []
