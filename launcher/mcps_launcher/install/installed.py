"""An installed closure, and whether it still is as it was installed.

Its manifest is what the file system says of every file: inode, size, times of change, mode,
owner. A changed byte changes the time of change, which nobody but root (or a clock) can set
back; so each start compares this, and reads no file.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mcps_trust.errors import UntrustedDataError
from mcps_trust.model.digest import Sha256

__all__ = ["Installed", "Look", "StoreChangedError", "manifest", "stat_identity"]

Look = Callable[[Path], Sha256]
"""What gives the manifest of the closure at a path: `manifest`, or what knows it already."""

TREE, BYTECODE = "tree", "bytecode"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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
        StoreChangedError: something is not a plain file or folder, or cannot be read.
    """
    digest = hashlib.sha256()
    try:
        descriptor = os.open(path, _FOLDER)
        try:
            _add_folder(digest, descriptor, "")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreChangedError("the closure cannot be read", found=str(error)) from error
    return Sha256(digest.hexdigest())


def _add_folder(digest: hashlib._Hash, descriptor: int, name: str) -> None:
    """Add a folder and all below it; by descriptors, so that no path is resolved twice."""
    entries, folders = [], []
    with os.scandir(descriptor) as found:
        for entry in found:
            status = entry.stat(follow_symlinks=False)
            mode = status.st_mode
            if stat.S_ISDIR(mode):
                folders.append(entry.name)
            elif not stat.S_ISREG(mode):
                raise StoreChangedError(
                    "the closure holds something that was not installed",
                    found=f"{name}/{entry.name}",
                )
            entries.append((entry.name, status.st_ino, status.st_size, status.st_mtime_ns,
                            status.st_ctime_ns, mode, status.st_uid))  # fmt: skip
    entries.sort()
    digest.update(repr((name, entries)).encode("utf-8", "surrogateescape"))
    for folder in sorted(folders):
        below = os.open(folder, _FOLDER, dir_fd=descriptor)
        try:
            _add_folder(digest, below, f"{name}/{folder}")
        finally:
            os.close(below)


def stat_identity(path: str) -> str:
    """What changes whenever a file is changed; empty where it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
