"""Ends a sandbox when its launcher is gone, in whatever way: a process of its own.

A fork that keeps nothing of the launcher but one end of a pipe. The other end closes with the
launcher; then what is left of the sandbox is removed. The kernel alone does not see to it: a
container is the engine's, and a bubblewrap that is killed between making its namespaces and
entering them leaves a process behind that waits for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable

__all__ = ["Watcher", "end_group", "remove_container"]

_SECONDS = 30.0
_LAST_DESCRIPTOR = 1 << 20
_DONE = b"done"


class Watcher:
    """Watches until it is told that all is gone, or finds itself alone.

    Attributes:
        pipe: what is written here is handed to the action, if it comes to that.
    """

    def __init__(self, action: Callable[[bytes], None]) -> None:
        """Have `action` done when this process ends without `close`; call it with one thread."""
        end, self.pipe = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            _watch(end, action)
        os.close(end)

    def close(self) -> None:
        """All is gone: nothing is left to be done."""
        if self.pipe >= 0:
            with contextlib.suppress(OSError):
                os.write(self.pipe, _DONE)
            os.close(self.pipe)
            self.pipe = -1
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._child, 0)


# What runs in the fork leaves by os._exit, which writes no coverage; the kill tests prove it.
def _watch(end: int, action: Callable[[bytes], None]) -> None:  # pragma: no cover
    """Wait, then act; never returns."""
    try:
        os.setsid()  # what ends the launcher by its terminal is not meant for this process
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        os.closerange(3, end)
        os.closerange(end + 1, _LAST_DESCRIPTOR)
        told = b""
        while chunk := os.read(end, 4096):
            told += chunk
        if not told.endswith(_DONE):
            action(told)
    finally:
        os._exit(0)


def end_group(told: bytes) -> None:  # pragma: no cover - in the fork
    """Kill the process group whose leader wrote its id, and whoever joins it meanwhile."""
    if not told:
        return
    for _ in range(20):
        try:
            os.killpg(int(told), signal.SIGKILL)
        except OSError:
            return
        time.sleep(0.02)


def remove_container(path: str, container: str) -> None:  # pragma: no cover - in the fork
    """Ask the engine at `path` to end and remove a container."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SECONDS)
        connection.connect(path)
        connection.sendall(
            f"DELETE /containers/{container}?force=1 HTTP/1.1\r\n"
            "Host: docker\r\nConnection: close\r\n\r\n".encode()
        )
        while connection.recv(4096):
            pass
