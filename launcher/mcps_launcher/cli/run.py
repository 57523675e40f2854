"""``mcps-launch run NAME``: stdout carries nothing but the protocol."""

from __future__ import annotations

import sys
from pathlib import Path

from mcps_launcher.places import Places
from mcps_launcher.session import (
    ServerEndedError,
    SessionEndedError,
    answer_refusal,
    run_session,
)
from mcps_trust.errors import InternalError, McpsError

__all__ = ["run_plain"]

_INTERRUPTED = 130


def run_plain(alias: str, home: Path | None) -> int:
    """Run a server; gives the exit code. Errors go to stderr, and to the first request."""
    try:
        return run_session(alias, Places.find(home))
    except McpsError as error:
        failure = error
    except (KeyboardInterrupt, BrokenPipeError):
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback for hosts
        failure = InternalError(f"{type(error).__name__}: {error}")
    sys.stderr.write(f"error [{failure.code}]: {failure}\n")
    sys.stderr.flush()
    if not isinstance(failure, ServerEndedError | SessionEndedError):
        try:
            answer_refusal(failure)
        except (KeyboardInterrupt, OSError):
            return _INTERRUPTED
    return failure.exit_code
