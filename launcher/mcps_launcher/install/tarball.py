"""Read an npm tarball: regular files only, below the one folder that it has.

A few kilobytes can unpack to as much as one likes, so what is unpacked is counted, headers are
kept short, and nothing of what was passed on is kept.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from mcps_launcher.install.tree import (
    MAX_FILE_SIZE,
    MAX_FILES,
    MAX_TREE_SIZE,
    BadPackageError,
    PackageFile,
    check_path,
)
from mcps_trust.errors import McpsError
from mcps_trust.model import strict_json
from mcps_trust.model.package_lock import LockedTarball
from mcps_trust.plain_tar import PlainHeader

__all__ = ["read_tarball"]

_BLOCK = 1 << 18  # bytes


def read_tarball(path: Path, locked: LockedTarball) -> Iterator[PackageFile]:
    """The files that a tarball unpacks, below ``locked.place``.

    Args:
        path: the tarball, whose own digest the caller has compared with the lock.
        locked: what the lock says it is.

    Raises:
        BadPackageError: it holds a link, a device, a path that leaves it, a nested
            ``node_modules/.bin``, or another package than the lock says.
    """
    label = f"{locked.name}@{locked.version}"
    try:
        with (
            gzip.open(path) as unpacked,
            tarfile.open(
                fileobj=cast("IO[bytes]", _Counted(unpacked)),
                mode="r|",
                bufsize=_BLOCK,
                tarinfo=PlainHeader,
            ) as archive,
        ):
            for _ in range(MAX_FILES):
                member = archive.next()
                archive.members = []  # type: ignore[attr-defined]  # else it keeps them all
                if member is None:
                    return
                yield from _file(archive, member, locked, label)
            raise BadPackageError(f"{label} has too many files", expected=f"{MAX_FILES}")
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError) as error:
        raise BadPackageError(f"{label} is not a readable tarball", found=str(error)) from error


def _file(
    archive: tarfile.TarFile, member: tarfile.TarInfo, locked: LockedTarball, label: str
) -> Iterator[PackageFile]:
    if member.isdir():
        return
    if not member.isreg() or member.size > MAX_FILE_SIZE:
        raise BadPackageError(
            f"{label} holds something that is not a plain file", found=member.name[:200]
        )
    _, _, inner = member.name.removeprefix("./").partition("/")
    relative = check_path(inner, label)
    file = archive.extractfile(member)
    content = file.read() if file is not None else b""
    if len(content) != member.size:
        raise BadPackageError(f"{label} is cut off", found=relative)
    if relative == "package.json":
        _check_identity(content, locked, label)
    yield PackageFile(f"{locked.place}/{relative}", content)


class _Counted:
    """Reads on until more came than a closure may have."""

    def __init__(self, source: gzip.GzipFile) -> None:
        self._source = source
        self._left = MAX_TREE_SIZE

    def read(self, size: int) -> bytes:
        """As any file."""
        data = self._source.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise tarfile.ReadError("it unpacks to more than a closure may have")
        return data


def _check_identity(content: bytes, locked: LockedTarball, label: str) -> None:
    try:
        document = strict_json.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except McpsError as error:
        raise BadPackageError(f"{label}: package.json cannot be read", found=error.what) from error
    if not isinstance(document, dict) or document.get("name") != locked.name:
        found = document.get("name") if isinstance(document, dict) else document
        raise BadPackageError(f"{label} is another package inside", found=repr(found)[:100])
