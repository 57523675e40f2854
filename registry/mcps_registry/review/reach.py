"""Which of a registry's submissions a revocation reaches: somebody may have misspelt it."""

from __future__ import annotations

import time
from typing import Any

from mcps_registry.access import Access
from mcps_trust.bundle.parse import parse_bundle
from mcps_trust.clock import parse_time
from mcps_trust.errors import McpsError
from mcps_trust.model.closure import parse_closure
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.identity import SignerIdentity
from mcps_trust.model.revocation import Reinstatements, Revocation, Revocations
from mcps_trust.model.statement import ReleaseStatement
from mcps_trust.policy.revoked import ReleaseFacts, find_revocation, members

__all__ = ["reached"]

_MOST = 500  # submissions: on call, nobody waits for more
_SECONDS = 20.0


def reached(access: Access, revocation: Revocation) -> tuple[list[str], bool]:
    """``server@version`` of each submission that a revocation matches, and whether all were seen.

    For people, and after the revocation was published: the registry may be lying, and only
    what its own records and blobs say is looked at.

    Raises:
        McpsError: the registry does not answer.
    """
    submissions = access.submissions()
    found: list[str] = []
    all_seen = len(submissions) <= _MOST
    deadline = time.monotonic() + _SECONDS
    for item in reversed(submissions[-_MOST:]):
        if time.monotonic() > deadline:
            return found, False
        try:
            facts = _facts(access, item)
        except McpsError:
            all_seen = False
            continue
        if find_revocation(facts, Revocations(revocations=(revocation,)), Reinstatements(ids={})):
            found.append(f"{item['server']}@{item['version']}")
    return found, all_seen


def _facts(access: Access, item: dict[str, Any]) -> ReleaseFacts:
    bundle = Sha256(item["bundleSha256"])
    payload = parse_bundle(access.blob(bundle)).payload
    statement = ReleaseStatement.parse(payload)
    closures = {
        package.closure.sha256: parse_closure(
            package.registry_type, access.blob(package.closure.sha256)
        )
        for package in statement.packages
    }
    return ReleaseFacts(
        namespace=statement.server.name.namespace,
        digests=frozenset(map(str, (sha256(payload), bundle, *closures))),
        signer=SignerIdentity.from_fields(Fields(item["signer"], "submission.signer")),
        signed_at=parse_time(str(item["submitted"])),
        packages=frozenset(package.purl.plain for package in statement.packages),
        members=tuple(item for closure in closures.values() for item in members(closure)),
    )
