"""Look at an installed closure while the launcher still loads its code.

A closure of thousands of files takes as long to be looked at as all the rest of a warm start.
So a fork looks at the one that the kept decision names, on another processor. What it says is
used for that very path and once; anything else is looked at where it is needed.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from mcps_trust.model.digest import Sha256

__all__ = ["Ahead"]

_MOST = 8192  # bytes: a digest and a path


class Ahead:
    """A look that is under way; call it as `manifest`, and close it."""

    def __init__(self, alias: str, home: str | None) -> None:
        """Begin to look at what is installed for `alias`; call it with one thread."""
        self._answer, end = os.pipe()
        self._child = -1
        with contextlib.suppress(OSError):  # without it, the look is taken later
            self._child = os.fork()
        if self._child == 0:
            _look(alias, home, end)
        os.close(end)

    def __call__(self, path: Path) -> Sha256:
        """The manifest of the closure at `path`.

        Raises:
            StoreChangedError: as `manifest`.
        """
        from mcps_launcher.install.installed import manifest
        from mcps_trust.model.digest import Sha256

        digest, _, looked_at = self._said().partition(" ")
        return Sha256(digest) if looked_at == str(path) else manifest(path)

    def close(self) -> None:
        """No look is needed any more."""
        if self._answer >= 0:
            os.close(self._answer)
            self._answer = -1
            if self._child > 0:
                os.kill(self._child, signal.SIGKILL)
        self._reap()

    def _said(self) -> str:
        if self._answer < 0:
            return ""
        with open(self._answer, "rb") as answer:
            self._answer = -1
            said = answer.read(_MOST)
        self._reap()
        return os.fsdecode(said)

    def _reap(self) -> None:
        if self._child > 0:
            os.waitpid(self._child, 0)
            self._child = -1


# Leaves by os._exit, which writes no coverage; what it says is held against `manifest` by a test.
def _look(alias: str, home: str | None, end: int) -> None:  # pragma: no cover
    """Look, say what was seen, and end; whatever goes wrong is the launcher's to say."""
    try:
        import json
        from pathlib import Path

        from mcps_launcher.install.installed import manifest
        from mcps_launcher.places import Places, find_folder

        places = Places(find_folder(None if home is None else Path(home)))
        decision = json.loads((places.kept / f"decision-{alias}.json").read_bytes())
        path = Path(decision["storePath"])
        os.write(end, os.fsencode(f"{manifest(path)} {path}"))
    finally:
        os._exit(0)
