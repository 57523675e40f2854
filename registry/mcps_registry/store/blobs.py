"""Bundles, locks and artefacts: files named by their own digest."""

from __future__ import annotations

from pathlib import Path

from mcps_trust.errors import UntrustedDataError
from mcps_trust.locked_file import make_private_directory, write_atomically
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.names import blob_path

__all__ = ["BlobMissingError", "Blobs"]


class BlobMissingError(UntrustedDataError):
    """A file that a digest names is not here."""

    code = "blob-missing"


class Blobs:
    """The blobs below the folder that is served."""

    def __init__(self, public: Path) -> None:
        self._public = public

    def put(self, data: bytes) -> Sha256:
        """Keep `data`; gives its digest.

        Raises:
            NotWritableError: it cannot be written.
        """
        digest = sha256(data)
        place = self._public / blob_path(digest)
        if not place.exists():
            make_private_directory(place.parent, mode=0o755)
            write_atomically(place, data, mode=0o644)
        return digest

    def get(self, digest: Sha256) -> bytes:
        """The blob with that digest.

        Raises:
            BlobMissingError: it is not here, or is no longer itself.
        """
        try:
            data = (self._public / blob_path(digest)).read_bytes()
        except OSError as error:
            raise BlobMissingError("a blob is missing", expected=digest) from error
        if sha256(data) != digest:
            raise BlobMissingError("a blob was changed", expected=digest, found=sha256(data))
        return data
