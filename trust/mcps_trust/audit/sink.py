"""Writing the chains: a session's own, and the host's.

A record is handed to the kernel before the call that it is about goes on: it survives the
death of the launcher, not of the machine. Only a session's first and last records are
forced to disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from mcps_trust.audit.record import FIRST_PREV, Event, encode, line_digest, members
from mcps_trust.errors import StorageError
from mcps_trust.locked_file import NotWritableError, exclusive, make_private_directory
from mcps_trust.model.digest import Sha256

__all__ = ["AuditDirectory", "AuditNotWritableError", "SessionLog"]

_KEY_BYTES = 32
_TAIL = 64 * 1024  # bytes; longer than most records


class AuditNotWritableError(StorageError):
    """The audit trail cannot be written, so what it would record is refused."""

    code = "audit-not-writable"
    advice = "make room, or repair the rights of the audit folder"


class AuditDirectory:
    """Where a host's chains lie: ``host.jsonl``, ``key`` and ``sessions/``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions = path / "sessions"
        self.host = path / "host.jsonl"

    def key(self) -> bytes:
        """The host's key for keyed digests, made at first use.

        Raises:
            AuditNotWritableError: it cannot be made or read.
        """
        place = self.path / "key"
        try:
            make_private_directory(self.path)
            with exclusive(self.path / "lock"):
                if not place.exists():
                    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                    with os.fdopen(descriptor, "wb") as file:
                        file.write(os.urandom(_KEY_BYTES))
                key = place.read_bytes()
        except (OSError, NotWritableError) as error:
            raise AuditNotWritableError("the audit key cannot be used", found=str(error)) from error
        if len(key) != _KEY_BYTES:
            raise AuditNotWritableError("the audit key is damaged", found=f"{len(key)} bytes")
        return key

    def enter(self, event: Event, time: datetime, session: str, body: Mapping[str, Any]) -> None:
        """Append a record to the host's chain.

        Raises:
            AuditNotWritableError: it cannot be written.
        """
        try:
            make_private_directory(self.path)
            with exclusive(self.path / "lock"):
                seq, prev = _tail(self.host)
                line = encode(
                    seq=seq, prev=prev, time=time, session=session, event=event, body=body
                )
                _append(self.host, line)
        except (OSError, NotWritableError) as error:
            raise AuditNotWritableError(
                "the host's audit chain cannot be written", found=str(error)
            ) from error

    def open_session(self, session: str, common: Mapping[str, Any]) -> SessionLog:
        """Start a session's chain, of which every record says what is in `common`.

        Raises:
            AuditNotWritableError: it cannot be made.
        """
        return SessionLog(self, session, common)


class SessionLog:
    """One session's chain, open for writing."""

    def __init__(self, directory: AuditDirectory, session: str, common: Mapping[str, Any]) -> None:
        self._directory = directory
        self._session = session
        self._common = members(common)
        self._seq = 0
        self._prev = FIRST_PREV
        self._descriptor = -1
        self._path = directory.sessions / f"{session}.jsonl"
        try:
            make_private_directory(directory.sessions)
            self._descriptor = os.open(
                self._path,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC,
                0o600,
            )
        except (OSError, NotWritableError) as error:
            raise AuditNotWritableError(
                "the session's audit file cannot be made", found=str(error)
            ) from error

    def write(self, event: Event, time: datetime, body: Mapping[str, Any]) -> None:
        """Append a record.

        Raises:
            AuditNotWritableError: it could not be written as a whole; then nothing of it was.
        """
        line = encode(
            seq=self._seq, prev=self._prev, time=time, session=self._session, event=event,
            body=body, common=self._common,
        )  # fmt: skip
        try:
            written = os.write(self._descriptor, line)
            if written != len(line):
                os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
        except OSError as error:
            raise AuditNotWritableError(
                "the audit record cannot be written", found=error.strerror
            ) from error
        if written != len(line):
            raise AuditNotWritableError("the audit record was cut off", found=f"{written} bytes")
        self._seq += 1
        self._prev = line_digest(line)
        if event == "session-start":
            self._directory.enter("host-session-open", time, self._session, {"first": self._prev})

    def close(self, time: datetime, body: Mapping[str, Any]) -> None:
        """End the chain and enter its last record into the host's.

        Raises:
            AuditNotWritableError: that could not be written.
        """
        if self._descriptor < 0:
            return
        try:
            # An interrupt may have struck between a record and the memory of it.
            self._seq, self._prev = _tail(self._path)
            self.write("session-end", time, body)
            os.fsync(self._descriptor)
            self._directory.enter(
                "host-session-close",
                time,
                self._session,
                {"last": self._prev, "records": self._seq},
            )
        except OSError as error:
            raise AuditNotWritableError(
                "the session's audit cannot be closed", found=error.strerror or str(error)
            ) from error
        finally:
            os.close(self._descriptor)
            self._descriptor = -1


def _tail(path: Path) -> tuple[int, Sha256]:
    """The next number, and the digest of the last line, of a chain file."""
    try:
        with path.open("rb") as file:
            size, window = file.seek(0, os.SEEK_END), _TAIL
            lines: list[bytes] = []
            while len(lines) < 2 and window < 2 * max(size, _TAIL):
                file.seek(max(0, size - window))
                lines = file.read().splitlines(keepends=True)
                window *= 2
    except FileNotFoundError:
        return 0, FIRST_PREV
    if not lines:
        return 0, FIRST_PREV
    try:
        return int(json.loads(lines[-1])["seq"]) + 1, line_digest(lines[-1])
    except (ValueError, KeyError, TypeError) as error:
        msg = f"the last record of {path.name} cannot be read"
        raise OSError(msg) from error


def _append(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if os.write(descriptor, line) != len(line):
            os.ftruncate(descriptor, size)  # else the next record would join this one's half
            msg = "the record was cut off"
            raise OSError(msg)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
