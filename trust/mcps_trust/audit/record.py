"""One audit record: a JSON object on a line, chained to the line before it (pure).

Its page is ``docs/formats/audit-record.md``. Parameters never stand in a record: it holds
their shape, and an HMAC under a key of the host's, with which somebody who has the call
can prove that it is the one, while a reader of the log learns nothing of its content.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal

from mcps_trust.model.digest import Sha256

__all__ = ["FIRST_PREV", "SCHEMA", "Event", "KeyedDigest", "encode", "line_digest",
           "members", "shape"]  # fmt: skip

SCHEMA = 1
FIRST_PREV = Sha256("0" * 64)
"""What the first record of a chain has for the digest of the one before it."""

Event = Literal[
    "launch-refused",
    "session-start",
    "self-test",
    "session-end",
    "call",
    "call-outcome",
    "read",
    "read-outcome",
    "drift",
    "message-refused",
    "terminated",
    "host-session-open",
    "host-session-close",
]

_MAX_SHAPE_DEPTH, _MAX_SHAPE_KEYS, _MAX_SHAPE_NAME = 3, 20, 100
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def members(facts: Mapping[str, Any]) -> bytes:
    """What all records of a session have in common, encoded once: `encode` takes it."""
    return _dumps(facts)[1:-1]


def encode(
    *,
    seq: int,
    prev: str,
    time: datetime,
    session: str,
    event: Event,
    body: Mapping[str, Any],
    common: bytes = b"",
) -> bytes:
    """The line of one record, newline included.

    Args:
        seq: its number in the chain, from 0.
        prev: digest of the line before it, or `FIRST_PREV`.
        time: when it was written.
        session: the session's id.
        event: what happened.
        body: everything else; no key of it is in `common`.
        common: `members` of what all records of the session say.
    """
    stamp = (time if time.tzinfo is UTC else time.astimezone(UTC)).isoformat(
        timespec="milliseconds"
    )
    head = {"schema": SCHEMA, "seq": seq, "prev": prev, "time": stamp[:-6] + "Z",
            "session": session, "event": event, **body}  # fmt: skip
    line = _dumps(head)
    return b"%s,%s}\n" % (line[:-1], common) if common else line + b"\n"


def _dumps(value: Mapping[str, Any]) -> bytes:
    return _ENCODER.encode(value).encode()


def line_digest(line: bytes) -> Sha256:
    """What the next record has as ``prev``: SHA-256 over the line without its newline."""
    return Sha256(hashlib.sha256(line.rstrip(b"\n")).hexdigest())


class KeyedDigest:
    """HMAC-SHA-256 over RFC 8785 forms, under one key."""

    def __init__(self, key: bytes) -> None:
        self._empty = hmac.new(key, digestmod="sha256")

    def of(self, form: bytes) -> str:
        """The digest of one form, in hexadecimal."""
        digest = self._empty.copy()
        digest.update(form)
        return digest.hexdigest()


def shape(value: object, depth: int = 0) -> object:
    """What kind of value it is, without any of its content: names of keys, and types.

    Of large values only a part, so that a record stays a line that people can read.
    """
    if isinstance(value, dict):
        if depth == _MAX_SHAPE_DEPTH:
            return "object"
        return {
            str(key)[:_MAX_SHAPE_NAME]: shape(item, depth + 1)
            for key, item in islice(value.items(), _MAX_SHAPE_KEYS)
        }
    if isinstance(value, list):
        return f"array of {len(value)}"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return f"text of {len(value)}"
    return "null" if value is None else "number"
