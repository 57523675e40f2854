"""``mcps-launch run NAME``: stdout carries nothing but the protocol."""

from __future__ import annotations

import sys
from pathlib import Path

from mcps_launcher.configuration import MANAGED
from mcps_launcher.install.ahead import Ahead
from mcps_launcher.places import Places
from mcps_launcher.session import run_session
from mcps_trust.errors import InternalError, McpsError, NotPermittedError
from mcps_trust.interrupts import raise_interrupt

__all__ = ["ManagedHomeError", "run_in_home", "run_plain"]

_INTERRUPTED = 130


class ManagedHomeError(NotPermittedError):
    """On a managed host nobody chooses which enrolment holds."""

    code = "managed-home"


def run_in_home(alias: str, home: str | None, ahead: Ahead | None = None) -> int:
    """As `run_plain`, in a folder of the user's choice; not on managed hosts."""
    if home is not None and MANAGED.exists():
        error = ManagedHomeError("this host is managed: --home is not for it")
        sys.stderr.write(f"error [{error.code}]: {error}\n")
        return error.exit_code
    return run_plain(alias, home, ahead)


def run_plain(alias: str, home: str | Path | None, ahead: Ahead | None = None) -> int:
    """Run a server; gives the exit code. Errors go to stderr, and to the first request.

    Args:
        ahead: a look at what is installed, which was begun already.
    """
    try:
        raise_interrupt()  # not before what catches it
        return run_session(alias, Places.find(None if home is None else Path(home)), ahead)
    except McpsError as error:
        failure = error
    except (KeyboardInterrupt, BrokenPipeError):
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback for hosts
        failure = InternalError(f"{type(error).__name__}: {error}")
    sys.stderr.write(f"error [{failure.code}]: {failure}\n")
    sys.stderr.flush()
    try:
        _answer(failure)
    except (KeyboardInterrupt, OSError):
        return _INTERRUPTED
    return failure.exit_code


def _answer(failure: McpsError) -> None:
    """Answer the first request of a host whose server never started."""
    from mcps_launcher.conversation import ServerEndedError, SessionEndedError
    from mcps_launcher.refusal import answer_refusal

    if not isinstance(failure, ServerEndedError | SessionEndedError):
        answer_refusal(failure)
