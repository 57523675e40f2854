"""Does what runs still stand, under what the registry says now?

Asked about the decision that a session was started under, and before anything that the
registry could make unavailable is looked at: whatever has become of the alias meanwhile, a
revocation or a change of the allow-list ends what runs (``docs/verification.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mcps_launcher.configuration import Configuration
from mcps_launcher.enrolment import Enrolment
from mcps_launcher.evidence import Evidence
from mcps_launcher.kept import CLOCK_SLACK, Kept
from mcps_launcher.places import Places
from mcps_launcher.warm import check_freeze
from mcps_trust.errors import NotPermittedError
from mcps_trust.http import Http
from mcps_trust.model.allow_list import AllowList
from mcps_trust.model.closure import Closure, parse_closure
from mcps_trust.model.decision import LaunchDecision
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.names import allow_list_path, parse_team
from mcps_trust.model.proof import Proof
from mcps_trust.model.revocation import Reinstatements, Revocations
from mcps_trust.model.statement import ReleaseStatement
from mcps_trust.policy.chain import find_allowed
from mcps_trust.policy.revoked import ReleaseFacts, members, refuse_revoked
from mcps_trust.tuf.client import Registry, RegistryUnavailableError, check_times, open_registry

__all__ = ["EvidenceLostError", "TermsChangedError", "check_standing", "release_facts"]


class TermsChangedError(NotPermittedError):
    """What a session was started under is not what the registry or this host says now."""

    code = "terms-changed"
    advice = "start the server again: it gets what is allowed now"


class EvidenceLostError(NotPermittedError):
    """What revocations are held against is no longer kept."""

    code = "evidence-lost"
    advice = "start the server again: the chain is proved anew"


def check_standing(
    running: LaunchDecision, places: Places, enrolment: Enrolment, configuration: Configuration,
    now: datetime,
) -> None:  # fmt: skip
    """Let pass a decision that the registry's newest metadata still bears.

    Raises:
        TermsChangedError: the allow-list names another entry, the host another registry, or
            the approval has ended.
        AliasUnknownError: the allow-list no longer has the alias.
        RevokedError: the release was revoked.
        FreezeSuspectedError: the registry's last word is too old.
        EvidenceLostError: it cannot be held against the revocations.
        RegistryUnavailableError: it does not answer, and what is known refuses nothing.
    """
    if running.enrolment != enrolment.digest or running.ceilings != configuration.ceilings:
        raise TermsChangedError("this host was configured anew")
    if now >= running.entry_expires:
        raise TermsChangedError("the approval of the entry has ended")
    kept, evidence = Kept(places), Evidence(places)
    kept.check_clock(now)
    silent: RegistryUnavailableError | None = None
    directory, url, root = places.registry, enrolment.registry, enrolment.root
    try:
        with (
            Http(configuration.http) as http,
            open_registry(directory, url, root, http) as registry,
        ):
            said = _read(registry, running, evidence, now)
        kept.saw_time(said.issued)
    except RegistryUnavailableError as error:
        # What this host knows already holds without it.
        silent = error
        with open_registry(directory, url, root, None) as registry:
            said = _read(registry, running, evidence, now)
    facts = _facts(running, places, kept, evidence)
    refuse_revoked(facts, said.revocations, said.reinstated)
    allowed = find_allowed(said.allow_list, running.alias)
    if (allowed.entry, allowed.sha256) != (running.entry_path, running.entry):
        raise TermsChangedError(
            f"the team allows another entry as {running.alias}",
            expected=str(running.entry_path),
            found=str(allowed.entry),
        )
    if silent is not None:
        raise silent
    check_freeze(said.issued, running.tier, now)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Said:
    """What the registry says, or said last."""

    allow_list: AllowList
    revocations: Revocations
    reinstated: Reinstatements
    issued: datetime


def _read(registry: Registry, running: LaunchDecision, evidence: Evidence, now: datetime) -> _Said:
    registry.refresh()
    said = _Said(
        allow_list=AllowList.parse(registry.target(allow_list_path(parse_team(running.team)))),
        revocations=evidence.add_revocations(
            Revocations.parse(registry.target("revoked/list.json"))
        ),
        reinstated=Reinstatements.parse(registry.target("reinstated/list.json")),
        issued=registry.state().issued,
    )
    check_times(registry.state(), now, CLOCK_SLACK)
    return said


def _facts(running: LaunchDecision, places: Places, kept: Kept, evidence: Evidence) -> ReleaseFacts:
    proof, payload = evidence.proof(running.bundle), kept.payload(running.release)
    try:
        lock = (places.blobs / running.closure).read_bytes()
    except OSError:
        lock = b""
    if proof is None or payload is None or sha256(lock) != running.closure:
        raise EvidenceLostError("what the session was started from is no longer kept")
    statement = ReleaseStatement.parse(payload)
    package = statement.packages[running.package]
    return release_facts(
        running.entry, proof, statement, parse_closure(package.registry_type, lock)
    )


def release_facts(
    entry: Sha256, proof: Proof, statement: ReleaseStatement, closure: Closure
) -> ReleaseFacts:
    """All by which a release that was proved can be revoked (pure)."""
    return ReleaseFacts(
        namespace=statement.server.name.namespace,
        digests=frozenset(map(str, {proof.release, proof.bundle, entry, *proof.closures})),
        signer=proof.signer,
        signed_at=proof.signed_at,
        packages=frozenset(package.purl.plain for package in statement.packages),
        members=members(closure),
    )
