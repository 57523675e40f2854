"""Files that several processes share: atomic replacement and an exclusive lock."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mcps_trust.errors import StorageError

__all__ = ["NotWritableError", "exclusive", "is_held", "make_private_directory", "write_atomically"]


_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class NotWritableError(StorageError):
    """A file cannot be written: no room, no right, or a broken disk."""

    code = "not-writable"
    advice = "make room, or give the user of this command the right to write there"


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace `path` by `data`, whole or not at all.

    Raises:
        NotWritableError: it cannot be written; the old file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    try:
        descriptor = os.open(temporary, _NEW_FILE, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise NotWritableError(f"cannot write {path}", found=error.strerror) from error


def make_private_directory(path: Path, *, mode: int = 0o700) -> Path:
    """Make a folder, with those above it, that others cannot read.

    Raises:
        NotWritableError: it cannot be made.
    """
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritableError(f"cannot make the folder {path}", found=error.strerror) from error
    return path


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for the length of a ``with`` block, waiting for it first.

    Raises:
        NotWritableError: the lock file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise NotWritableError(f"cannot open the lock {path}", found=error.strerror) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether another process, or another part of this one, holds the lock file `path` now."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
