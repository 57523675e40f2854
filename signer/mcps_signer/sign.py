"""Sign a release with Sigstore, and verify what came back before anybody else sees it.

A door. The only module outside `mcps_trust.bundle` that knows sigstore-python, which does
not itself check the log entry and the timestamp that it is given.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sigstore.dsse import Statement
from sigstore.errors import Error as SigstoreError
from sigstore.models import ClientTrustConfig
from sigstore.oidc import ExpiredIdentity, IdentityError, IdentityToken, detect_credential
from sigstore.sign import SigningContext

from mcps_trust.bundle.certificate import signer_of
from mcps_trust.bundle.verify import verify_bundle
from mcps_trust.errors import ConfigurationError, NotPermittedError, UnavailableError
from mcps_trust.model import strict_json
from mcps_trust.model.identity import PublisherIdentity
from mcps_trust.model.proof import Proof
from mcps_trust.model.statement import ReleaseStatement

__all__ = ["Instance", "NoIdentityError", "SigningFailedError", "ambient_token", "sign_release"]


class NoIdentityError(ConfigurationError):
    """There is nobody to sign as."""

    code = "no-identity"
    advice = "run in CI with an identity token, or give --identity-token FILE"


class SigningFailedError(UnavailableError):
    """The Sigstore instance did not sign."""

    code = "signing-failed"


class SelfVerificationError(NotPermittedError):
    """What was signed does not verify; it was thrown away."""

    code = "self-verification-failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """A Sigstore instance as a client knows it."""

    name: str
    trusted_root: bytes
    signing_config: bytes


def public_instance() -> Instance:
    """The public good instance, by its own TUF repository."""
    try:
        config = ClientTrustConfig.production()
        inner = config._inner  # noqa: SLF001 - the library has no way to write one out
        return Instance(
            name="public",
            trusted_root=inner.trusted_root.to_json().encode(),
            signing_config=inner.signing_config.to_json().encode(),
        )
    except (SigstoreError, OSError) as error:
        raise SigningFailedError(
            "the public Sigstore instance cannot be reached", found=str(error)
        ) from error


def ambient_token(file: Path | None) -> str:
    """The identity token of a file, or of the CI job that this runs in.

    Raises:
        NoIdentityError: there is none.
    """
    if file is not None:
        try:
            return file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NoIdentityError(
                f"cannot read the identity token {file}", found=str(error)
            ) from error
    try:
        token = detect_credential()
    except IdentityError as error:
        raise NoIdentityError(
            "the identity of this CI job cannot be had", found=str(error)
        ) from error
    if token is None:
        raise NoIdentityError("there is nobody to sign as")
    return token


def sign_release(
    statement: ReleaseStatement, instance: Instance, token: str
) -> tuple[bytes, Proof]:
    """Sign and self-verify; gives the bundle and the proof about it.

    Raises:
        NoIdentityError: the token is not one, or has expired.
        SigningFailedError: a service of the instance does not answer, or refuses.
        SelfVerificationError: what came back does not verify.
    """
    configuration = {
        "mediaType": ClientTrustConfig.ClientTrustConfigType.CONFIG_0_1.value,
        "trustedRoot": strict_json.loads(instance.trusted_root),
        "signingConfig": strict_json.loads(instance.signing_config),
    }
    payload = statement.to_payload()
    try:
        config = ClientTrustConfig.from_json(json.dumps(configuration))
        identity = IdentityToken(token)
        with SigningContext.from_trust_config(config).signer(identity) as signer:
            bundle = signer.sign_dsse(Statement(payload))
    except (IdentityError, ExpiredIdentity) as error:
        raise NoIdentityError("the identity token is not usable", found=str(error)) from error
    except Exception as error:  # sigstore-python raises what its HTTP library raises
        raise SigningFailedError(
            f"instance {instance.name!r} did not sign", found=_reason(error)
        ) from error
    data = bundle.to_json().encode()
    signer_identity = signer_of(bundle.signing_certificate, instance.name)
    required = PublisherIdentity(
        instance=instance.name, issuer=signer_identity.issuer, subject=signer_identity.subject
    )
    try:
        proof, verified = verify_bundle(data, trusted_root=instance.trusted_root, identity=required)
    except Exception as error:
        raise SelfVerificationError(
            "what the instance returned does not verify", found=str(error)
        ) from error
    if verified != payload:
        raise SelfVerificationError("the instance signed something else")
    return data, proof


def _reason(error: Exception) -> str:
    """What the service said: sigstore-python loses the answer's text on the way."""
    cause: BaseException | None = error
    while cause is not None:
        text = getattr(getattr(cause, "response", None), "text", "")
        if text:
            return str(text)[:500]
        cause = cause.__cause__
    return f"{type(error).__name__}: {error}"
