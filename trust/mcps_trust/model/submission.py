"""The submission's form: a tar of ``bundle.json``, locks and files, with hard limits.

Members are regular files named ``bundle.json``, ``closures/<sha256>`` or
``artifacts/<sha256>``; each must be what its name says. Nothing else is looked at.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from mcps_trust.bundle.parse import MAX_BUNDLE
from mcps_trust.errors import UntrustedDataError
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.plain_tar import PlainHeader

__all__ = ["BadSubmissionError", "Submission", "pack", "unpack"]

MAX_MEMBERS = 64
MAX_FILE = 64 * 1024 * 1024  # bytes
MAX_TOTAL = 256 * 1024 * 1024  # bytes

_MEMBER = re.compile(r"(closures|artifacts)/([0-9a-f]{64})")


class BadSubmissionError(UntrustedDataError):
    """The submission is not of its form, or larger than it may be."""

    code = "bad-submission"


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A bundle with the locks that it binds, and files that no index has."""

    bundle: bytes
    closures: Mapping[Sha256, bytes]
    artifacts: Mapping[Sha256, bytes]


def unpack(stream: BinaryIO) -> Submission:
    """Read a submission.

    Raises:
        BadSubmissionError: it is not one.
    """
    bundle: bytes | None = None
    found: dict[str, dict[Sha256, bytes]] = {"closures": {}, "artifacts": {}}
    total = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=PlainHeader) as archive:
            for count, member in enumerate(archive):
                total += member.size
                if count >= MAX_MEMBERS or total > MAX_TOTAL or member.size > MAX_FILE:
                    raise BadSubmissionError(
                        "the submission is too large",
                        expected=f"{MAX_MEMBERS} files, {MAX_TOTAL} bytes",
                    )
                data = _read(archive, member)
                if member.name == "bundle.json" and bundle is None and len(data) <= MAX_BUNDLE:
                    bundle = data
                    continue
                match = _MEMBER.fullmatch(member.name)
                if match is None or sha256(data) != match[2]:
                    raise BadSubmissionError(
                        "a file is not what its name says", found=member.name[:100]
                    )
                found[match[1]][Sha256(match[2])] = data
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BadSubmissionError("the submission is not a tar file", found=str(error)) from error
    if bundle is None:
        raise BadSubmissionError("the submission has no bundle.json")
    return Submission(bundle=bundle, closures=found["closures"], artifacts=found["artifacts"])


def pack(submission: Submission) -> bytes:
    """The tar file of a submission."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        members = {"bundle.json": submission.bundle}
        members |= {f"closures/{digest}": data for digest, data in submission.closures.items()}
        members |= {f"artifacts/{digest}": data for digest, data in submission.artifacts.items()}
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        raise BadSubmissionError(
            "the submission holds something that is not a file", found=member.name[:100]
        )
    return file.read()
