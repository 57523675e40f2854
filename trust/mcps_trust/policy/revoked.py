"""Whether something that a launch rests on was taken back.

Matched on what was stored when the release was verified, so that a revocation of a signer
or of one library also reaches servers that were installed long ago.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from mcps_trust.errors import NotPermittedError
from mcps_trust.model.closure import Closure
from mcps_trust.model.identity import PublisherIdentity, SignerIdentity, matches
from mcps_trust.model.purl import Purl
from mcps_trust.model.pylock import PythonClosure
from mcps_trust.model.revocation import Reinstatements, Revocation, Revocations

__all__ = ["Member", "ReleaseFacts", "RevokedError", "find_revocation", "members",
           "refuse_revoked"]  # fmt: skip


class RevokedError(NotPermittedError):
    """The release, or something it is made of, was revoked."""

    code = "revoked"
    advice = "do not run it; ask whoever runs the registry which version to use instead"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One file of a closure: its package and its digest as the lock spells it."""

    purl: str
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseFacts:
    """All by which a release can be revoked.

    Attributes:
        namespace: of the server.
        digests: of release, bundle, entry and closures.
        signer: who signed, and `signed_at` when.
        packages: package URLs of the release's own packages, without platforms.
        members: every file of the closure, for every platform.
    """

    namespace: str
    digests: frozenset[str]
    signer: SignerIdentity
    signed_at: datetime
    packages: frozenset[str]
    members: tuple[Member, ...]


def members(closure: Closure) -> tuple[Member, ...]:
    """Every file of a lock as revocations match it."""
    if isinstance(closure, PythonClosure):
        return tuple(Member(purl=str(w.purl), digest=w.sha256) for w in closure.files())
    return tuple(Member(purl=str(t.purl), digest=t.integrity) for t in closure.files())


def find_revocation(
    facts: ReleaseFacts, revocations: Revocations, reinstated: Reinstatements
) -> Revocation | None:
    """The first revocation in force that matches, in the list's own order."""
    purls = facts.packages | {str(Purl.parse(member.purl).plain) for member in facts.members}
    artifacts = {member.digest for member in facts.members}
    for revocation in revocations.revocations:
        if revocation.id in reinstated.ids:
            continue
        if _matches(revocation, facts, purls, artifacts):
            return revocation
    return None


def refuse_revoked(
    facts: ReleaseFacts, revocations: Revocations, reinstated: Reinstatements
) -> None:
    """Let pass what is not revoked.

    Raises:
        RevokedError: it is.
    """
    revocation = find_revocation(facts, revocations, reinstated)
    if revocation is not None:
        raise RevokedError(
            f"the release is revoked: {revocation.reason}",
            found=f"revocation {revocation.id} of {revocation.kind} {revocation.match}",
        )


def _matches(
    revocation: Revocation, facts: ReleaseFacts, purls: Iterable[str], artifacts: Iterable[str]
) -> bool:
    match revocation.kind:
        case "digest":
            return revocation.match in facts.digests
        case "artifact":
            return revocation.match in artifacts
        case "publisher":
            return revocation.match.casefold() == facts.namespace.casefold()
        case "package":
            return revocation.match in purls
        case "signer":
            return _signer_matches(revocation, facts)
        case _:
            assert_never(revocation.kind)


def _signer_matches(revocation: Revocation, facts: ReleaseFacts) -> bool:
    issuer, _, subject = revocation.match.partition(" ")
    pattern = PublisherIdentity(instance=facts.signer.instance, issuer=issuer, subject=subject)
    return facts.signed_at >= revocation.since and matches(pattern, facts.signer) is None
