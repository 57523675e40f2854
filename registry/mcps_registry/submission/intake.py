"""Take a submission in: verify it, bind its namespace to who signed, then keep it.

Nothing is kept before the bundle has been verified against the instance's trusted root and
the signer is one of those who may publish under the namespace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mcps_trust.bundle.parse import parse_bundle
from mcps_trust.errors import McpsError, NotPermittedError, UntrustedDataError
from mcps_trust.model.closure import Closure, parse_closure
from mcps_trust.model.identity import PublisherIdentity
from mcps_trust.model.proof import Proof
from mcps_trust.model.pylock import PythonClosure
from mcps_trust.model.statement import ReleaseStatement
from mcps_trust.model.submission import BadSubmissionError, Submission

__all__ = ["Accepted", "NamespaceError", "take_in"]


class NamespaceError(NotPermittedError):
    """Who signed may not publish under this namespace."""

    code = "namespace-not-allowed"
    advice = "whoever runs the registry must say: mcps-registry namespace allow"


class ClosureMissingError(UntrustedDataError):
    """A lock that the statement names was not sent along."""

    code = "closure-missing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """A submission that may enter the queue."""

    statement: ReleaseStatement
    proof: Proof


def take_in(
    submission: Submission,
    allowed: Mapping[str, Sequence[PublisherIdentity]],
    trusted_roots: Mapping[str, bytes],
) -> Accepted:
    """Verify a submission.

    Args:
        submission: as it was unpacked.
        allowed: namespace to the identities that may publish under it.
        trusted_roots: Sigstore instance to its ``trusted_root.json``.

    Raises:
        NamespaceError: nobody, or somebody else, may publish under the namespace.
        UntrustedDataError: bundle, statement or a lock is not valid.
    """
    claimed = ReleaseStatement.parse(parse_bundle(submission.bundle).payload)
    namespace = claimed.server.name.namespace
    identities = [i for i in allowed.get(namespace, ()) if i.instance in trusted_roots]
    if not identities:
        raise NamespaceError(f"nobody may publish under {namespace!r} yet", found=namespace)
    proof, payload = _verify(submission.bundle, identities, trusted_roots)
    statement = ReleaseStatement.parse(payload)
    closures = []
    for package in statement.packages:
        data = submission.closures.get(package.closure.sha256)
        if data is None:
            raise ClosureMissingError("a lock was not sent along", expected=package.closure.sha256)
        if len(data) != package.closure.size:
            raise BadSubmissionError("a lock has another size than the statement says")
        closures.append(parse_closure(package.registry_type, data))
    _refuse_unnamed(submission, statement, closures)
    return Accepted(statement=statement, proof=proof)


def _refuse_unnamed(
    submission: Submission, statement: ReleaseStatement, closures: Sequence[Closure]
) -> None:
    """Let pass what the signer has signed for: a bundle is public, and anybody can send it again."""
    locks = {package.closure.sha256 for package in statement.packages}
    wheels = {
        wheel.sha256
        for closure in closures
        if isinstance(closure, PythonClosure)
        for wheel in closure.files()
    }
    unnamed = (submission.closures.keys() - locks) | (submission.artifacts.keys() - wheels)
    if unnamed:
        raise BadSubmissionError(
            "it holds files that the release does not name", found=min(unnamed)
        )


def _verify(
    bundle: bytes, identities: Sequence[PublisherIdentity], trusted_roots: Mapping[str, bytes]
) -> tuple[Proof, bytes]:
    from mcps_trust.bundle.verify import (
        SignerNotTrustedError,
        verify_bundle,
    )

    refusal: McpsError | None = None
    for identity in identities:
        try:
            return verify_bundle(
                bundle, trusted_root=trusted_roots[identity.instance], identity=identity
            )
        except SignerNotTrustedError as error:
            refusal = NamespaceError(
                "who signed may not publish under this namespace",
                expected=" or ".join(i.subject for i in identities),
                found=error.found,
            )
        except UntrustedDataError as error:
            refusal = refusal or error
    if refusal is None:
        msg = "identities is never empty here"
        raise RuntimeError(msg)
    raise refusal
