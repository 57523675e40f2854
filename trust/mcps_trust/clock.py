"""Time as a value that is handed in.

Decisions take ``now``; only commands own a clock. All times are aware and in UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock", "format_time", "parse_time"]

# RFC 3339 in UTC with whole seconds: the one spelling that our own formats use.
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}Z")


class Clock(Protocol):
    """Something that knows what time it is."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        return datetime.now(UTC)


def format_time(moment: datetime) -> str:
    """Spell `moment` as RFC 3339 in UTC, whole seconds: ``2026-11-21T09:30:00Z``."""
    return moment.astimezone(UTC).replace(microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Read what `format_time` writes.

    Raises:
        ValueError: `text` is spelled in any other way or names no real moment.
    """
    if not _TIME.fullmatch(text):
        msg = f"not a UTC time with whole seconds: {text!r}"
        raise ValueError(msg)
    return datetime.fromisoformat(text)
