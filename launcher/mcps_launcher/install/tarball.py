"""Read an npm tarball: regular files only, below the one folder that it has."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from mcps_launcher.install.tree import MAX_FILE_SIZE, BadPackageError, PackageFile, check_path
from mcps_trust.errors import McpsError
from mcps_trust.model import strict_json
from mcps_trust.model.package_lock import LockedTarball

__all__ = ["read_tarball"]


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
        with tarfile.open(path, mode="r:gz") as archive:
            for member in archive:
                if member.isdir():
                    continue
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
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError) as error:
        raise BadPackageError(f"{label} is not a readable tarball", found=str(error)) from error


def _check_identity(content: bytes, locked: LockedTarball, label: str) -> None:
    try:
        document = strict_json.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except McpsError as error:
        raise BadPackageError(f"{label}: package.json cannot be read", found=error.what) from error
    if not isinstance(document, dict) or document.get("name") != locked.name:
        found = document.get("name") if isinstance(document, dict) else document
        raise BadPackageError(f"{label} is another package inside", found=repr(found)[:100])
