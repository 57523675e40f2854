"""A refusal, as the answer to the host's first request: its stderr is often not shown."""

from __future__ import annotations

import contextlib
import os
import select
import time

from mcps_launcher.guard.framing import Lines
from mcps_launcher.guard.message import error_answer, parse_line
from mcps_trust.errors import McpsError

__all__ = ["answer_refusal"]

_FIRST_REQUEST_SECONDS = 20.0
_LIMIT = 1024 * 1024  # bytes


def answer_refusal(error: McpsError) -> None:
    """Wait for the host's first request, and answer it with the refusal."""
    lines = Lines(limit=_LIMIT)
    deadline = time.monotonic() + _FIRST_REQUEST_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([0], [], [], left)[0]:
            return
        chunk = os.read(0, 65536)
        if not chunk:
            return
        with contextlib.suppress(McpsError, OSError):
            for line in lines.feed(chunk):
                message = parse_line(line, _LIMIT)
                if not isinstance(message, list) and message.kind == "request":
                    text = f"{error.what} [{error.code}]"
                    os.write(
                        1, error_answer(message.id, 1000 + error.exit_code, text, error.to_dict())
                    )
                    return
