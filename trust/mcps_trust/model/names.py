"""Names and the paths made of them (design §4 "Paths").

Names come from strangers and end up in file systems, URLs and TUF targets, so each is
checked once, here, and carried as a type of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType, Self

from mcps_trust.errors import UntrustedDataError
from mcps_trust.model.digest import Sha256

__all__ = [
    "ALIAS",
    "RESERVED_ALIASES",
    "SEGMENT",
    "TEAM",
    "Alias",
    "BadNameError",
    "EntryPath",
    "ServerName",
    "TeamId",
    "allow_list_path",
    "blob_path",
    "parse_alias",
    "parse_segment",
    "parse_team",
]

SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
TEAM = re.compile(r"[a-z0-9-]{1,32}")
ALIAS = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")

RESERVED_ALIASES = frozenset(
    {
        "audit", "configure", "doctor", "enroll", "gc", "help", "inspect", "list", "logs",
        "prefetch", "ps", "run", "runtime", "stop", "unenroll", "update", "verify", "version",
    }
)  # fmt: skip
"""Command words of ``mcps-launch``: an alias of that name could never be started bare."""

TeamId = NewType("TeamId", str)
Alias = NewType("Alias", str)


class BadNameError(UntrustedDataError):
    """A name has characters or a length that names may not have."""

    code = "bad-name"


def parse_segment(text: str, what: str) -> str:
    """Check one path segment.

    Raises:
        BadNameError: `text` does not fit; `what` says of what it is the name.
    """
    if not SEGMENT.fullmatch(text):
        raise BadNameError(f"not a valid {what}", expected=SEGMENT.pattern, found=repr(text)[:140])
    return text


def parse_team(text: str) -> TeamId:
    """Check a team id.

    Raises:
        BadNameError: it has characters or a length that team ids may not have.
    """
    if not TEAM.fullmatch(text):
        raise BadNameError("not a valid team id", expected=TEAM.pattern, found=repr(text)[:140])
    return TeamId(text)


def parse_alias(text: str) -> Alias:
    """Check an alias.

    Raises:
        BadNameError: it does not fit, or is a command word of the launcher.
    """
    if not ALIAS.fullmatch(text):
        raise BadNameError("not a valid alias", expected=ALIAS.pattern, found=repr(text)[:140])
    if text in RESERVED_ALIASES:
        raise BadNameError(
            "this alias is a command of mcps-launch and could not be started by name",
            found=text,
            remedy="choose another alias, for example with the server's purpose in it",
        )
    return Alias(text)


@dataclass(frozen=True, slots=True, order=True)
class ServerName:
    """``namespace/name``, as in the official registry."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``namespace/name``.

        Raises:
            BadNameError: it is not two valid segments.
        """
        namespace, slash, name = text.partition("/")
        if not slash:
            raise BadNameError(
                "not a server name", expected="namespace/name", found=repr(text)[:140]
            )
        return cls(parse_segment(namespace, "namespace"), parse_segment(name, "server name"))

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class EntryPath:
    """Where an entry stands: ``servers/<namespace>/<name>/<version>/<revision>/entry.json``."""

    server: ServerName
    version: str
    revision: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a TUF target path.

        Raises:
            BadNameError: it is not the path of an entry.
        """
        parts = text.split("/")
        if len(parts) != 6 or parts[0] != "servers" or parts[5] != "entry.json":
            raise BadNameError(
                "not the path of an entry",
                found=repr(text)[:200],
                expected="servers/<namespace>/<name>/<version>/<revision>/entry.json",
            )
        server = ServerName(
            parse_segment(parts[1], "namespace"), parse_segment(parts[2], "server name")
        )
        version = parse_segment(parts[3], "version")
        if not re.fullmatch(r"[1-9][0-9]{0,8}", parts[4]):
            raise BadNameError("not a valid revision", expected="1, 2, 3, …", found=parts[4][:40])
        return cls(server, version, int(parts[4]))

    def __str__(self) -> str:
        return f"servers/{self.server}/{self.version}/{self.revision}/entry.json"


def allow_list_path(team: TeamId) -> str:
    """The TUF target path of a team's allow-list."""
    return f"teams/{team}/allow-list.json"


def blob_path(digest: Sha256) -> str:
    """Where a file lies whose digest an entry or a lock carries."""
    return f"blobs/sha256/{digest[:2]}/{digest}"
