"""The certificate authority: short-lived certificates for identities (Fulcio's profile).

A leaf names one subject (email or URI), the issuer of the token and its claims, and
carries one signed certificate timestamp (RFC 6962 §3.2) of the instance's own CT key.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.asn1 import encode_der
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from mcps_trust.model.identity import CLAIMS

__all__ = ["Authority", "Subject", "self_signed", "timestamping_certificate"]

LEAF_LIFETIME = timedelta(minutes=10)
CA_LIFETIME = timedelta(days=3650)
_BACKDATE = timedelta(minutes=5)
_FULCIO = "1.3.6.1.4.1.57264.1."
_SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """Who a token named, as it goes into a certificate."""

    kind: str  # "email" or "uri"
    value: str
    issuer: str
    claims: Mapping[str, str]


class Authority:
    """Issues certificates with a CA key and a CT key."""

    def __init__(
        self,
        certificate: x509.Certificate,
        key: ec.EllipticCurvePrivateKey,
        ct_key: ec.EllipticCurvePrivateKey,
    ) -> None:
        self.certificate = certificate
        self._key = key
        self._ct_key = ct_key

    def issue(
        self, public_key: ec.EllipticCurvePublicKey, subject: Subject, now: datetime
    ) -> x509.Certificate:
        """A certificate for ten minutes, counted from now."""
        serial = x509.random_serial_number()
        builder = self._leaf(public_key, subject, now, serial)
        unlogged = builder.sign(self._key, hashes.SHA256())
        sct = self._timestamp(unlogged.tbs_certificate_bytes, now)
        listed = len(sct).to_bytes(2) + sct
        octets = encode_der(len(listed).to_bytes(2) + listed)
        return builder.add_extension(
            x509.UnrecognizedExtension(_SCT_LIST, octets), critical=False
        ).sign(self._key, hashes.SHA256())

    def _leaf(
        self,
        public_key: ec.EllipticCurvePublicKey,
        subject: Subject,
        now: datetime,
        serial: int,
    ) -> x509.CertificateBuilder:
        name = (
            x509.RFC822Name(subject.value)
            if subject.kind == "email"
            else x509.UniformResourceIdentifier(subject.value)
        )
        start = now.replace(microsecond=0)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(serial)
            .not_valid_before(start)
            .not_valid_after(start + LEAF_LIFETIME)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
        )
        extensions = {
            _FULCIO + "1": subject.issuer.encode(),
            _FULCIO + "8": encode_der(subject.issuer),
        }
        for claim, value in subject.claims.items():
            extensions[CLAIMS[claim]] = encode_der(value)
        for oid, octets in extensions.items():
            builder = builder.add_extension(
                x509.UnrecognizedExtension(ObjectIdentifier(oid), octets), critical=False
            )
        return builder

    def _timestamp(self, tbs: bytes, now: datetime) -> bytes:
        """A serialized SCT over a precertificate's TBS (RFC 6962 §3.2)."""
        moment = int(now.timestamp() * 1000).to_bytes(8)
        ca_key = hashlib.sha256(_spki(self._key.public_key())).digest()
        signed = b"\x00\x00" + moment + b"\x00\x01" + ca_key + len(tbs).to_bytes(3) + tbs + b"\0\0"
        signature = self._ct_key.sign(signed, ec.ECDSA(hashes.SHA256()))
        ct_id = hashlib.sha256(_spki(self._ct_key.public_key())).digest()
        algorithm = b"\x04\x03"  # sha256, ecdsa (RFC 5246 §7.4.1.4.1)
        return (b"\x00" + ct_id + moment + b"\0\0" + algorithm
                + len(signature).to_bytes(2) + signature)  # fmt: skip


def self_signed(
    key: ec.EllipticCurvePrivateKey, name: str, now: datetime, *, path_length: int = 0
) -> x509.Certificate:
    """A CA certificate, ten years, named `name`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(secrets.randbits(150))
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def timestamping_certificate(
    key: ec.EllipticCurvePrivateKey,
    ca_key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    now: datetime,
) -> x509.Certificate:
    """The timestamp authority's own certificate (RFC 3161 §2.3)."""
    name = ca.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name!s} signer")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(secrets.randbits(150))
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )


def utc_now() -> datetime:
    """Now, for the services of this room, whose very product is the present time."""
    return datetime.now(UTC)


def _key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _spki(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
