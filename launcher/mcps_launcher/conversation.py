"""What happens between a server's start and its end: self-test, relay, questions in between.

Loaded while the sandbox is being made: neither the decision nor the start needs it.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mcps_launcher.configuration import Configuration
from mcps_launcher.guard.actions import Audit
from mcps_launcher.guard.decide import Guard
from mcps_launcher.guard.framing import MAX_LINE
from mcps_launcher.guard.message import REFUSED, error_answer
from mcps_launcher.guard.pins import Pins
from mcps_launcher.guard.relay import Relay
from mcps_launcher.places import Places
from mcps_launcher.prove import RefusedError
from mcps_launcher.recheck import Recheck
from mcps_launcher.sandbox.process import Process, SelfTestFailedError
from mcps_launcher.start import Start
from mcps_trust.audit.record import KeyedDigest, shape
from mcps_trust.audit.sink import SessionLog
from mcps_trust.errors import McpsError, NotPermittedError
from mcps_trust.locked_file import make_private_directory
from mcps_trust.model.statement import ReleaseStatement

__all__ = ["Conversation", "ServerEndedError", "SessionEndedError"]

_LOG_LIMIT = 4 * 1024 * 1024  # bytes
_REVOKED_EXIT = 77


class ServerEndedError(NotPermittedError):
    """The server ended by itself while the host still wanted it."""

    code = "server-ended"
    exit_code = 69
    advice = "`mcps-launch logs NAME` shows its last words"


class SessionEndedError(RefusedError):
    """A session that ran was ended: revoked, replaced, or a line without end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """One host and one server that was just started.

    Attributes:
        errors: file for what the server writes to stderr.
    """

    start: Start
    process: Process
    places: Places
    configuration: Configuration
    log: SessionLog
    keyed: KeyedDigest
    errors: Path

    def hold(self) -> None:
        """Pass messages until the host has had enough.

        Raises:
            SelfTestFailedError, SandboxFailedError: the sandbox is not as planned.
            ServerEndedError: the server ended before the host did.
            SessionEndedError: it was ended, by its revocation for one.
            AuditNotWritableError: a record could not be written.
        """
        # All that can be got ready before the sandbox is.
        recheck = Recheck(self.start.decision, self.places, self.configuration.recheck)
        relay = self._relay(recheck.tick)
        try:
            self._self_test()
            gc.freeze()  # all of it is used until the end; only what messages leave is garbage
            gc.enable()
            reason = relay.run().reason
            if reason == "server":
                raise ServerEndedError("the server ended by itself", found=self._last_words())
            if reason != "host":
                raise self._ended(relay, reason)
        finally:
            recheck.stop()

    def _self_test(self) -> None:
        found = self.process.self_test()
        if self.configuration.limits == "required" and found.limits == "rlimit":
            raise SelfTestFailedError(
                "limits are required, and this machine has only resource limits",
                expected="a cgroup",
                found=found.limits,
            )
        self.log.write("self-test", datetime.now(UTC), {"selfTest": dict(found.facts)})

    def _relay(self, tick: Callable[[], str | None]) -> Relay:
        decision, process = self.start.decision, self.process
        statement = ReleaseStatement.parse(self.start.payload)
        pins = Pins.of(statement.tools, decision.tools, decision.deny_tools)
        return Relay(
            host_in=0, host_out=1, server_in=process.stdin, server_out=process.stdout,
            server_err=process.stderr, guard=Guard(pins=pins, limit=MAX_LINE),
            audit=self._audit, log=_writer(self.errors), tick=tick,
        )  # fmt: skip

    def _audit(self, action: Audit) -> None:
        body = dict(action.body)
        if action.parameters is not None and action.form is not None:
            body["parameters"] = shape(action.parameters)
            body["parametersDigest"] = self.keyed.of(action.form)
        self.log.write(action.event, datetime.now(UTC), body)

    def _ended(self, relay: Relay, reason: str) -> McpsError:
        """Tell the host, on every request that waits, and write it down."""
        error = NotPermittedError(
            f"the session was ended: {reason}", remedy="do not start it again before you know why"
        )
        self.log.write("terminated", datetime.now(UTC), {"reason": reason})
        for identity in relay.guard.in_flight():
            relay.answer(error_answer(identity, REFUSED, error.what, {"code": reason}))
        return SessionEndedError({**error.to_dict(), "code": reason}, _REVOKED_EXIT)

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self.errors.read_text("utf-8", "replace").splitlines()[-5:]
            return "\n".join(lines)
        return ""


def _writer(place: Path) -> Callable[[bytes], None]:
    make_private_directory(place.parent)
    file = place.open("ab", buffering=0)
    written = 0

    def write(chunk: bytes) -> None:
        nonlocal written
        if written < _LOG_LIMIT:
            written += len(chunk)
            with contextlib.suppress(OSError):
                file.write(chunk)

    return write
