"""A small MCP client over pipes, just enough to ask a server what it offers.

It speaks both eras and keeps every message as it came: what gets pinned must be what the
server said, not what a library made of it.
"""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any

from mcps_trust.errors import McpsError, UntrustedDataError
from mcps_trust.model import strict_json

__all__ = ["LEGACY_VERSION", "MODERN_VERSION", "CaptureClient", "ServerSilentError"]

LEGACY_VERSION, MODERN_VERSION = "2025-11-25", "2026-07-28"
_CLIENT_INFO = {"name": "mcps-sign", "version": "1"}
_MAX_LINE = 16 * 1024 * 1024  # bytes
_MAX_ALL = 64 * 1024 * 1024  # bytes of one conversation


class ServerSilentError(UntrustedDataError):
    """The server ended, or did not answer in time."""

    code = "server-silent"


class CaptureClient:
    """One conversation with one server process."""

    def __init__(self, stdin: int, stdout: int, *, timeout: float) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._timeout = timeout
        self._buffer = b""
        self._next_id = 0
        self._received = 0
        os.set_blocking(stdin, False)

    def request(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        """Ask and wait; gives the whole answer, result or error.

        Raises:
            ServerSilentError: no answer came.
            UntrustedDataError: the answer is not strict JSON.
        """
        self._next_id += 1
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": self._next_id, "method": method}
        if params is not None:
            body["params"] = params
        deadline = time.monotonic() + self._timeout
        self._send(body, deadline)
        while True:
            message = self._receive(deadline)
            if (
                isinstance(message, dict)
                and message.get("id") == self._next_id
                and ("result" in message or "error" in message)
            ):
                return message
            if isinstance(message, dict) and "method" in message and "id" in message:
                error = {"code": -32601, "message": "not available during capture"}
                self._send({"jsonrpc": "2.0", "id": message["id"], "error": error}, deadline)

    def notify(self, method: str) -> None:
        """Tell without waiting."""
        self._send({"jsonrpc": "2.0", "method": method}, time.monotonic() + self._timeout)

    def initialize(self, capabilities: dict[str, Any]) -> dict[str, Any] | None:
        """Begin a conversation of the legacy era; None if the server has none."""
        answer = self.request("initialize", {
            "protocolVersion": LEGACY_VERSION,
            "capabilities": capabilities,
            "clientInfo": _CLIENT_INFO,
        })  # fmt: skip
        result = answer.get("result")
        if not isinstance(result, dict) or "protocolVersion" not in result:
            return None
        self.notify("notifications/initialized")
        return result

    def discover(self, capabilities: dict[str, Any]) -> dict[str, Any] | None:
        """Ask a server of the modern era about itself; None if it is not."""
        answer = self.request("server/discover", {"_meta": modern_meta(capabilities)})
        result = answer.get("result")
        supported = result.get("supportedVersions") if isinstance(result, dict) else None
        return result if isinstance(supported, list) and MODERN_VERSION in supported else None

    def list_all(
        self, method: str, key: str, meta: dict[str, Any] | None
    ) -> list[dict[str, Any]] | None:
        """All pages of a list; None if the server does not know the method.

        Raises:
            ServerSilentError, UntrustedDataError: as `request`.
        """
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(1000):
            params: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
            if meta is not None:
                params["_meta"] = meta
            result = self.request(method, params).get("result")
            if not isinstance(result, dict) or not isinstance(result.get(key), list):
                return None
            items += [item for item in result[key] if isinstance(item, dict)]
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str):
                return items
        raise ServerSilentError(f"{method} has no last page")

    def _send(self, body: dict[str, Any], deadline: float) -> None:
        data = json.dumps(body).encode() + b"\n"
        try:
            while data:
                self._wait([], [self._stdin], deadline, "the server does not read what it is sent")
                data = data[os.write(self._stdin, data) :]
        except BlockingIOError:  # pragma: no cover - it was just said to take some
            raise ServerSilentError("the server does not read what it is sent") from None
        except OSError as error:
            raise ServerSilentError("the server does not read what it is sent") from error

    def _wait(self, reads: list[int], writes: list[int], deadline: float, what: str) -> None:
        """Wait for a stream; a server that is busy with something else has no more time for it."""
        left = deadline - time.monotonic()
        if left <= 0 or not any(select.select(reads, writes, [], left)):
            raise ServerSilentError(what, expected=f"an answer within {self._timeout:g} s")

    def _receive(self, deadline: float) -> object:
        while b"\n" not in self._buffer:
            self._wait([self._stdout], [], deadline, "the server does not answer")
            chunk = os.read(self._stdout, 1 << 20)
            if not chunk:
                raise ServerSilentError("the server ended")
            self._buffer += chunk
            self._received += len(chunk)
            if len(self._buffer) > _MAX_LINE or self._received > _MAX_ALL:
                raise ServerSilentError("the server's line has no end, or it says too much")
        if time.monotonic() > deadline:
            raise ServerSilentError(
                "the server does not answer", expected=f"an answer within {self._timeout:g} s"
            )
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            return strict_json.loads(line, limit=_MAX_LINE)
        except McpsError:
            return None  # noise on stdout; an answer may still come


def modern_meta(capabilities: dict[str, Any]) -> dict[str, Any]:
    """What every request of the modern era carries."""
    return {
        "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
        "io.modelcontextprotocol/clientCapabilities": capabilities,
        "io.modelcontextprotocol/clientInfo": _CLIENT_INFO,
    }
