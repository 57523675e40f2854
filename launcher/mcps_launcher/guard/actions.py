"""What the guard has the relay do, in order (pure values)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcps_trust.audit.record import Event

__all__ = ["Action", "Audit", "ToClient", "ToServer"]


@dataclass(frozen=True, slots=True)
class ToServer:
    """Send a line to the server."""

    line: bytes


@dataclass(frozen=True, slots=True)
class ToClient:
    """Send a line to the host."""

    line: bytes


@dataclass(frozen=True, slots=True)
class Audit:
    """Write a record before what follows it.

    Attributes:
        parameters: recorded by their shape.
        form: their RFC 8785 form, recorded by a keyed digest.
    """

    event: Event
    body: Mapping[str, Any]
    parameters: object = None
    form: bytes | None = None


Action = ToServer | ToClient | Audit
