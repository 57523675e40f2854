"""The relay: moves lines between host, guard and server with one thread and no waiting.

No call or read is forwarded before its audit record has been written, and what became of it is
written once the answer has gone on; where that fails, the session ends. A reader that is slow is not read past: beyond a bound, the other side has to wait.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from mcps_launcher.guard.actions import Action, Audit, ToClient, ToServer
from mcps_launcher.guard.decide import MAX_REFUSED, Guard
from mcps_launcher.guard.framing import Lines, LineTooLongError

__all__ = ["Relay", "RelayEnd"]

_CHUNK = 64 * 1024  # bytes; what a pipe holds, and a size that malloc need not map anew
_HIGH_WATER = 8 * 1024 * 1024  # bytes waiting to be written before the source must wait
_TICK = 0.25  # seconds
_LOOK = 100e-6  # seconds; to be woken costs as much, so a quick answer is looked out for first


class _Outbox:
    """Bytes waiting for a descriptor that may not take them all at once."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._waiting: deque[memoryview] = deque()
        self.size = 0
        self.broken = False

    def put(self, data: bytes) -> None:
        """Write at once what goes at once, and keep the rest."""
        if self.broken:
            return
        view = memoryview(data)
        if not self._waiting:
            view = view[self._write(view) :]
        if view:
            self._waiting.append(view)
            self.size += len(view)

    def flush(self) -> None:
        """Write what the descriptor takes now."""
        while self._waiting and not self.broken:
            view = self._waiting.popleft()
            written = self._write(view)
            self.size -= written
            if written < len(view):
                self._waiting.appendleft(view[written:])
                return

    def _write(self, view: memoryview) -> int:
        try:
            return os.write(self.descriptor, view)
        except BlockingIOError:
            return 0
        except OSError:
            self.broken = True
            self._waiting.clear()
            self.size = 0
            return len(view)


@dataclass(frozen=True, slots=True)
class RelayEnd:
    """Why a relay ended: ``host`` closed, ``server`` ended, or an error's code."""

    reason: str


@dataclass
class Relay:
    """One session's streams.

    Attributes:
        host_in, host_out: the host's ends.
        server_in, server_out, server_err: the server's.
        guard: decides.
        audit: writes a record; raises where it cannot.
        log: takes what the server writes to stderr.
        tick: called every so often; gives a reason to end, or None.
        grace: seconds for a server to end by itself once its input was closed.
        patience: seconds for it to answer what it was asked before the host closed its side.
    """

    host_in: int
    host_out: int
    server_in: int
    server_out: int
    server_err: int
    guard: Guard
    audit: Callable[[Audit], None]
    log: Callable[[bytes], None]
    tick: Callable[[], str | None]
    grace: float = 0.7
    patience: float = 10.0
    _client_lines: Lines = field(default_factory=Lines)
    _server_lines: Lines = field(default_factory=Lines)
    _wanted: dict[int, int] = field(default_factory=dict)
    _poll: select.poll = field(default_factory=select.poll)
    _moved: bool = False
    _may_look: bool = field(default_factory=lambda: len(os.sched_getaffinity(0)) > 1)

    def run(self) -> RelayEnd:
        """Relay until one side ends.

        Raises:
            AuditNotWritableError: a record could not be written.
        """
        for descriptor in (self.host_out, self.server_in):
            os.set_blocking(descriptor, False)
        self._to_host, self._to_server = _Outbox(self.host_out), _Outbox(self.server_in)
        try:
            return self._relay()
        except LineTooLongError as error:
            return RelayEnd(error.code)

    def _relay(self) -> RelayEnd:
        host_open = True
        closed_at = 0.0
        errors_open = True
        next_tick = 0.0
        while True:
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + _TICK
                reason = self._reason_to_end()
                if reason is not None:
                    return RelayEnd(reason)
            if not host_open and now - closed_at >= self._patience():
                return RelayEnd("host")
            ready = self._wait(host_open=host_open, errors_open=errors_open)
            if self.server_err in ready:
                errors_open = self._read_errors()
            if self.server_out in ready:
                chunk = _read(self.server_out)
                if not chunk:
                    self._server_chunk(b"\n")  # a last line may lack its newline
                    self._finish()
                    return RelayEnd("server" if host_open else "host")
                self._server_chunk(chunk)
            if host_open and self.host_in in ready:
                chunk = _read(self.host_in)
                if chunk:
                    self._client_chunk(chunk)
                else:
                    self._client_chunk(b"\n")
                    host_open = False
                    closed_at = time.monotonic()
            if not host_open and not self._to_server.size and not self.guard.holds_calls:
                self._close_server_input()
            if self._to_host.broken:
                return RelayEnd("host")
            if self.guard.refused > MAX_REFUSED:
                return RelayEnd("server-misbehaves")

    def _patience(self) -> float:
        """Seconds that the server has once the host has closed its side."""
        return self.patience if self.guard.in_flight() else self.grace

    def _reason_to_end(self) -> str | None:
        if self._host_is_gone():
            return "host"
        return self.tick()

    def _host_is_gone(self) -> bool:
        """Whether nobody can read what is sent: a host that was killed closes both ends."""
        poll = select.poll()
        poll.register(self.host_out, 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))

    def _wait(self, *, host_open: bool, errors_open: bool) -> set[int]:
        to_host, to_server = self._to_host.size, self._to_server.size
        wanted = {
            # Not held up by what waits for the server: it may write before it reads on.
            self.server_out: select.POLLIN if to_host < _HIGH_WATER else 0,
            self.server_err: select.POLLIN if errors_open else 0,
            self.host_in: select.POLLIN if host_open and to_server < _HIGH_WATER else 0,
            self.host_out: select.POLLOUT if to_host else 0,
            self.server_in: select.POLLOUT if to_server else 0,
        }
        if wanted != self._wanted:
            self._wanted, self._poll = wanted, select.poll()
            for descriptor, mask in wanted.items():
                if mask:
                    self._poll.register(descriptor, mask)
        events = self._look_out() if self._moved and self._may_look else []
        events = events or self._poll.poll(_TICK * 1000)
        self._moved = bool(events)
        ready = {descriptor for descriptor, _ in events}
        for outbox in (self._to_host, self._to_server):
            if outbox.size and outbox.descriptor in ready:
                outbox.flush()
        return ready

    def _look_out(self) -> list[tuple[int, int]]:
        """What happens at once after a message: answers, and the next question."""
        until = time.monotonic() + _LOOK
        while time.monotonic() < until:
            events = self._poll.poll(0)
            if events:
                return events
        return []

    def _client_chunk(self, chunk: bytes) -> None:
        for line in self._client_lines.feed(chunk):
            if line.strip():
                self._carry_out(self.guard.from_client(line))

    def _server_chunk(self, chunk: bytes) -> None:
        for line in self._server_lines.feed(chunk):
            if line.strip():
                self._carry_out(self.guard.from_server(line))

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            if self.guard.refused > MAX_REFUSED:
                return  # the session ends; what it would have said is not worth a full disk
            match action:
                case Audit():
                    self.audit(action)
                case ToClient(line):
                    self._to_host.put(line)
                case ToServer(line):
                    self._to_server.put(line)

    def _read_errors(self) -> bool:
        chunk = _read(self.server_err)
        if chunk:
            self.log(chunk)
        return bool(chunk)

    def _close_server_input(self) -> None:
        if self.server_in >= 0:
            os.close(self.server_in)
            self.server_in = -1
            self._to_server.broken = True

    def _finish(self) -> None:
        """Hand the host what is still waiting, for a moment."""
        self._finish_writing()
        deadline = time.monotonic() + self.grace
        while time.monotonic() < deadline and select.select([self.server_err], [], [], 0)[0]:
            if not self._read_errors():
                return

    def answer(self, line: bytes) -> None:
        """Send the host one more line, at the end of a session."""
        self._to_host.put(line)
        self._finish_writing()

    def _finish_writing(self) -> None:
        deadline = time.monotonic() + self.grace
        while self._to_host.size and not self._to_host.broken and time.monotonic() < deadline:
            select.select([], [self.host_out], [], _TICK)
            self._to_host.flush()


def _read(descriptor: int) -> bytes:
    with contextlib.suppress(BlockingIOError):
        try:
            return os.read(descriptor, _CHUNK)
        except OSError:
            return b""
    return b""
