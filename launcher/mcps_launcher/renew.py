"""Renew a kept decision: the registry signed new metadata, and nothing that it rests on changed.

A decision is a function of what was read. Where python-tuf verifies the new metadata and every
target that the decision was made from has the digest that it had, the decision is the same
one, under newer metadata. Anything else is left to `resolve`, which also finds the words.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from mcps_launcher.configuration import Configuration
from mcps_launcher.enrolment import Enrolment
from mcps_launcher.evidence import Evidence
from mcps_launcher.kept import CLOCK_SLACK, Kept
from mcps_launcher.places import Places
from mcps_launcher.sandbox.process import BackEnd
from mcps_launcher.start import held_plan
from mcps_launcher.warm import FREEZE_AFTER
from mcps_trust.errors import McpsError
from mcps_trust.http import Http
from mcps_trust.model.decision import LaunchDecision
from mcps_trust.model.digest import Sha256, sha256
from mcps_trust.model.names import allow_list_path, parse_team
from mcps_trust.model.proof import Proof
from mcps_trust.model.revocation import Revocations
from mcps_trust.software import software_versions
from mcps_trust.tuf.client import Registry, check_times, open_registry

__all__ = ["renew"]


def renew(
    alias: str, places: Places, enrolment: Enrolment, configuration: Configuration,
    back_end: BackEnd, now: datetime,
) -> LaunchDecision | None:  # fmt: skip
    """The kept decision about `alias` under the registry's present metadata, kept again.

    None where it cannot be renewed, whatever the reason.
    """
    kept, evidence = Kept(places), Evidence(places)
    decision = kept.decision(alias)
    if decision is None or decision.enrolment != enrolment.digest or now >= decision.entry_expires:
        return None
    proof = evidence.proof(decision.bundle)
    payload = kept.payload(decision.release)
    if proof is None or payload is None or not _still_proved(proof, decision):
        return None
    try:
        if decision.ceilings != configuration.ceilings or not held_plan(decision, back_end, {}):
            return None
        kept.check_clock(now)
        with (
            Http(configuration.http) as http,
            open_registry(places.registry, enrolment.registry, enrolment.root, http) as registry,
        ):
            registry.refresh()
            if not _unchanged(registry, decision, proof, evidence):
                return None
            renewed = replace(decision, metadata=registry.state())
            check_times(renewed.metadata, now, CLOCK_SLACK)
    except McpsError:
        return None
    if now - renewed.metadata.issued > FREEZE_AFTER:
        return None
    kept.saw_time(renewed.metadata.issued)
    kept.keep_decision(renewed, payload)
    kept.was_asked(renewed.metadata.timestamp_sha256, now)
    return renewed


def _still_proved(proof: Proof, decision: LaunchDecision) -> bool:
    return proof.digest == decision.proof and proof.software == software_versions()


def _unchanged(
    registry: Registry, decision: LaunchDecision, proof: Proof, evidence: Evidence
) -> bool:
    """Whether every target that the decision was made from still has its digest."""

    def digest(path: str) -> Sha256:
        return sha256(registry.target(path))

    revocations = evidence.add_revocations(Revocations.parse(registry.target("revoked/list.json")))
    instance = proof.required.instance
    return (
        digest(allow_list_path(parse_team(decision.team))) == decision.allow_list
        and digest(str(decision.entry_path)) == decision.entry
        and digest("trust/approvers.json") == decision.approvers
        and digest(f"trust/sigstore/{instance}/trusted_root.json") == proof.trusted_root
        and digest("reinstated/list.json") == decision.reinstated
        and sha256(revocations.to_bytes()) == decision.revocations
    )
