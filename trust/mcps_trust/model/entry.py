"""The entry: a registry's record that one release was vetted, and what it may do.

Immutable: a change is a new revision at a new path. Its file is spelled in one way only
(`strict_json.dumps`), so the digest over the bytes is a digest over the value, and the
approvals can be taken off it and put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from mcps_trust.clock import format_time
from mcps_trust.model import strict_json
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.identity import PublisherIdentity
from mcps_trust.model.names import EntryPath
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.vetting import TIERS, Tier, ToolRule

__all__ = ["Artifacts", "Entry"]

MAX_ENTRY = 1024 * 1024  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifacts:
    """What came of comparing every locked file with a package index.

    `unmatched` holds ``purl filename`` of files that the index does not know with this
    hash, such as a publisher's own wheel that travels with the release.
    """

    index: str
    matched: int
    unmatched: tuple[str, ...]

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`."""
        artifacts = cls(
            index=fields.text("index", longest=300),
            matched=fields.integer("matched"),
            unmatched=fields.texts("unmatched"),
        )
        fields.done()
        return artifacts

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {"index": self.index, "matched": self.matched, "unmatched": list(self.unmatched)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One vetted release. `approvals` are DSSE envelopes, as decoded JSON."""

    path: EntryPath
    release: Sha256
    bundle_sha256: Sha256
    bundle_size: int
    identity: PublisherIdentity
    artifacts: Artifacts
    grant: Permissions
    tools: Mapping[str, ToolRule]
    tier: Tier
    expires_at: datetime
    notes: str
    approvals: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the bytes of an ``entry.json``.

        Raises:
            UnsupportedVersionError: a format version that this release does not know.
            UntrustedDataError: anything else about it is wrong.
        """
        fields = Fields(strict_json.loads_canonical(data, limit=MAX_ENTRY), "entry")
        fields.version("version", 1)
        bundle = fields.object("bundle")
        entry = cls(
            path=EntryPath.parse(fields.text("path")),
            release=fields.digest("release"),
            bundle_sha256=bundle.digest("sha256"),
            bundle_size=bundle.integer("size", least=1, most=8 * 1024 * 1024),
            identity=PublisherIdentity.from_fields(fields.object("identity")),
            artifacts=Artifacts.from_fields(fields.object("artifacts")),
            grant=Permissions.from_fields(fields.object("grant")),
            tools={name: ToolRule.from_fields(rule) for name, rule in fields.entries("tools")},
            tier=fields.choice("tier", TIERS),
            expires_at=fields.time("expiresAt"),
            notes=fields.optional("notes", fields.text) or "",
            approvals=tuple(dict(item.document) for item in fields.objects("approvals")),
        )
        bundle.done()
        fields.done()
        return entry

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "version": 1,
            "path": str(self.path),
            "release": self.release,
            "bundle": {"sha256": self.bundle_sha256, "size": self.bundle_size},
            "identity": self.identity.to_dict(),
            "artifacts": self.artifacts.to_dict(),
            "grant": self.grant.to_dict(),
            "tools": {name: rule.to_dict() for name, rule in self.tools.items()},
            "tier": self.tier,
            "expiresAt": format_time(self.expires_at),
            **({"notes": self.notes} if self.notes else {}),
            "approvals": [dict(item) for item in self.approvals],
        }

    def to_bytes(self) -> bytes:
        """The bytes of the file."""
        return strict_json.dumps(self.to_dict())

    @property
    def approved_digest(self) -> Sha256:
        """What approvers sign: the digest of the entry's file without its approvals."""
        document = replace(self, approvals=()).to_dict()
        del document["approvals"]
        return sha256(strict_json.dumps(document))

    def with_approvals(self, approvals: tuple[Mapping[str, Any], ...]) -> Entry:
        """The same entry, approved by these."""
        return replace(self, approvals=approvals)
