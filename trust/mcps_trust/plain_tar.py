"""Headers of tar files by strangers: plain, short, and not sparse.

A sparse member of a few hundred kilobytes unpacks to as much as one likes, and its map alone
takes gigabytes before anything is unpacked; extended headers may be as long as the file.
"""

from __future__ import annotations

import tarfile
from typing import NoReturn

__all__ = ["PlainHeader"]

_MAX_HEADER = 64 * 1024  # bytes
_PLAIN = frozenset((*tarfile.REGULAR_TYPES, tarfile.DIRTYPE))


class PlainHeader(tarfile.TarInfo):
    """A member without a sparse map, whose extended headers are no longer than any path.

    For ``tarfile.open(tarinfo=…)``: raises `tarfile.ReadError` while the header is read.
    """

    def _proc_member(self, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type not in _PLAIN and self.size > _MAX_HEADER:
            raise tarfile.ReadError("a header of it is too long")
        return super()._proc_member(tarfile_)  # type: ignore[misc,no-any-return]  # made to be overridden, and untyped

    def _refuse(self, *_words: object) -> NoReturn:
        raise tarfile.ReadError("it holds a sparse file")

    # The four ways in which a sparse file is written (GNU tar manual, "Sparse Formats").
    _proc_sparse = _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse
