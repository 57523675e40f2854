"""One session: a decision becomes a running, guarded, audited server, and ends without trace.

The order is the point. Decision and audit come first; the server is spawned after them; the
self-test is read back and recorded before the first byte of either side is passed on.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from mcps_launcher.back_ends import choose_back_end
from mcps_launcher.configuration import Configuration
from mcps_launcher.enrolment import Enrolment
from mcps_launcher.guard.decide import Audit, Guard
from mcps_launcher.guard.framing import MAX_LINE, Lines
from mcps_launcher.guard.message import REFUSED, error_answer, parse_line
from mcps_launcher.guard.pins import Pins
from mcps_launcher.guard.relay import Relay
from mcps_launcher.kept import Kept
from mcps_launcher.places import Places
from mcps_launcher.prove import (
    RefusedError,
    child_environment,
    command,
    prove_in_child,
    read_answer,
)
from mcps_launcher.sandbox.process import BackEnd, Process, SelfTestFailedError
from mcps_launcher.start import Start
from mcps_launcher.warm import OFFLINE_TIERS, find_kept_start
from mcps_trust.audit.record import KeyedDigest, shape
from mcps_trust.audit.sink import AuditDirectory, SessionLog
from mcps_trust.errors import InternalError, McpsError, NotPermittedError
from mcps_trust.locked_file import make_private_directory
from mcps_trust.model.decision import LaunchDecision

__all__ = ["ServerEndedError", "SessionEndedError", "answer_refusal", "run_session"]

_FIRST_REQUEST_SECONDS = 20.0
_LOG_LIMIT = 4 * 1024 * 1024  # bytes
_REVOKED_EXIT = 77
# Untrusted data and refusals end a session; an unreachable registry does so in its time.
_ENDING_EXITS = (65, 77)
_RECHECK_SECONDS = 120.0


class ServerEndedError(NotPermittedError):
    """The server ended by itself while the host still wanted it."""

    code = "server-ended"
    exit_code = 69
    advice = "`mcps-launch logs NAME` shows its last words"


class SessionEndedError(RefusedError):
    """A session that ran was ended: revoked, replaced, or a line without end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Session:
    """What a session has, beside its process."""

    id: str
    places: Places
    configuration: Configuration
    start: Start
    log: SessionLog
    keyed: KeyedDigest


def run_session(alias: str, places: Places) -> int:
    """Run one server until its host or it ends; gives the exit code.

    Raises:
        McpsError: it may not start, could not start, or was ended.
    """
    configuration = Configuration.read(places)
    enrolment = Enrolment.read(places)
    back_end = choose_back_end(configuration, places)
    start = _decide(alias, places, enrolment, configuration, back_end)
    directory = AuditDirectory(places.audit)
    session_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(6)}"
    session = _Session(
        id=session_id, places=places, configuration=configuration, start=start,
        log=directory.open_session(session_id, _facts(start)), keyed=KeyedDigest(directory.key()),
    )  # fmt: skip
    reason = "failed"
    _write(session, "session-start", {
        "alias": alias, "decision": start.decision.digest, "plan": start.plan.describe(),
        "backEnd": dict(back_end.describe()),
    })  # fmt: skip
    try:
        with _registered(session), _signals():
            reason = _run(session, back_end)
    except McpsError as error:
        reason = error.code
        raise
    finally:
        session.log.close(datetime.now(UTC), {"reason": reason})
    if reason == "server":
        raise ServerEndedError("the server ended by itself", found=_last_words(session))
    return 0


def _decide(
    alias: str, places: Places, enrolment: Enrolment, configuration: Configuration,
    back_end: BackEnd,
) -> Start:  # fmt: skip
    def kept_start() -> Start | None:
        return find_kept_start(
            alias, kept=Kept(places), enrolment=enrolment, configuration=configuration,
            back_end=back_end, now=datetime.now(UTC),
        )  # fmt: skip

    start = kept_start()
    if start is not None:
        return start
    prove_in_child(alias, places.home)
    start = kept_start() or _offline_start(alias, places, back_end)
    if start is None:
        raise InternalError("the decision was made and does not hold")
    return start


def _offline_start(alias: str, places: Places, back_end: BackEnd) -> Start | None:
    """The start of a decision that the prover has just made from its cache."""
    from mcps_launcher.start import prepare_start

    kept = Kept(places)
    decision = kept.decision(alias)
    payload = None if decision is None else kept.payload(decision.release)
    if decision is None or payload is None:
        return None
    return prepare_start(decision, payload, back_end)


def _run(session: _Session, back_end: BackEnd) -> str:
    start = session.start
    process = back_end.spawn(start.plan, session.id)
    recheck = _Recheck(session)
    try:
        self_test = process.self_test()
        if session.configuration.limits == "required" and self_test.limits == "rlimit":
            raise SelfTestFailedError(
                "limits are required, and this machine has only resource limits",
                expected="a cgroup",
                found=self_test.limits,
            )
        _write(session, "self-test", {"selfTest": {**self_test.facts, "limits": self_test.limits}})
        relay = _relay(session, process, recheck)
        end = relay.run()
        if end.reason in ("host", "server"):
            return end.reason
        raise _ended(session, relay, end.reason)
    finally:
        recheck.stop()
        process.kill()
        for descriptor in (process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _relay(session: _Session, process: Process, recheck: _Recheck) -> Relay:
    decision = session.start.decision
    pins = Pins.of(session.start.statement.tools, decision.tools, decision.deny_tools)

    def audit(action: Audit) -> None:
        body = dict(action.body)
        if action.parameters is not None and action.form is not None:
            body["parameters"] = shape(action.parameters)
            body["parametersDigest"] = session.keyed.of(action.form)
        _write(session, action.event, body)

    return Relay(
        host_in=0, host_out=1, server_in=process.stdin, server_out=process.stdout,
        server_err=process.stderr, guard=Guard(pins=pins, limit=MAX_LINE), audit=audit,
        log=_log_writer(session), tick=recheck.tick,
    )  # fmt: skip


def _ended(session: _Session, relay: Relay, reason: str) -> McpsError:
    """Tell the host, on every request that waits, and write it down."""
    error = NotPermittedError(
        f"the session was ended: {reason}", remedy="do not start it again before you know why"
    )
    _write(session, "revoked", {"reason": reason})
    for identity in relay.guard.in_flight():
        relay.answer(error_answer(identity, REFUSED, error.what, {"code": reason}))
    return SessionEndedError({**error.to_dict(), "code": reason}, _REVOKED_EXIT)


class _Recheck:
    """Asks the registry again while the server runs, by a short-lived child."""

    def __init__(self, session: _Session) -> None:
        self._alias = session.start.decision.alias
        self._home = session.places.home
        self._every = session.configuration.recheck
        self._terms = _terms(session.start.decision)
        self._tier = session.start.decision.tier
        self._output: IO[bytes] | None = None
        self._deadline = 0.0
        self._kept = Kept(session.places)
        self._next = time.monotonic() + self._every
        self._child: subprocess.Popen[bytes] | None = None

    def tick(self) -> str | None:
        """A reason to end the session, or None."""
        now = time.monotonic()
        if self._child is None:
            if now >= self._next:
                self._output = tempfile.TemporaryFile()  # noqa: SIM115 - read when the child has ended
                self._deadline = now + _RECHECK_SECONDS
                self._child = subprocess.Popen(
                    command(self._alias, self._home, quiet=True), env=child_environment(),
                    stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.DEVNULL,
                )  # fmt: skip
            return None
        if self._child.poll() is None:
            if now > self._deadline:
                self._child.kill()
            return None
        code, self._child = self._child.returncode, None
        self._next = now + self._every
        return self._judge(code)

    def stop(self) -> None:
        """End a question that is still under way."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def _judge(self, code: int) -> str | None:
        output = b""
        if self._output is not None:
            self._output.seek(0)
            output = self._output.read()
            self._output.close()
        try:
            read_answer(output, code)
        except McpsError as error:
            ends = error.exit_code in _ENDING_EXITS or error.code == "offline-too-long"
            return error.code if ends else self._offline_too_long()
        decision = self._kept.decision(self._alias)
        changed = decision is not None and _terms(decision) != self._terms
        return "terms-changed" if changed else None

    def _offline_too_long(self) -> str | None:
        """The registry gives no answer: how long that is borne depends on the tier."""
        issued = self._kept.latest_time()
        if issued is not None and datetime.now(UTC) - issued > OFFLINE_TIERS[self._tier]:
            return "offline-too-long"
        return None


def _terms(decision: LaunchDecision) -> tuple[object, ...]:
    """What a running session was started under; a change of any of it ends the session."""
    return (
        decision.entry,
        decision.permissions,
        dict(decision.tools),
        decision.deny_tools,
        decision.closure,
    )


def _facts(start: Start) -> dict[str, Any]:
    """The part of every record that says who ran what, and who vouched for it."""
    decision = start.decision
    return {
        "principal": {"user": _user(), "agent": None, "device": os.uname().nodename, "proved": "user"},
        "server": {
            "name": str(decision.entry_path.server), "version": decision.entry_path.version,
            "closure": decision.closure, "signer": decision.signer, "entry": decision.entry,
            "approvers": list(decision.approved_by),
            "metadata": {"root": decision.metadata.root, "timestamp": decision.metadata.timestamp,
                         "snapshot": decision.metadata.snapshot},
            "runtime": {key: decision.runtime[key] for key in ("path", "version", "sha256")},
        },
    }  # fmt: skip


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _write(session: _Session, event: Any, body: Mapping[str, Any]) -> None:
    session.log.write(event, datetime.now(UTC), body)


@contextlib.contextmanager
def _registered(session: _Session) -> Iterator[None]:
    """A file for `ps`, for as long as the session runs."""
    place = make_private_directory(session.places.sessions) / f"{session.id}.json"
    decision = session.start.decision
    place.write_text(json.dumps({
        "session": session.id, "alias": decision.alias, "pid": os.getpid(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "server": f"{decision.entry_path.server}@{decision.entry_path.version}",
    }), "utf-8")  # fmt: skip
    try:
        yield
    finally:
        place.unlink(missing_ok=True)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end a session as Ctrl-C does: by way of every clean-up."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {n: signal.signal(n, interrupt) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _log_path(session: _Session) -> Path:
    return session.places.logs / session.start.decision.alias / f"{session.id}.log"


def _log_writer(session: _Session) -> Any:
    place = _log_path(session)
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


def _last_words(session: _Session) -> str:
    with contextlib.suppress(OSError):
        lines = _log_path(session).read_text("utf-8", "replace").splitlines()[-5:]
        return "\n".join(lines)
    return ""


def answer_refusal(error: McpsError) -> None:
    """Answer the host's first request with the refusal: its stderr is often not shown."""
    import select

    lines = Lines(limit=1024 * 1024)
    deadline = time.monotonic() + _FIRST_REQUEST_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([0], [], [], left)[0]:
            return
        chunk = os.read(0, 65536)
        if not chunk:
            return
        with contextlib.suppress(McpsError, OSError):
            for line in lines.feed(chunk):
                message = parse_line(line, 1024 * 1024)
                if not isinstance(message, list) and message.kind == "request":
                    text = f"{error.what} [{error.code}]"
                    os.write(
                        1, error_answer(message.id, 1000 + error.exit_code, text, error.to_dict())
                    )
                    return
