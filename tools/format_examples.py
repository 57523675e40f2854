"""An example of each format of ours, made by the code that writes it; for ``docs/formats``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mcps_registry.ceremony.holders import signer
from mcps_registry.review.draft import draft_entry
from mcps_trust.audit.record import KeyedDigest, encode, line_digest, members, shape
from mcps_trust.bundle.approvals import sign_approval
from mcps_trust.model.allow_list import Allowed, AllowList, Tightening
from mcps_trust.model.approval import ApprovalStatement, Approver, Approvers, envelope_payload
from mcps_trust.model.digest import sha256
from mcps_trust.model.entry import Artifacts, Entry
from mcps_trust.model.identity import PublisherIdentity
from mcps_trust.model.names import parse_alias, parse_team
from mcps_trust.model.permissions import Permissions
from mcps_trust.model.revocation import Reinstatements, Revocation, Revocations
from mcps_trust.model.server_json import ServerJson
from mcps_trust.model.statement import Closure, ReleasePackage, ReleaseStatement, Run
from mcps_trust.model.tools import Captured, ToolSurface
from mcps_trust.model.vetting import ToolRule

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
TEAM = parse_team("research")
_LOCK = b"# a pylock.toml\n"
# Nobody's key: its private half stands here.
_APPROVER = signer(Ed25519PrivateKey.from_private_bytes(bytes(32)))


def examples() -> dict[str, Any]:
    """The examples, by the name of their schema."""
    statement, entry = _statement(), _entry()
    allowed = Allowed(entry=entry.path, sha256=sha256(entry.to_bytes()), tighten=Tightening())
    allow_list = AllowList(
        team=TEAM, platforms=("linux/x86_64",), aliases={parse_alias("clock"): allowed}
    )
    revocation = Revocation(
        id="2026-0007", kind="package", match="pkg:pypi/leaky@1.2.3", reason="leaks its input",
        since=datetime(1970, 1, 1, tzinfo=UTC), time=NOW,
    )  # fmt: skip
    arguments = {"zone": "Europe/Paris"}
    record = encode(
        seq=2, prev=line_digest(b"the record before it"), time=NOW,
        session="20261121T093000-5f2c1f0e9a77", event="call",
        body={
            "tool": "now", "class": "read", "id": 7, "era": "legacy", "approval": "none",
            "decision": "allowed", "reason": "granted", "parameters": shape(arguments),
            "parametersDigest": KeyedDigest(bytes(32)).of(json.dumps(arguments).encode()),
        },
        common=members({
            "principal": {"user": "ada", "agent": None, "device": "laptop", "proved": "user"},
            "server": {
                "name": "org.example/clock", "version": "1.0.0", "closure": sha256(_LOCK),
                "signer": entry.identity.subject, "entry": sha256(entry.to_bytes()),
                "approvers": ["alice"],
                "metadata": {"root": 1, "timestamp": 412, "snapshot": 37},
                "runtime": {"path": "/usr/bin/python3.11", "version": "3.11.2",
                            "sha256": sha256(b"an interpreter")},
            },
        }),
    )  # fmt: skip
    index = json.loads((ROOT / "index.json").read_bytes())
    return {
        "release-statement": json.loads(statement.to_payload()),
        "entry": json.loads(entry.to_bytes()),
        "approval": json.loads(envelope_payload(entry.approvals[0])[0]),
        "approvers": json.loads(_approvers().to_bytes()),
        "allow-list": json.loads(allow_list.to_bytes()),
        "revocations": json.loads(Revocations(revocations=(revocation,)).to_bytes()),
        "reinstatements": json.loads(
            Reinstatements(ids={"2026-0003": "the report was wrong"}).to_bytes()
        ),
        "audit-record": json.loads(record),
        "index": {**index, "servers": index["servers"][:1]},
    }


def _statement() -> ReleaseStatement:
    tool = {"name": "now", "description": "What time it is", "inputSchema": {"type": "object"},
            "annotations": {"readOnlyHint": True}}  # fmt: skip
    package = ReleasePackage(
        registry_type="pypi", identifier="example-clock", version="1.0.0", platforms=(),
        closure=Closure(media_type="application/vnd.mcps.closure.pylock.v1+toml",
                        sha256=sha256(_LOCK), size=len(_LOCK)),
        run=Run(kind="entryPoint", target="example-clock"), runtime="python",
        runtime_requirement=">=3.11",
    )  # fmt: skip
    return ReleaseStatement(
        origin="publisher", upstream=None,
        server=ServerJson.parse({"name": "org.example/clock", "version": "1.0.0",
                                 "description": "Tells the time"}),
        packages=(package,), permissions=Permissions(),
        tools=ToolSurface(
            protocol_versions=("2025-11-25",),
            items=(Captured(definition=tool, eras=("legacy",), capabilities=("none", "all")),),
        ),
    )  # fmt: skip


def _entry() -> Entry:
    statement = _statement()
    entry = draft_entry(
        statement, release=sha256(statement.to_payload()), bundle=(sha256(b"a bundle"), 8000),
        identity=PublisherIdentity(
            instance="public", issuer="https://token.actions.githubusercontent.com",
            subject="https://github.com/example/clock/.github/workflows/release.yml@refs/tags/*",
        ),
        revision=1, artifacts=Artifacts(index="pypi", matched=1, unmatched=()),
        allow_unindexed=frozenset(), grant=Permissions(),
        tools={"now": ToolRule(tool_class="read", approval="none")}, withheld=frozenset(),
        tier="normal", notes="needs no network", now=NOW,
    )  # fmt: skip
    approval = ApprovalStatement(
        path=entry.path, digest=entry.approved_digest, time=NOW, comment="looked at the diff"
    )
    return entry.with_approvals((sign_approval(approval, _APPROVER),))


def _approvers() -> Approvers:
    key = _APPROVER.public_key
    approver = Approver(name="alice", key_id=key.keyid, key=key.to_dict())
    return Approvers(threshold=1, approvers=(approver,))
