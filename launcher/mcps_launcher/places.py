"""Where the launcher keeps things, found without the environment.

Root keeps them in ``/var/lib/mcps``; anybody else in the home folder that the password
database names. A folder that others could write would let them decide what is trusted, so
owner and mode of it are checked before anything in it is believed.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mcps_trust.errors import ConfigurationError
from mcps_trust.locked_file import make_private_directory

__all__ = ["FolderNotOwnError", "Places", "find_folder"]

_ROOT_FOLDER = Path("/var/lib/mcps")
_USER_FOLDER = ".local/share/mcps"


class FolderNotOwnError(ConfigurationError):
    """A folder that decides what is trusted can be written by somebody else."""

    code = "folder-not-own"
    advice = "make it yours alone: chown and chmod go-w, or choose another with --home"


def find_folder(chosen: Path | None) -> Path:
    """Where the launcher's folder is: the one that was chosen, or this user's."""
    if chosen is not None:
        return Path(os.path.abspath(chosen))
    if os.geteuid() == 0:
        return _ROOT_FOLDER
    return Path(pwd.getpwuid(os.geteuid()).pw_dir) / _USER_FOLDER


@dataclass(frozen=True, slots=True)
class Places:
    """All paths of one launcher installation."""

    home: Path

    @classmethod
    def find(cls, chosen: Path | None) -> Self:
        """The launcher's folder, made if need be and checked.

        Raises:
            FolderNotOwnError: somebody else could write it.
            NotWritableError: it cannot be made.
        """
        home = find_folder(chosen)
        make_private_directory(home)
        check_own(home)
        return cls(home)

    @property
    def enrolment(self) -> Path:
        """What was agreed at enrolment."""
        return self.home / "enrolment.json"

    @property
    def root(self) -> Path:
        """The registry's root metadata, as trusted at enrolment."""
        return self.home / "root.json"

    @property
    def configuration(self) -> Path:
        """The user's configuration file."""
        return self.home / "config.toml"

    @property
    def registry(self) -> Path:
        """Cache of registry metadata and targets."""
        return self.home / "registry"

    @property
    def blobs(self) -> Path:
        """Cache of bundles, locks and package files, by digest."""
        return self.home / "blobs"

    @property
    def kept(self) -> Path:
        """Kept proofs, decisions, and the union of revocations."""
        return self.home / "kept"

    @property
    def store(self) -> Path:
        """Installed closures."""
        return self.home / "store"

    @property
    def audit(self) -> Path:
        """The audit chains."""
        return self.home / "audit"

    @property
    def sessions(self) -> Path:
        """One file for each running session."""
        return self.home / "sessions"

    @property
    def logs(self) -> Path:
        """What servers wrote to stderr."""
        return self.home / "logs"


def check_own(folder: Path) -> None:
    """Let pass a folder that nobody else can change, by any folder above it either.

    Raises:
        FolderNotOwnError: somebody can.
    """
    trusted = {0, os.geteuid()}
    place = Path(os.path.realpath(folder))
    for part in (place, *place.parents):
        status = part.stat()
        open_to_others = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
        if status.st_uid not in trusted or open_to_others:
            raise FolderNotOwnError(
                f"{part} can be changed by others",
                expected=f"owner {os.geteuid()} or root, not writable by others",
                found=f"owner {status.st_uid}, mode {status.st_mode & 0o7777:o}",
            )
    if place.stat().st_uid != os.geteuid():
        raise FolderNotOwnError(
            f"{place} belongs to somebody else",
            expected=f"owner {os.geteuid()}",
            found=str(place.stat().st_uid),
        )
    if place.stat().st_mode & 0o077:
        # Nor one that came with somebody's files: those have the modes of other folders.
        raise FolderNotOwnError(
            f"{place} is open to others",
            expected="mode 700",
            found=f"{place.stat().st_mode & 0o7777:o}",
        )
