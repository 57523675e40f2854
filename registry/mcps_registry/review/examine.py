"""Read and verify a submission on the approver's own machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mcps_registry.access import Access
from mcps_trust.bundle.verify import verify_bundle
from mcps_trust.errors import UntrustedDataError
from mcps_trust.model.closure import Closure, parse_closure
from mcps_trust.model.digest import Sha256
from mcps_trust.model.fields import Fields
from mcps_trust.model.identity import PublisherIdentity
from mcps_trust.model.proof import Proof
from mcps_trust.model.statement import ReleaseStatement

__all__ = ["Examined", "examine"]


class SubmissionMismatchError(UntrustedDataError):
    """The registry's queue says something else than the signed bytes do."""

    code = "submission-mismatch"


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """A submission whose signature the approver has verified himself."""

    item: dict[str, Any]
    statement: ReleaseStatement
    proof: Proof
    identity: PublisherIdentity
    closures: tuple[Closure, ...]


def examine(access: Access, release: str) -> Examined:
    """Fetch a submission and verify it again, on this machine.

    The trusted root is verified from the root metadata that the approver holds, the bundle
    from that; a registry that lies can only have it fail.

    Raises:
        NoRootError: the registry is at a URL, and no root metadata was given.
        NoSuchSubmissionError, UnavailableError: it is not there.
        SubmissionMismatchError: the queue's record differs from what was signed, or is about
            another release than was asked for.
        UntrustedDataError: bundle or locks are not valid.
    """
    item = access.submission(release)
    identity = PublisherIdentity.from_fields(Fields(item["identity"], "submission.identity"))
    root = access.target(f"trust/sigstore/{identity.instance}/trusted_root.json")
    if root is None:
        raise SubmissionMismatchError(f"the registry trusts no instance {identity.instance!r}")
    bundle = access.blob(Sha256(item["bundleSha256"]))
    proof, payload = verify_bundle(bundle, trusted_root=root, identity=identity)
    statement = ReleaseStatement.parse(payload)
    about = f"{statement.server.name}@{statement.server.version}"
    if not release or not (proof.release.startswith(release) or about == release):
        raise SubmissionMismatchError(
            "the registry shows another release than was asked for",
            expected=release,
            found=f"{about}, release {proof.release}",
        )
    if proof.release != item["release"] or len(bundle) != item["bundleSize"]:
        raise SubmissionMismatchError(
            "the queue names another release than was signed",
            expected=proof.release,
            found=item["release"],
        )
    closures = tuple(
        parse_closure(package.registry_type, access.blob(package.closure.sha256))
        for package in statement.packages
    )
    return Examined(
        item=item, statement=statement, proof=proof, identity=identity, closures=closures
    )
