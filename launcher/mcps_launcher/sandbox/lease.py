"""Unprivileged user ids for sessions that root starts.

One each, so that none can signal or read another's processes.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from mcps_launcher.sandbox.process import BackEndUnavailableError
from mcps_trust.locked_file import make_private_directory

__all__ = ["FIRST_UID", "UID_COUNT", "UidLease"]

FIRST_UID = 2_147_000_000
"""Above what useradd, containers and systemd's dynamic users hand out."""
UID_COUNT = 256


class UidLease:
    """A user id that nobody else has, for as long as this object holds it."""

    def __init__(self, folder: Path) -> None:
        """Lease one; `folder` holds the locks.

        Raises:
            BackEndUnavailableError: all are taken.
        """
        make_private_directory(folder)
        for uid in range(FIRST_UID, FIRST_UID + UID_COUNT):
            descriptor = os.open(folder / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                continue
            self.uid = uid
            self._descriptor = descriptor
            return
        raise BackEndUnavailableError(
            "every user id for sessions is in use", expected=f"at most {UID_COUNT} sessions at once"
        )

    def release(self) -> None:
        """Give it back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
