"""Read a wheel (PEP 427): every file checked against RECORD, nothing executed.

Dropped: ``.data`` schemes other than purelib and platlib (scripts carry an interpreter's
path, data goes anywhere), and ``__pycache__``, because bytecode that was shipped is code
that nobody reviewed.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from packaging.utils import parse_wheel_filename

from mcps_launcher.install.tree import MAX_FILE_SIZE, BadPackageError, PackageFile, check_path
from mcps_trust.model.pylock import LockedWheel

__all__ = ["read_wheel"]

_MAX_RECORD = 16 * 1024 * 1024  # bytes
_UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")


def read_wheel(path: Path, locked: LockedWheel) -> Iterator[PackageFile]:
    """The files that a wheel installs.

    Args:
        path: the wheel, whose own digest the caller has compared with the lock.
        locked: what the lock says it is.

    Raises:
        BadPackageError: something in it is not as a wheel must be.
    """
    name = locked.filename
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            record_path = _record_path(infos, locked)
            if archive.getinfo(record_path).file_size > _MAX_RECORD:
                raise BadPackageError(f"{name}: RECORD is too large")
            record = _read_record(archive.read(record_path), name)
            for info in infos:
                if info.is_dir() or info.filename == record_path:
                    continue
                yield from _file(archive, info, record, record_path, name)
            if record:
                raise BadPackageError(
                    f"{name}: RECORD names files that are not there", found=next(iter(record))
                )
    except (
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        EOFError,
        lzma.LZMAError,
        KeyError,
        ValueError,
        OSError,
    ) as error:
        raise BadPackageError(f"{name} is not a readable wheel", found=str(error)) from error


def _record_path(infos: list[zipfile.ZipInfo], locked: LockedWheel) -> str:
    names = [info.filename for info in infos]
    found = [n for n in names if n.count("/") == 1 and n.endswith(".dist-info/RECORD")]
    if len(set(names)) != len(names) or len(found) != 1:
        raise BadPackageError(f"{locked.filename} has a file twice, or not one RECORD")
    stem = found[0].partition(".dist-info/")[0]
    wheel_name, version, _, _ = parse_wheel_filename(f"{stem}-py3-none-any.whl")
    if wheel_name != locked.name or str(version) != locked.version:
        raise BadPackageError(f"{locked.filename} is another package inside", found=stem)
    return found[0]


def _read_record(data: bytes, name: str) -> dict[str, tuple[str, str]]:
    record: dict[str, tuple[str, str]] = {}
    try:
        for row in csv.reader(io.StringIO(data.decode("utf-8"))):
            if not row:
                continue
            path, digest, size = row
            if path in record:
                raise BadPackageError(f"{name}: RECORD names a file twice", found=path[:200])
            record[path] = (digest, size)
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise BadPackageError(f"{name}: RECORD cannot be read", found=str(error)) from error
    for path in list(record):
        if path.partition(".dist-info/")[2] in _UNRECORDED:
            del record[path]
    return record


def _file(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    record: dict[str, tuple[str, str]],
    record_path: str,
    name: str,
) -> Iterator[PackageFile]:
    path = check_path(info.filename, name)
    mode = info.external_attr >> 16
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadPackageError(f"{name} is packed in a way that wheels are not", found=path)
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG) or info.file_size > MAX_FILE_SIZE:
        raise BadPackageError(f"{name} holds something that is not a plain file", found=path)
    content = archive.read(info)
    folder = record_path.rpartition("/")[0]
    if path.startswith(f"{folder}/") and path.partition(".dist-info/")[2] in _UNRECORDED:
        return
    if path not in record:
        raise BadPackageError(f"{name}: a file is missing from RECORD", found=path)
    digest, size = record.pop(path)
    actual = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    if digest != f"sha256={actual}" or (size and size != str(len(content))):
        raise BadPackageError(f"{name}: a file is not what RECORD says", found=path)
    target = _target(path, folder.removesuffix(".dist-info"))
    if target is not None:
        yield PackageFile(check_path(target, name), content)


def _target(path: str, stem: str) -> str | None:
    if "__pycache__" in path.split("/"):
        return None
    if not path.startswith(f"{stem}.data/"):
        return path
    _, scheme, rest = path.split("/", 2) if path.count("/") > 1 else ("", "", "")
    return rest if scheme in ("purelib", "platlib") else None
