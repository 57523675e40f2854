"""The store: closures unpacked once, by digest, read-only, and found unchanged at each start.

A tree is made in a folder of its own and renamed into place when it is whole; an
interrupted one leaves nothing that is taken for a closure. Its content digest is computed
once, from the bytes as they are written. What becomes of it afterwards, `installed` sees.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from mcps_launcher.install.installed import BYTECODE, TREE, Installed, StoreChangedError
from mcps_launcher.install.tree import MAX_TREE_SIZE, BadPackageError, PackageFile
from mcps_trust.locked_file import NotWritableError, exclusive, is_held, make_private_directory
from mcps_trust.model.digest import Sha256, sha256

__all__ = ["Store", "content_digest"]

_DIGEST = "tree.sha256"
_BUILDING = ".building-"


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
            building = tempfile.mkdtemp(prefix=f"{_BUILDING}{key}-", dir=self._path)
            digest = _write_tree(Path(building) / TREE, files)
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
        prefix = f"{_BUILDING}{installed.path.name}-"
        building = Path(tempfile.mkdtemp(prefix=prefix, dir=self._path))
        try:
            _write_tree(building / BYTECODE, files)
            # Moving a folder to another parent changes what is in it: its "..".
            os.chmod(building / BYTECODE, 0o755)
            os.rename(building / BYTECODE, installed.path / BYTECODE)
            os.chmod(installed.path / BYTECODE, 0o555)
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
        """Remove what an interruption left, and closures not in `keep`; gives their names.

        What is being installed meanwhile is left alone.
        """
        gone = []
        if self._path.is_dir():
            for place in list(self._path.iterdir()):
                key = place.name.removeprefix(_BUILDING).partition("-")[0]
                if place.name.endswith(".lock") or place.name in keep:
                    continue
                if is_held(self._path / f".{key}.lock"):
                    continue
                _remove(place)
                gone.append(place.name)
        return gone


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
