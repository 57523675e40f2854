"""The Docker engine's own interface, as far as a session needs it (Engine API).

The SDK is for making images and for diagnosis: importing it costs 0.1 s and 20 MB, and every
start on this back end would pay. Paths carry no version: the engine's own is the one meant.
Requests are of HTTP/1.0, whose answer is what comes until the connection ends (RFC 1945 §6).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

__all__ = ["Engine", "EngineError"]

_TIMEOUT = 60.0  # seconds; engines are slow on a busy machine
_LIMIT = 16 * 1024 * 1024  # bytes of an answer
_MAX_HEAD = 16 * 1024  # bytes
_END_OF_HEAD = b"\r\n\r\n"


class EngineError(OSError):
    """The engine does not answer, or refuses; `status` is its answer's, or 0."""

    def __init__(self, what: str, status: int = 0) -> None:
        super().__init__(what)
        self.status = status


class Engine:
    """One engine, by its socket."""

    def __init__(self, path: str) -> None:
        self._path = path

    def call(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None,
        body: object = None, timeout: float | None = _TIMEOUT,
    ) -> Any:  # fmt: skip
        """One request; gives the answer's document, or None where it has none.

        Raises:
            EngineError: it does not answer, or with an error.
        """
        data = b"" if body is None else json.dumps(body).encode()
        target = f"{path}?{urlencode(query)}" if query else path
        status, _, text = self._ask(method, target, data, timeout)
        try:
            document = json.loads(text) if text.strip() else None
        except ValueError as error:
            raise EngineError(f"not JSON: {text[:200]!r}", status) from error
        if status >= 400:
            message = document.get("message") if isinstance(document, dict) else None
            raise EngineError(str(message or f"status {status}"), status)
        return document

    def version(self) -> str:
        """The engine's name and version, as it answers a ping (``Docker/27.1.1 (linux)``).

        Raises:
            EngineError: it does not answer as one.
        """
        status, fields, _ = self._ask("GET", "/_ping", b"", _TIMEOUT)
        name = fields.get("server", "")
        if status != 200 or not name:
            raise EngineError(f"status {status}", status)
        return name

    def attach(self, container: str) -> socket.socket:
        """The three standard streams of a container, as one connection.

        Attached before the start, it has nothing to be read but the answer's head, so that
        nothing of the streams can be lost to a buffer.

        Raises:
            EngineError: the engine does not hand over the connection.
        """
        streams = urlencode({"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        connection = self._connected(_TIMEOUT)
        try:
            connection.sendall(
                f"POST /containers/{container}/attach?{streams} HTTP/1.1\r\nHost: engine\r\n"
                "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
            )
            head = b""
            while not head.endswith(_END_OF_HEAD) and len(head) < _MAX_HEAD:
                seen = connection.recv(_MAX_HEAD, socket.MSG_PEEK)
                if not seen:
                    break
                end = seen.find(_END_OF_HEAD)
                head += connection.recv(len(seen) if end < 0 else end + 4)
            if _parse_head(head)[0] not in (101, 200):
                raise EngineError("the engine does not attach: " + head[:200].decode("latin-1"))
            connection.settimeout(None)
        except BaseException:
            connection.close()
            raise
        return connection

    def _ask(
        self, method: str, target: str, body: bytes, timeout: float | None
    ) -> tuple[int, dict[str, str], bytes]:
        """The answer to a request: status, fields of its head, and body."""
        try:
            with self._connected(timeout) as connection:
                connection.sendall(
                    f"{method} {target} HTTP/1.0\r\nHost: engine\r\nContent-Type: application/json"
                    f"\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                answer = bytearray()
                while chunk := connection.recv(1 << 16):
                    answer += chunk
                    if len(answer) > _LIMIT:
                        raise EngineError("the engine's answer is too long")
        except OSError as error:
            if isinstance(error, EngineError):
                raise
            raise EngineError(str(error) or type(error).__name__) from error
        head, _, text = bytes(answer).partition(_END_OF_HEAD)
        return *_parse_head(head), text

    def _connected(self, timeout: float | None) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(timeout)
            connection.connect(self._path)
        except BaseException:
            connection.close()
            raise
        return connection


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and fields of an answer, names in lower case (RFC 9112 §4, §5).

    Raises:
        EngineError: it is none.
    """
    line, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = line.partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not (status.isascii() and status.isdigit()):
        raise EngineError(f"not an answer of an engine: {head[:200]!r}")
    fields = (text.partition(":") for text in lines)
    return int(status), {name.strip().lower(): value.strip() for name, _, value in fields}
