"""Ends a container when its launcher is gone, in whatever way: a process of its own.

A fork that keeps nothing of the launcher but one end of a pipe. The other end closes with the
launcher; then the engine is asked to remove the container. Another interpreter would cost a
tenth of what the engine takes to start one.
"""

from __future__ import annotations

import contextlib
import os
import socket

__all__ = ["Watcher"]

_SECONDS = 30.0
_LAST_DESCRIPTOR = 1 << 20


class Watcher:
    """Watches over one container until it is told that it is gone."""

    def __init__(self, path: str, container: str) -> None:
        """Watch over `container` of the engine at `path`; this process has one thread still."""
        end, self._held = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            _watch(end, path, container)
        os.close(end)

    def close(self) -> None:
        """Let it end; the container is gone, or goes now."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._child, 0)


def _watch(
    end: int, path: str, container: str
) -> None:  # pragma: no cover - a process that leaves by os._exit
    """Wait, then remove; never returns."""
    try:
        os.setsid()  # what ends the launcher by its terminal is not meant for this process
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        os.closerange(3, end)
        os.closerange(end + 1, _LAST_DESCRIPTOR)
        os.read(end, 1)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(path)
            connection.sendall(
                f"DELETE /containers/{container}?force=1 HTTP/1.1\r\n"
                "Host: docker\r\nConnection: close\r\n\r\n".encode()
            )
            while connection.recv(4096):
                pass
    finally:
        os._exit(0)
