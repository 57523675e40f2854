"""The store: closures unpacked once, by digest, read-only, and found unchanged at each start.

A tree is made in a folder of its own and renamed into place when it is whole; an
interrupted one leaves nothing that is taken for a closure. Its content digest is computed
once, from the bytes as they are written. At a start `manifest` compares what the file
system says of every file: inode, size, times of change, mode, owner. A changed byte changes
the time of change, which nobody but root (or a clock) can set back.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mcps_launcher.install.tree import MAX_TREE_SIZE, BadPackageError, PackageFile
from mcps_trust.errors import UntrustedDataError
from mcps_trust.locked_file import NotWritableError, exclusive, make_private_directory
from mcps_trust.model.digest import Sha256, sha256

__all__ = ["Installed", "Store", "StoreChangedError", "manifest"]

_TREE, _BYTECODE, _DIGEST = "tree", "bytecode", "tree.sha256"


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
        return self.path / _TREE

    @property
    def bytecode(self) -> Path | None:
        """Compiled bytecode, kept apart from them, if there is any."""
        place = self.path / _BYTECODE
        return place if place.is_dir() else None


class Store:
    """Installed closures below one folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, key: Sha256) -> Installed | None:
        """The closure that was installed under `key`."""
        place = self._path / key
        try:
            digest = (place / _DIGEST).read_text("ascii")
        except OSError:
            return None
        return Installed(path=place, digest=Sha256(digest))

    @contextlib.contextmanager
    def installing(self, key: Sha256) -> Iterator[None]:
        """Hold the right to install `key`; a second process waits, and then finds it there.

        Raises:
            NotWritableError: the store cannot be written.
        """
        make_private_directory(self._path, mode=0o711)
        with exclusive(self._path / f".{key}.lock"):
            yield

    def add(self, key: Sha256, files: Iterable[PackageFile]) -> Installed:
        """Install files under `key`; call it inside `installing`.

        Raises:
            BadPackageError: the files are more than a closure may be, or not readable.
            NotWritableError: no room, or no right to write.
        """
        building = ""
        try:
            building = tempfile.mkdtemp(prefix=".building-", dir=self._path)
            digest = _write_tree(Path(building) / _TREE, files)
            (Path(building) / _DIGEST).write_text(digest, "ascii")
            os.chmod(building, 0o755)
            os.rename(building, self._path / key)
        except OSError as error:
            _remove(Path(building) if building else None)
            raise NotWritableError(
                "the closure cannot be installed", found=error.strerror or str(error)
            ) from error
        except BaseException:
            _remove(Path(building) if building else None)
            raise
        return Installed(path=self._path / key, digest=digest)

    def add_bytecode(self, installed: Installed, files: Iterable[PackageFile]) -> None:
        """Put compiled bytecode beside a closure.

        Raises:
            NotWritableError: no room, or no right to write.
        """
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=self._path))
        try:
            _write_tree(building / _BYTECODE, files)
            # Moving a folder to another parent changes what is in it: its "..".
            os.chmod(building / _BYTECODE, 0o755)
            os.rename(building / _BYTECODE, installed.path / _BYTECODE)
            os.chmod(installed.path / _BYTECODE, 0o555)
        except OSError as error:
            raise NotWritableError("the bytecode cannot be kept", found=error.strerror) from error
        finally:
            _remove(building)

    def discard(self, key: Sha256) -> None:
        """Remove what stands under `key`, to be installed anew."""
        _remove(self._path / key)

    def entries(self) -> list[Path]:
        """All closures."""
        with contextlib.suppress(OSError):
            return [p for p in self._path.iterdir() if not p.name.startswith(".")]
        return []

    def sweep(self, keep: set[str]) -> list[str]:
        """Remove what an interruption left, and closures not in `keep`; gives their names."""
        gone = []
        if self._path.is_dir():
            for place in list(self._path.iterdir()):
                if place.name.endswith(".lock") or place.name in keep:
                    continue
                _remove(place)
                gone.append(place.name)
        return gone


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


def content_digest(tree: Path) -> Sha256:
    """The digest over every path and byte below `tree`, as `Store.add` computed it.

    Raises:
        StoreChangedError: it cannot be read.
    """
    lines = []
    try:
        for folder, _, names in os.walk(tree):
            for name in names:
                place = Path(folder) / name
                data = place.read_bytes()
                lines.append(_line(str(place.relative_to(tree)), data))
    except OSError as error:
        raise StoreChangedError("the closure cannot be read", found=str(error)) from error
    return sha256(b"".join(sorted(lines)))


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _line(path: str, content: bytes) -> bytes:
    return f"{path}\0{len(content)}\0{sha256(content)}\n".encode()


def _write_tree(tree: Path, files: Iterable[PackageFile]) -> Sha256:
    lines, size = [], 0
    tree.mkdir()
    folders = {str(tree)}
    for file in files:
        size += len(file.content)
        if size > MAX_TREE_SIZE:
            raise BadPackageError("the closure is too large", expected=f"{MAX_TREE_SIZE} bytes")
        place = f"{tree}/{file.path}"
        folder = os.path.dirname(place)
        if folder not in folders:
            os.makedirs(folder, exist_ok=True)
            folders.add(folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            descriptor = os.open(place, flags, 0o444)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise BadPackageError("two packages would share a path", found=file.path) from error
        with os.fdopen(descriptor, "wb", buffering=0) as out:
            out.write(file.content)
        lines.append(_line(file.path, file.content))
    for folder, _, _ in os.walk(tree, topdown=False):
        os.chmod(folder, 0o555)
    return sha256(b"".join(sorted(lines)))


def _remove(path: Path | None) -> None:
    if path is None or not path.exists():
        return
    for folder, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)
    shutil.rmtree(path, ignore_errors=True)
