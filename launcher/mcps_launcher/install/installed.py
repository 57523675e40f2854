"""An installed closure, and whether it still is as it was installed.

Its manifest is what the file system says of every file: inode, size, times of change, mode,
owner. A changed byte changes the time of change, which nobody but root (or a clock) can set
back; so each start compares this, and reads no file.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from mcps_trust.errors import UntrustedDataError
from mcps_trust.model.digest import Sha256

__all__ = ["Installed", "StoreChangedError", "manifest", "stat_identity"]

TREE, BYTECODE = "tree", "bytecode"


class StoreChangedError(UntrustedDataError):
    """An installed closure is not as it was installed."""

    code = "closure-changed"
    advice = "somebody changed it: find out who; `mcps-launch gc --all` removes it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """A closure in the store."""

    path: Path
    digest: Sha256

    @property
    def tree(self) -> Path:
        """The files."""
        return self.path / TREE

    @property
    def bytecode(self) -> Path | None:
        """Compiled bytecode, kept apart from them, if there is any."""
        place = self.path / BYTECODE
        return place if place.is_dir() else None


def manifest(path: Path) -> Sha256:
    """The digest over what the file system says of everything below `path`.

    Raises:
        StoreChangedError: something is not a plain file or folder.
    """
    digest = hashlib.sha256()
    pending = [str(path)]
    try:
        while pending:
            folder = pending.pop()
            entries = sorted(os.scandir(folder), key=_name)
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    pending.append(entry.path)
                elif not stat.S_ISREG(status.st_mode):
                    raise StoreChangedError(
                        "the closure holds something that was not installed", found=entry.path
                    )
                digest.update(
                    b"%s\0%d %d %d %d %o %d\n"
                    % (os.fsencode(entry.path), status.st_ino, status.st_size,
                       status.st_mtime_ns, status.st_ctime_ns, status.st_mode, status.st_uid)
                )  # fmt: skip
    except OSError as error:
        raise StoreChangedError("the closure cannot be read", found=str(error)) from error
    return Sha256(digest.hexdigest())


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def stat_identity(path: str) -> str:
    """What changes whenever a file is changed; empty where it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
