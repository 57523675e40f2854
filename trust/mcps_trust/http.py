"""Plain HTTP requests with every input explicit.

Proxy, certificate authorities and time limits come from the caller's configuration;
environment variables (``HTTPS_PROXY``, ``SSL_CERT_FILE``, ``.netrc``) are not looked at,
because no trust decision reads the environment (design §6.4). Answers have a size limit
and are read whole. Redirects are not followed: a static registry needs none.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, urlsplit

from mcps_trust.errors import ConfigurationError, UnavailableError
from mcps_trust.http_settings import HttpSettings

__all__ = ["BadUrlError", "Http", "HttpSettings", "Response", "ServerUnreachableError"]

_CHUNK = 64 * 1024  # bytes


class ServerUnreachableError(UnavailableError):
    """No usable answer came: no connection, a time-out, or endless data."""

    code = "server-unreachable"
    advice = "check the network and that the server is running"


class BadUrlError(ConfigurationError):
    """The address is not an http or https URL of a server."""

    code = "bad-url"


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """Requests to servers, one connection to each kept open. Use as a context manager."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._connections: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def get(self, url: str, *, limit: int) -> Response:
        """GET `url`; the answer's body has at most `limit` bytes.

        Raises:
            ServerUnreachableError: no answer, or a larger one.
            BadUrlError: `url` is none.
        """
        return self.request("GET", url, limit=limit)

    def request(
        self,
        method: str,
        url: str,
        *,
        limit: int,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send one request and read the whole answer.

        Raises:
            ServerUnreachableError: no answer, or one of more than `limit` bytes.
            BadUrlError: `url` is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadUrlError(
                "not the address of a server",
                expected="http(s)://host[:port]/…",
                found=repr(url)[:200],
            )
        key = (parts.scheme, parts.netloc)
        if method != "GET":
            # What changes something is sent once, on a connection that cannot be stale.
            self._drop(key)
        kept = key in self._connections
        try:
            return self._exchange(key, parts, method, body, headers, limit)
        except (OSError, http.client.HTTPException) as error:
            self._drop(key)
            if not kept:
                raise _unreachable(parts, error) from error
        # A server may close a connection that was idle: ask again on a new one.
        try:
            return self._exchange(key, parts, method, body, headers, limit)
        except (OSError, http.client.HTTPException) as error:
            self._drop(key)
            raise _unreachable(parts, error) from error

    def _exchange(
        self,
        key: tuple[str, str],
        parts: SplitResult,
        method: str,
        body: bytes | Iterable[bytes] | None,
        headers: Mapping[str, str] | None,
        limit: int,
    ) -> Response:
        connection = self._connections.get(key) or self._connect(parts)
        self._connections[key] = connection
        target = parts.path or "/"
        if parts.query:
            target += "?" + parts.query
        if self._settings.proxy and parts.scheme == "http":
            target = f"http://{parts.netloc}{target}"
        if connection.sock is None:
            connection.connect()
        watch = _Watch(connection.sock, self._settings.timeout)
        try:
            connection.request(
                method, target, body=body, headers={"User-Agent": "mcps", **(headers or {})}
            )
            answer = connection.getresponse()
            try:
                content = self._read(answer, limit)
                cut_off = content is not None and answer.length not in (None, 0)
            finally:
                answer.close()
        except (OSError, http.client.HTTPException):
            if not watch.stop():
                raise
        if watch.stop():
            self._drop(key)
            raise ServerUnreachableError(
                f"{parts.hostname} takes too long", expected=f"{self._settings.timeout:g} s"
            )
        if cut_off:
            raise http.client.IncompleteRead(content or b"", answer.length)
        if content is None:
            self._drop(key)
            raise ServerUnreachableError(
                f"{parts.hostname} sends more than it may",
                expected=f"at most {limit} bytes",
            )
        return Response(
            status=answer.status,
            body=content,
            headers={name.lower(): value for name, value in answer.getheaders()},
        )

    def _read(self, answer: http.client.HTTPResponse, limit: int) -> bytes | None:
        chunks: list[bytes] = []
        size = 0
        while chunk := answer.read1(_CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                return None
        return b"".join(chunks)

    def _connect(self, parts: SplitResult) -> http.client.HTTPConnection:
        settings = self._settings
        try:
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise BadUrlError("not a port", found=parts.netloc) from error
        through = settings.proxy.rpartition(":") if settings.proxy else None
        near_host, near_port = (through[0], int(through[2])) if through else (host, port)
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=settings.ca_file)
            connection = http.client.HTTPSConnection(
                near_host, near_port, timeout=settings.connect_timeout, context=context
            )
            if through:
                connection.set_tunnel(host, port)
        else:
            connection = http.client.HTTPConnection(
                near_host, near_port, timeout=settings.connect_timeout
            )
        connection.connect()
        connection.timeout = settings.timeout
        connection.sock.settimeout(settings.timeout)
        return connection

    def _drop(self, key: tuple[str, str]) -> None:
        connection = self._connections.pop(key, None)
        if connection is not None:
            connection.close()


class _Watch:
    """Ends what another thread waits for, after so many seconds in all.

    Each read has a time limit of its own; but a server may send a byte now and then for ever.
    """

    def __init__(self, watched: socket.socket, seconds: float) -> None:
        self._watched = watched
        self._fired = False
        self._timer = threading.Timer(seconds, self._fire)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> bool:
        """Watch no more; gives whether it had come to an end."""
        self._timer.cancel()
        self._timer.join()
        return self._fired

    def _fire(self) -> None:
        self._fired = True
        with contextlib.suppress(OSError):
            self._watched.shutdown(socket.SHUT_RDWR)


def _unreachable(parts: SplitResult, error: Exception) -> ServerUnreachableError:
    return ServerUnreachableError(
        f"{parts.netloc} cannot be reached", found=str(error) or type(error).__name__
    )
