"""One session: a decision becomes a running, guarded, audited server, and ends without trace.

The order is the point. Decision and audit come first; the server is spawned after them; the
self-test is read back and recorded before the first byte of either side is passed on.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from mcps_launcher.back_ends import choose_back_end
from mcps_launcher.configuration import Configuration
from mcps_launcher.enrolment import Enrolment
from mcps_launcher.install.ahead import Ahead
from mcps_launcher.install.installed import Look, manifest
from mcps_launcher.kept import Kept
from mcps_launcher.places import Places
from mcps_launcher.sandbox.process import BackEnd
from mcps_launcher.start import Start, prepare_start
from mcps_launcher.warm import Needed, find_kept_start
from mcps_trust.audit.record import KeyedDigest
from mcps_trust.audit.sink import AuditDirectory, AuditNotWritableError, SessionLog
from mcps_trust.errors import InternalError, McpsError
from mcps_trust.locked_file import make_private_directory
from mcps_trust.model.decision import LaunchDecision
from mcps_trust.model.names import parse_alias
from mcps_trust.printable import printable

__all__ = ["run_session"]

_RENEWAL_SECONDS = 10
_ENDING_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def run_session(alias: str, places: Places, ahead: Ahead | None = None) -> int:
    """Run one server until its host or it ends; gives the exit code.

    Args:
        alias: the server.
        places: the launcher's folder.
        ahead: a look at what is installed for the decision that is kept now.

    Raises:
        McpsError: it may not start, could not start, or was ended.
    """
    directory = AuditDirectory(places.audit)
    session = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.urandom(6).hex()}"
    try:
        parse_alias(alias)
        configuration = Configuration.read(places)
        enrolment = Enrolment.read(places, configuration)
        back_end = choose_back_end(configuration, places)
        start = _decide(
            alias, places, enrolment, configuration, back_end, manifest if ahead is None else ahead
        )
    except McpsError as error:
        body = {"alias": printable(alias[:100]), "code": error.code, "principal": _principal()}
        with contextlib.suppress(AuditNotWritableError):  # the refusal stands without
            directory.enter("launch-refused", datetime.now(UTC), session, body)
        raise
    finally:
        if ahead is not None:
            ahead.close()
    with _signals():
        _hold(alias, session, start, back_end, places, configuration, directory)
    return 0


def _hold(
    alias: str, session: str, start: Start, back_end: BackEnd, places: Places,
    configuration: Configuration, directory: AuditDirectory,
) -> None:  # fmt: skip
    """One session, from its first record to its last."""
    decision, keyed = start.decision, KeyedDigest(directory.key())
    log: SessionLog | None = None
    reason = "interrupted"
    try:
        with _uninterrupted():
            log = directory.open_session(session, _facts(decision))
            log.write("session-start", datetime.now(UTC), {
                "alias": alias, "decision": decision.digest, "plan": start.plan.describe(),
                "backEnd": dict(back_end.describe()),
            })  # fmt: skip
        with _registered(decision, places, session):
            _spawned(start, back_end, session, places, configuration, log, keyed)
        reason = "host"
    except McpsError as error:
        reason = "server" if error.code == "server-ended" else error.code
        raise
    finally:
        if log is not None:
            with _uninterrupted():
                log.close(datetime.now(UTC), {"reason": reason})


def _spawned(
    start: Start, back_end: BackEnd, session: str, places: Places, configuration: Configuration,
    log: SessionLog, keyed: KeyedDigest,
) -> None:  # fmt: skip
    process = back_end.spawn(start.plan, session)
    try:
        # The sandbox takes a while to be made, on another processor: time to load the rest.
        from mcps_launcher.conversation import Conversation

        Conversation(
            start=start, process=process, places=places, configuration=configuration,
            log=log, keyed=keyed, errors=places.logs / start.decision.alias / f"{session}.log",
        ).hold()  # fmt: skip
    finally:
        with _uninterrupted():
            process.kill()
        for descriptor in (process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _decide(
    alias: str, places: Places, enrolment: Enrolment, configuration: Configuration,
    back_end: BackEnd, look: Look,
) -> Start:  # fmt: skip
    kept = Kept(places)

    def kept_start(look: Look) -> Start | Needed:
        return find_kept_start(
            alias, kept=kept, enrolment=enrolment, configuration=configuration,
            back_end=back_end, now=datetime.now(UTC), look=look,
        )  # fmt: skip

    found = kept_start(look)
    if found == "renewal" and _renewed(alias, places, enrolment, configuration, back_end):
        found = kept_start(manifest)
    if isinstance(found, Start):
        return found
    from mcps_launcher.prove import prove_in_child  # only a new decision needs it

    prove_in_child(alias, places.home, offline=found == "cache")
    # Asked a moment ago, or made from the cache: in both cases it need not be asked again.
    decision = kept.decision(alias)
    payload = None if decision is None else kept.payload(decision.release)
    start = None
    if decision is not None and payload is not None:
        start = prepare_start(decision, payload, back_end)
    if start is None:
        raise InternalError("the decision was made and does not hold")
    return start


def _renewed(
    alias: str, places: Places, enrolment: Enrolment, configuration: Configuration,
    back_end: BackEnd,
) -> bool:  # fmt: skip
    """Renew the kept decision in a child, so that this process never carries tuf in memory.

    A fork: it has most of what it needs already, and this process has one thread still.
    """
    child = os.fork()
    if child == 0:
        code = 1
        signal.alarm(_RENEWAL_SECONDS)  # a registry that trickles holds up no start for long
        try:
            from mcps_launcher.renew import renew

            now = datetime.now(UTC)
            if renew(alias, places, enrolment, configuration, back_end, now) is not None:
                code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def _facts(decision: LaunchDecision) -> dict[str, Any]:
    """The part of every record that says who ran what, and who vouched for it."""
    return {
        "principal": _principal(),
        "server": {
            "name": str(decision.entry_path.server), "version": decision.entry_path.version,
            "closure": decision.closure, "signer": decision.signer, "entry": decision.entry,
            "approvers": list(decision.approved_by),
            "metadata": {"root": decision.metadata.root, "timestamp": decision.metadata.timestamp,
                         "snapshot": decision.metadata.snapshot},
            "runtime": {key: decision.runtime[key] for key in ("path", "version", "sha256")},
        },
    }  # fmt: skip


def _principal() -> dict[str, Any]:
    user = pwd.getpwuid(os.getuid()).pw_name
    return {"user": user, "agent": None, "device": os.uname().nodename, "proved": "user"}


@contextlib.contextmanager
def _registered(decision: LaunchDecision, places: Places, session: str) -> Iterator[None]:
    """A file for `ps`, for as long as the session runs."""
    place = make_private_directory(places.sessions) / f"{session}.json"
    text = json.dumps({
        "session": session, "alias": decision.alias, "pid": os.getpid(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "server": f"{decision.entry_path.server}@{decision.entry_path.version}",
        "store": os.path.basename(decision.store_path), "lock": decision.closure,
    })  # fmt: skip
    try:
        place.write_text(text, "utf-8")
        yield
    finally:
        place.unlink(missing_ok=True)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold back what would end the session between two entries of the audit that belong together."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


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
