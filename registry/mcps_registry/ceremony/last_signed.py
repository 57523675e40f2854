"""What a key signed last, remembered beside it.

A registry's host that was taken over can show a holder an older state of their own, signed with
their own key, and have the next change built on that. The number of the last version that was
signed from here is what it cannot change.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from mcps_trust.errors import StorageError, UntrustedDataError
from mcps_trust.locked_file import write_atomically

__all__ = ["LastSigned", "OlderThanSignedError"]


class OlderThanSignedError(UntrustedDataError):
    """The registry shows an older version than was signed from here."""

    code = "older-than-signed"
    advice = "its host may be in somebody else's hands, or was restored from a backup: ask"


@dataclass(frozen=True, slots=True)
class LastSigned:
    """The file that says it; it may lie on a medium that cannot be written."""

    place: Path

    def check(self, version: int) -> None:
        """Let pass a version that is no older.

        Raises:
            OlderThanSignedError: it is.
        """
        try:
            last = int(self.place.read_text("ascii"))
        except (OSError, ValueError):
            return
        if version < last:
            raise OlderThanSignedError(
                "the registry shows an older version than the last that was signed from here",
                expected=f"version {last} or later",
                found=f"version {version}",
                remedy=f"if that is meant, remove {self.place}",
            )

    def remember(self, version: int) -> None:
        """Keep the number; where that cannot be, say so."""
        try:
            write_atomically(self.place, f"{version}\n".encode())
        except (OSError, StorageError) as error:
            sys.stderr.write(f"warning: the version that was signed is not remembered: {error}\n")
