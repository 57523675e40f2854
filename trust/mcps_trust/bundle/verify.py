"""Verify a bundle: one function, from bytes to a proof.

The steps are those of ``docs/verification.md`` §7. Cryptography is sigstore-python's; what
is added is what it leaves to its caller: the identity's own instance, the payload type,
the exact predicate type, and a strict reading of the bundle first.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import cryptography.x509
from sigstore.errors import Error as SigstoreError
from sigstore.errors import VerificationError
from sigstore.models import Bundle, ClientTrustConfig, TrustedRoot
from sigstore.verify import Verifier

from mcps_trust.bundle.certificate import BadCertificateError, signer_of
from mcps_trust.bundle.parse import BundleFacts, parse_bundle
from mcps_trust.errors import NotPermittedError, UntrustedDataError
from mcps_trust.model import strict_json
from mcps_trust.model.digest import sha256
from mcps_trust.model.identity import PublisherIdentity, SignerIdentity, matches
from mcps_trust.model.proof import Proof
from mcps_trust.model.statement import (
    IN_TOTO_PAYLOAD_TYPE,
    PREDICATE_TYPE,
    ReleaseStatement,
    release_digest,
)
from mcps_trust.software import software_versions

__all__ = [
    "BadTrustedRootError",
    "SignatureInvalidError",
    "SignerNotTrustedError",
    "WrongPredicateError",
    "verify_bundle",
]

_TRUSTED_ROOT_LIMIT = 1024 * 1024  # bytes


class SignatureInvalidError(UntrustedDataError):
    """The bundle does not verify against the instance's trusted root."""

    code = "signature-invalid"


class SignerNotTrustedError(NotPermittedError):
    """The bundle is valid, and was signed by somebody else than the entry names."""

    code = "signer-not-trusted"


class WrongPredicateError(UntrustedDataError):
    """What was signed is not a release statement."""

    code = "wrong-predicate"


class BadTrustedRootError(UntrustedDataError):
    """The trusted root of the instance cannot be read."""

    code = "bad-trusted-root"


def verify_bundle(
    data: bytes, *, trusted_root: bytes, identity: PublisherIdentity
) -> tuple[Proof, bytes]:
    """Verify that `identity` signed a release statement with its own Sigstore instance.

    Args:
        data: the bundle.
        trusted_root: ``trusted_root.json`` of `identity.instance`, and of no other.
        identity: who must have signed.

    Returns:
        The proof, and the DSSE payload that it is about.

    Raises:
        SignatureInvalidError: certificate, log entry, time or signature do not verify.
        SignerNotTrustedError: somebody else signed.
        WrongPredicateError: something else than a release was signed.
        BadTrustedRootError: the trusted root cannot be read.
        UntrustedDataError: the bundle or the statement is malformed.
    """
    # 7.1 strict reading, before any other code sees the bytes
    facts = parse_bundle(data)
    # 7.2 the trusted root of this identity's instance alone
    root, log_ids = _trusted_root(trusted_root)
    if facts.log_key_id not in log_ids:
        raise SignatureInvalidError(
            "the bundle's log is not one of this instance's",
            found=base64.b64encode(facts.log_key_id).decode(),
        )
    # 7.3 certificate chain and SCT, time, log inclusion, signature; 7.4 the identity
    policy = _IdentityPolicy(identity)
    try:
        bundle = Bundle.from_json(data)
        payload_type, payload = Verifier(trusted_root=root).verify_dsse(bundle, policy)
    except (SigstoreError, ValueError) as error:
        if policy.refusal is not None:
            raise policy.refusal from error
        raise SignatureInvalidError(
            "the bundle does not verify",
            found=str(error)[:500],
            expected=f"signed with instance {identity.instance!r}",
        ) from error
    if policy.signer is None:  # pragma: no cover - the library's own promise
        msg = "the verifier accepted a bundle without asking the identity policy"
        raise RuntimeError(msg)
    # 7.5 payload type and exact predicate type
    if payload_type != IN_TOTO_PAYLOAD_TYPE or payload != facts.payload:  # pragma: no cover - 7.1
        raise WrongPredicateError("the payload is not an in-toto Statement", found=payload_type)
    statement = strict_json.loads(payload)
    found = statement.get("predicateType") if isinstance(statement, dict) else None
    if found != PREDICATE_TYPE:
        raise WrongPredicateError(
            "what was signed is not a release statement",
            expected=PREDICATE_TYPE,
            found=repr(found)[:200],
        )
    # 7.6 the statement itself
    release = ReleaseStatement.parse(payload)
    proof = Proof(
        bundle=sha256(data),
        release=release_digest(payload),
        trusted_root=sha256(trusted_root),
        required=identity,
        signer=policy.signer,
        predicate_type=PREDICATE_TYPE,
        closures=tuple(package.closure.sha256 for package in release.packages),
        signed_at=_signed_at(bundle, facts),
        log_index=facts.log_index,
        software=software_versions(),
    )
    return proof, payload


class _IdentityPolicy:
    """The identity as sigstore-python asks for it; remembers what it saw."""

    def __init__(self, required: PublisherIdentity) -> None:
        self._required = required
        self.signer: SignerIdentity | None = None
        self.refusal: NotPermittedError | UntrustedDataError | None = None

    def verify(self, cert: cryptography.x509.Certificate) -> None:
        """Called once the certificate's chain has been verified."""
        try:
            signer = signer_of(cert, self._required.instance)
        except BadCertificateError as error:
            self.refusal = error
            raise VerificationError(str(error)) from error
        wrong = matches(self._required, signer)
        if wrong is not None:
            self.refusal = SignerNotTrustedError(
                f"the signer is not the one that was approved: {wrong} differs",
                expected=f"{self._required.subject} (by {self._required.issuer}, "
                f"instance {self._required.instance})",
                found=str(signer),
                remedy="do not run it; if the publisher moved, a new revision must be approved",
            )
            raise VerificationError(self.refusal.what)
        self.signer = signer


def _trusted_root(data: bytes) -> tuple[TrustedRoot, frozenset[bytes]]:
    value = strict_json.loads(data, limit=_TRUSTED_ROOT_LIMIT)
    # The public way to a TrustedRoot from memory is a client configuration around it.
    configuration = {
        "mediaType": ClientTrustConfig.ClientTrustConfigType.CONFIG_0_1.value,
        "trustedRoot": value,
        "signingConfig": {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [], "oidcUrls": [], "rekorTlogUrls": [], "tsaUrls": [],
            "rekorTlogConfig": {"selector": "ANY"}, "tsaConfig": {"selector": "ANY"},
        },
    }  # fmt: skip
    try:
        root = ClientTrustConfig.from_json(json.dumps(configuration)).trusted_root
        log_ids = frozenset(base64.b64decode(log["logId"]["keyId"]) for log in value["tlogs"])
    except (SigstoreError, ValueError, KeyError, TypeError) as error:
        raise BadTrustedRootError(
            "the instance's trusted root cannot be read", found=str(error)[:300]
        ) from error
    return root, log_ids


def _signed_at(bundle: Bundle, facts: BundleFacts) -> datetime:
    """The verified time of signing.

    A Rekor v1 promise covers the integrated time and was verified with the entry. Without
    one, the verifier's threshold of one verified time rests on the only timestamp there is.
    """
    if facts.has_promise and facts.integrated_time:  # pragma: no cover - the public instance's
        return datetime.fromtimestamp(facts.integrated_time, UTC)
    data = bundle.verification_material.timestamp_verification_data
    if data is None or len(data.rfc3161_timestamps) != 1:  # pragma: no cover - 7.3 refuses it
        raise SignatureInvalidError("the bundle has no verified time of signing")
    return data.rfc3161_timestamps[0].tst_info.gen_time.astimezone(UTC)
