"""Who a Fulcio certificate names: subject alternative name, issuer and claims."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.asn1 import decode_der
from cryptography.x509.oid import ObjectIdentifier

from mcps_trust.errors import UntrustedDataError
from mcps_trust.model.identity import CLAIMS, SignerIdentity

__all__ = ["BadCertificateError", "signer_of"]

_ISSUER_V2 = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")


class BadCertificateError(UntrustedDataError):
    """The signing certificate does not say who signed."""

    code = "bad-certificate"


def signer_of(certificate: x509.Certificate, instance: str) -> SignerIdentity:
    """Read the identity that the instance's authority put into a certificate.

    Args:
        certificate: a Fulcio leaf certificate. Its chain is the caller's business.
        instance: the Sigstore instance whose authority issued it.

    Raises:
        BadCertificateError: it has not exactly one subject, or no issuer.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        issuer = _text(certificate, _ISSUER_V2)
    except (x509.ExtensionNotFound, ValueError) as error:
        raise BadCertificateError(
            "the certificate has no subject or no issuer", found=str(error)
        ) from error
    subjects = [
        name.value
        for name in names
        if isinstance(name, x509.RFC822Name | x509.UniformResourceIdentifier)
    ]
    if len(subjects) != 1 or len(list(names)) != 1 or issuer is None:
        raise BadCertificateError(
            "the certificate does not name one subject and one issuer",
            expected="one email address or URI",
            found=repr(subjects)[:200],
        )
    claims = {name: _text(certificate, ObjectIdentifier(oid)) for name, oid in CLAIMS.items()}
    return SignerIdentity(
        instance=instance,
        issuer=issuer,
        subject=subjects[0],
        claims={name: value for name, value in claims.items() if value is not None},
    )


def _text(certificate: x509.Certificate, oid: ObjectIdentifier) -> str | None:
    try:
        extension = certificate.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return None
    if not isinstance(extension, x509.UnrecognizedExtension):
        raise BadCertificateError("a Fulcio extension is of another kind", found=str(oid))
    return decode_der(str, extension.value)
