"""Check all chains of a host against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcps_trust.audit.chain import AuditBrokenError, Chain, read_chain
from mcps_trust.audit.sink import AuditDirectory

__all__ = ["SessionState", "verify_audit"]

State = Literal["whole", "unclosed", "broken", "missing", "unknown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionState:
    """What became of one session's chain.

    *whole*: it begins and ends as the host's chain says. *unclosed*: it begins so and has
    no end; the launcher was killed, or still runs. *broken*: it does not follow, or begins
    or ends otherwise. *missing*: its file is gone. *unknown*: a file that the host's chain
    does not know.
    """

    session: str
    state: State
    records: int
    detail: str = ""


def verify_audit(directory: AuditDirectory) -> tuple[SessionState, ...]:
    """Follow the host's chain and every session's.

    Raises:
        AuditBrokenError: the host's own chain is broken or not readable.
    """
    host = _read(directory.host, "host.jsonl") if directory.host.exists() else None
    opened: dict[str, str] = {}
    closed: dict[str, str] = {}
    for record in host.records if host else ():
        if record.get("event") == "launch-refused":
            continue  # it had no session
        ends = opened if record.get("event") == "host-session-open" else closed
        session, digest = record.get("session"), record.get("first") or record.get("last")
        if not isinstance(session, str) or not isinstance(digest, str) or session in ends:
            raise AuditBrokenError("host.jsonl enters a session twice", found=str(session)[:100])
        ends[session] = digest
    found = {path.stem for path in directory.sessions.glob("*.jsonl")}
    return tuple(
        _session(directory, session, opened, closed, present=session in found)
        for session in sorted(opened.keys() | closed.keys() | found)
    )


def _session(
    directory: AuditDirectory,
    session: str,
    opened: Mapping[str, str],
    closed: Mapping[str, str],
    *,
    present: bool,
) -> SessionState:
    if not present:
        return SessionState(
            session=session,
            state="missing",
            records=0,
            detail="the host's chain knows it, and its file is gone",
        )
    try:
        chain = _read(directory.sessions / f"{session}.jsonl", session)
    except AuditBrokenError as error:
        return SessionState(session=session, state="broken", records=0, detail=error.what)
    count = len(chain.records)
    if session not in opened:
        return SessionState(
            session=session,
            state="unknown",
            records=count,
            detail="the host's chain does not know it",
        )
    if chain.first != opened[session]:
        return SessionState(
            session=session,
            state="broken",
            records=count,
            detail="its first record is not the one that was entered",
        )
    if session not in closed:
        return SessionState(session=session, state="unclosed", records=count)
    if chain.last != closed[session]:
        return SessionState(
            session=session,
            state="broken",
            records=count,
            detail="its last record is not the one that was entered",
        )
    return SessionState(session=session, state="whole", records=count)


def _read(path: Path, name: str) -> Chain:
    try:
        with path.open("rb") as file:
            return read_chain(file, name)
    except OSError as error:
        raise AuditBrokenError(f"{name} cannot be read", found=error.strerror) from error
