"""The Docker engine's own interface, as far as a session needs it (Engine API).

The SDK is for making images and for diagnosis: importing it costs 0.1 s and 20 MB, and every
start on this back end would pay. Paths carry no version: the engine's own is the one meant.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

__all__ = ["Engine", "EngineError"]

_TIMEOUT = 60.0  # seconds; engines are slow on a busy machine
_LIMIT = 16 * 1024 * 1024  # bytes of an answer
_MAX_HEAD = 16 * 1024  # bytes


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
        connection = _Connection(self._path, timeout)
        data = None if body is None else json.dumps(body).encode()
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            connection.request(method, target, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read(_LIMIT)
            document = json.loads(text) if text.strip() else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EngineError(str(error) or type(error).__name__) from error
        finally:
            connection.close()
        if answer.status >= 400:
            message = document.get("message") if isinstance(document, dict) else None
            raise EngineError(str(message or f"status {answer.status}"), answer.status)
        return document

    def version(self) -> str:
        """The engine's name and version, as it answers a ping (``Docker/27.1.1 (linux)``).

        Raises:
            EngineError: it does not answer as one.
        """
        connection = _Connection(self._path, _TIMEOUT)
        try:
            connection.request("GET", "/_ping")
            answer = connection.getresponse()
            name = answer.headers.get("Server", "")
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(str(error) or type(error).__name__) from error
        finally:
            connection.close()
        if answer.status != 200 or not name:
            raise EngineError(f"status {answer.status}", answer.status)
        return name

    def attach(self, container: str) -> socket.socket:
        """The three standard streams of a container, as one connection.

        Attached before the start, it has nothing to be read but the answer's head, so that
        nothing of the streams can be lost to a buffer.

        Raises:
            EngineError: the engine does not hand over the connection.
        """
        streams = urlencode({"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_TIMEOUT)
            connection.connect(self._path)
            connection.sendall(
                f"POST /containers/{container}/attach?{streams} HTTP/1.1\r\nHost: engine\r\n"
                "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
            )
            head = b""
            while not head.endswith(b"\r\n\r\n") and len(head) < _MAX_HEAD:
                seen = connection.recv(_MAX_HEAD, socket.MSG_PEEK)
                if not seen:
                    break
                end = seen.find(b"\r\n\r\n")
                head += connection.recv(len(seen) if end < 0 else end + 4)
            status = head.split(b" ", 2)[1:2]
            if status not in ([b"101"], [b"200"]):
                raise EngineError("the engine does not attach: " + head[:200].decode("latin-1"))
            connection.settimeout(None)
        except BaseException:
            connection.close()
            raise
        return connection


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("engine", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
