"""Files of a package on their way into a tree, with every path checked (pure)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from mcps_trust.errors import UntrustedDataError

__all__ = ["MAX_FILES", "MAX_FILE_SIZE", "MAX_TREE_SIZE", "BadPackageError", "PackageFile",
           "check_path"]  # fmt: skip

MAX_FILES = 100_000
MAX_FILE_SIZE = 256 * 1024 * 1024  # bytes
MAX_TREE_SIZE = 2 * 1024 * 1024 * 1024  # bytes
_MAX_PATH = 400  # characters


class BadPackageError(UntrustedDataError):
    """A package file holds what may not be installed, or is not what its lock says."""

    code = "bad-package"
    advice = "do not use it; tell whoever published it"


@dataclass(frozen=True, slots=True)
class PackageFile:
    """One regular file, at a checked relative path."""

    path: str
    content: bytes


def check_path(text: str, package: str) -> str:
    """A path inside the tree, in its one spelling.

    Raises:
        BadPackageError: absolute, upward, empty, too long, or with characters that mean
            something else on some system.
    """
    path = PurePosixPath(text)
    plain = (
        text
        and not path.is_absolute()
        and str(path) == text
        and ".." not in path.parts
        and len(text) <= _MAX_PATH
        and not any(c in "\\:" or unicodedata.category(c).startswith("C") for c in text)
    )
    if not plain:
        raise BadPackageError(
            f"{package} holds a path that leaves its tree", found=repr(text)[:200]
        )
    return text


def only_once(files: Iterator[PackageFile], seen: set[str], package: str) -> Iterator[PackageFile]:
    """Pass files on, refusing a path that was there before where case does not count.

    Raises:
        BadPackageError: two files would share a path.
    """
    for file in files:
        key = file.path.casefold()
        if key in seen:
            raise BadPackageError(f"{package} has a file twice", found=file.path[:200])
        seen.add(key)
        if len(seen) > MAX_FILES:
            raise BadPackageError(f"{package} has too many files", expected=f"{MAX_FILES}")
        yield file
