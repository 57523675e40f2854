"""The launch decision: that one start is allowed now, and by what.

Never a bool. It names everything it rests on, so that it can be kept and held against the
present at the next start, and entered whole into the audit record (design §6.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from mcps_trust.clock import format_time
from mcps_trust.model import strict_json
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.names import EntryPath
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.vetting import TIERS, Tier, ToolRule

__all__ = ["LaunchDecision", "MetadataState"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MetadataState:
    """Which registry metadata a decision rests on.

    Attributes:
        root, timestamp, snapshot: version numbers.
        timestamp_sha256: digest of the timestamp's bytes: what "unchanged" compares.
        issued: when the registry signed that timestamp (``x-mcps-issued``).
        expires: the earliest expiry of all metadata that was used.
    """

    root: int
    timestamp: int
    snapshot: int
    timestamp_sha256: Sha256
    issued: datetime
    expires: datetime

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read it; raises `FieldError`."""
        state = cls(
            root=fields.integer("root", least=1),
            timestamp=fields.integer("timestamp", least=1),
            snapshot=fields.integer("snapshot", least=1),
            timestamp_sha256=fields.digest("timestampSha256"),
            issued=fields.time("issued"),
            expires=fields.time("expires"),
        )
        fields.done()
        return state

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "root": self.root,
            "timestamp": self.timestamp,
            "snapshot": self.snapshot,
            "timestampSha256": self.timestamp_sha256,
            "issued": format_time(self.issued),
            "expires": format_time(self.expires),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchDecision:
    """One alias may be started, under `permissions` and `tools`, because of the rest.

    Attributes:
        ceilings: digest of the local policy that was applied.
        package: which of the statement's packages is run, by its position.
        store_path, manifest: the installed closure, and the digest of what `stat` said of it.
        runtime: path, version, digest and `stat` of the interpreter.
        argv: what is run inside the sandbox, in its paths.
        plan: digest of the sandbox plan (back end, its path and version, uid, seccomp).
    """

    alias: str
    team: str
    registry: str
    enrolment: Sha256
    metadata: MetadataState
    allow_list: Sha256
    entry_path: EntryPath
    entry: Sha256
    approvers: Sha256
    approved_by: tuple[str, ...]
    bundle: Sha256
    release: Sha256
    proof: Sha256
    signer: str
    revocations: Sha256
    reinstated: Sha256
    ceilings: Sha256
    tier: Tier
    entry_expires: datetime
    permissions: Permissions
    tools: Mapping[str, ToolRule]
    deny_tools: tuple[str, ...]
    package: int
    closure: Sha256
    store_path: str
    manifest: Sha256
    runtime: Mapping[str, str]
    argv: tuple[str, ...]
    plan: Sha256

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a kept decision.

        Raises:
            UntrustedDataError: it is not one of this format version.
        """
        fields = Fields(strict_json.loads_canonical(data), "decision")
        fields.version("version", 1)
        runtime = {str(k): str(v) for k, v in fields.mapping("runtime").items()}
        decision = cls(
            alias=fields.text("alias"),
            team=fields.text("team"),
            registry=fields.text("registry"),
            enrolment=fields.digest("enrolment"),
            metadata=MetadataState.from_fields(fields.object("metadata")),
            allow_list=fields.digest("allowList"),
            entry_path=EntryPath.parse(fields.text("entryPath")),
            entry=fields.digest("entry"),
            approvers=fields.digest("approvers"),
            approved_by=fields.texts("approvedBy"),
            bundle=fields.digest("bundle"),
            release=fields.digest("release"),
            proof=fields.digest("proof"),
            signer=fields.text("signer"),
            revocations=fields.digest("revocations"),
            reinstated=fields.digest("reinstated"),
            ceilings=fields.digest("ceilings"),
            tier=fields.choice("tier", TIERS),
            entry_expires=fields.time("entryExpires"),
            permissions=Permissions.from_fields(fields.object("permissions")),
            tools={name: ToolRule.from_fields(item) for name, item in fields.entries("tools")},
            deny_tools=fields.texts("denyTools"),
            package=fields.integer("package"),
            closure=fields.digest("closure"),
            store_path=fields.text("storePath"),
            manifest=fields.digest("manifest"),
            runtime=runtime,
            argv=fields.texts("argv"),
            plan=fields.digest("plan"),
        )
        fields.done()
        return decision

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "version": 1,
            "alias": self.alias,
            "team": self.team,
            "registry": self.registry,
            "enrolment": self.enrolment,
            "metadata": self.metadata.to_dict(),
            "allowList": self.allow_list,
            "entryPath": str(self.entry_path),
            "entry": self.entry,
            "approvers": self.approvers,
            "approvedBy": list(self.approved_by),
            "bundle": self.bundle,
            "release": self.release,
            "proof": self.proof,
            "signer": self.signer,
            "revocations": self.revocations,
            "reinstated": self.reinstated,
            "ceilings": self.ceilings,
            "tier": self.tier,
            "entryExpires": format_time(self.entry_expires),
            "permissions": self.permissions.to_dict(),
            "tools": {name: rule.to_dict() for name, rule in self.tools.items()},
            "denyTools": list(self.deny_tools),
            "package": self.package,
            "closure": self.closure,
            "storePath": self.store_path,
            "manifest": self.manifest,
            "runtime": dict(self.runtime),
            "argv": list(self.argv),
            "plan": self.plan,
        }

    def to_bytes(self) -> bytes:
        """The bytes that are kept."""
        return strict_json.dumps(self.to_dict())

    @property
    def digest(self) -> Sha256:
        """The decision's own name in the audit."""
        return sha256(self.to_bytes())
