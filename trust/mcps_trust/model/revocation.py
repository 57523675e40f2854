"""Revocations: what must not run any more, and since when.

Clients keep the union of all that they have ever seen; only ``reinstated/list.json``,
signed by other people, takes one back, by its id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self, assert_never

from mcps_trust.clock import format_time
from mcps_trust.model import strict_json
from mcps_trust.model.digest import is_sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.names import SEGMENT
from mcps_trust.model.purl import Purl

__all__ = ["KINDS", "Kind", "Reinstatements", "Revocation", "Revocations"]

Kind = Literal["digest", "signer", "publisher", "package", "artifact"]
KINDS: tuple[Kind, ...] = ("digest", "signer", "publisher", "package", "artifact")

_WORDS: Mapping[Kind, str] = {
    "digest": "64 hexadecimal digits", "artifact": "64 hexadecimal digits, or sha512-BASE64",
    "publisher": "a namespace", "package": "pkg:pypi/NAME@VERSION or pkg:npm/NAME@VERSION",
    "signer": "ISSUER and SUBJECT, one space between",
}  # fmt: skip
_MAX_LIST = 16 * 1024 * 1024  # bytes
_MAX_UNION = 64 * 1024 * 1024  # bytes
_ID = re.compile(r"[0-9a-zA-Z-]{8,64}")
_INTEGRITY = re.compile(r"sha512-[A-Za-z0-9+/]{86}==")


@dataclass(frozen=True, kw_only=True, slots=True)
class Revocation:
    """One thing that is taken back.

    What `match` holds depends on `kind`: *digest* the SHA-256 of a release, bundle,
    closure or entry; *signer* ``issuer subject`` (the subject may hold ``*`` as in an
    identity); *publisher* a namespace; *package* a package URL; *artifact* the SHA-256 or
    npm integrity of one file of a closure.

    `since` matters for signers: what they signed before it stays valid.
    """

    id: str
    kind: Kind
    match: str
    since: datetime
    reason: str
    time: datetime

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`, `BadPurlError`."""
        revocation = cls(
            id=fields.text("id", pattern=_ID),
            kind=fields.choice("kind", KINDS),
            match=fields.text("match", longest=2000),
            since=fields.time("since"),
            reason=fields.text("reason", longest=2000),
            time=fields.time("time"),
        )
        if not _match_is_valid(revocation.kind, revocation.match):
            raise fields.error(
                "match", f"{_WORDS[revocation.kind]} for a {revocation.kind}", revocation.match
            )
        fields.done()
        return revocation

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "id": self.id,
            "kind": self.kind,
            "match": self.match,
            "since": format_time(self.since),
            "reason": self.reason,
            "time": format_time(self.time),
        }


def _match_is_valid(kind: Kind, match: str) -> bool:
    match kind:
        case "digest":
            return is_sha256(match)
        case "artifact":
            return is_sha256(match) or _INTEGRITY.fullmatch(match) is not None
        case "publisher":
            return SEGMENT.fullmatch(match) is not None
        case "package":
            return Purl.parse(match).plain == match
        case "signer":
            issuer, space, subject = match.partition(" ")
            return bool(issuer and space and subject.strip("*/")) and " " not in subject
        case _:
            assert_never(kind)


@dataclass(frozen=True, kw_only=True, slots=True)
class Revocations:
    """``revoked/list.json``."""

    revocations: tuple[Revocation, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the bytes of the file.

        Raises:
            UnsupportedVersionError: a format version that this release does not know.
            UntrustedDataError: anything else about it is wrong.
        """
        fields = Fields(
            strict_json.loads_canonical(data, limit=_MAX_LIST, values=_MAX_LIST), "revocations"
        )
        fields.version("version", 1)
        found = tuple(Revocation.from_fields(item) for item in fields.objects("revocations"))
        if len({revocation.id for revocation in found}) != len(found):
            raise fields.error("revocations", "each id once", len(found))
        fields.done()
        return cls(revocations=found)

    @classmethod
    def parse_union(cls, data: bytes) -> Self:
        """Read what `union` made: one id may stand there with more than one text.

        Raises:
            UntrustedDataError: it is not a list of revocations.
        """
        fields = Fields(
            strict_json.loads_canonical(data, limit=_MAX_UNION, values=_MAX_UNION), "revocations"
        )
        fields.version("version", 1)
        items = fields.array("revocations", longest=1_000_000)
        found = tuple(Revocation.from_fields(Fields(item, "revocation")) for item in items)
        fields.done()
        return cls(revocations=found)

    def to_bytes(self) -> bytes:
        """The bytes of the file."""
        items = [revocation.to_dict() for revocation in self.revocations]
        return strict_json.dumps({"version": 1, "revocations": items})

    def union(self, other: Revocations) -> Revocations:
        """All of both, each id once; where two differ under one id, both are kept."""
        seen = {str(r.to_dict()): r for r in (*self.revocations, *other.revocations)}
        return Revocations(revocations=tuple(seen.values()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Reinstatements:
    """``reinstated/list.json``: ids of revocations that no longer hold."""

    ids: Mapping[str, str]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the bytes of the file.

        Raises:
            UnsupportedVersionError: a format version that this release does not know.
            UntrustedDataError: anything else about it is wrong.
        """
        fields = Fields(strict_json.loads_canonical(data), "reinstatements")
        fields.version("version", 1)
        ids: dict[str, str] = {}
        for item in fields.objects("reinstated"):
            identity = item.text("id", pattern=_ID)
            if identity in ids:
                raise item.error("id", "each id once", identity)
            ids[identity] = item.text("reason", longest=2000)
            item.done()
        fields.done()
        return cls(ids=ids)

    def to_bytes(self) -> bytes:
        """The bytes of the file."""
        items: list[Any] = [{"id": key, "reason": reason} for key, reason in self.ids.items()]
        return strict_json.dumps({"version": 1, "reinstated": items})
