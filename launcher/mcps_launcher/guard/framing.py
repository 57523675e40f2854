"""Lines out of a stream of bytes: split on newline only, in linear time (pure).

MCP's stdio transport is one JSON-RPC message a line. Unicode line separators and lone
carriage returns are data; only the byte 0x0A ends a line.
"""

from __future__ import annotations

from mcps_trust.errors import UntrustedDataError

__all__ = ["MAX_LINE", "LineTooLongError", "Lines"]

MAX_LINE = 32 * 1024 * 1024  # bytes


class LineTooLongError(UntrustedDataError):
    """A message is longer than any may be."""

    code = "line-too-long"


class Lines:
    """Collects chunks and gives whole lines, without their newline."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Add a chunk; gives the lines that it completed.

        Raises:
            LineTooLongError: a line has more than the limit and no end.
        """
        end = chunk.rfind(b"\n")
        if end < 0:
            self._keep(chunk)
            return []
        lines = chunk[:end].split(b"\n")
        if self._parts:
            self._keep(lines[0])
            lines[0] = b"".join(self._parts)
            self._parts = []
        self._size = 0
        for line in lines:
            if len(line) > self._limit:
                raise LineTooLongError("a message is too long", expected=f"{self._limit} bytes")
        if end + 1 < len(chunk):
            self._keep(chunk[end + 1 :])
        return lines

    def rest(self) -> bytes:
        """What came after the last newline."""
        return b"".join(self._parts)

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > self._limit:
            raise LineTooLongError("a message is too long", expected=f"{self._limit} bytes")
