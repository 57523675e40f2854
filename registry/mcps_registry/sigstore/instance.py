"""The instance as one value, and the two documents by which clients know it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from mcps_registry.sigstore.authority import Authority, self_signed, timestamping_certificate
from mcps_registry.sigstore.log import TransparencyLog, log_id
from mcps_registry.sigstore.timestamp import TimestampAuthority

__all__ = ["Instance", "certificates", "open_instance", "signing_config", "trusted_root"]

_OPERATOR = "mcps"


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """A running private Sigstore."""

    authority: Authority
    log: TransparencyLog
    timestamps: TimestampAuthority


def certificates(
    keys: Mapping[str, PrivateKeyTypes], name: str, now: datetime
) -> dict[str, x509.Certificate]:
    """The three long-lived certificates of a new instance: ca, tsa-ca and tsa."""
    ca, tsa_ca, tsa = (_ec(keys[purpose]) for purpose in ("ca", "tsa-ca", "tsa"))
    tsa_root = self_signed(tsa_ca, f"{name} timestamp authority", now)
    return {
        "ca": self_signed(ca, f"{name} certificate authority", now),
        "tsa-ca": tsa_root,
        "tsa": timestamping_certificate(tsa, tsa_ca, tsa_root, now),
    }


def open_instance(
    folder: Path,
    origin: str,
    keys: Mapping[str, PrivateKeyTypes],
    certs: Mapping[str, x509.Certificate],
) -> Instance:
    """Start the instance whose log lies in `folder`.

    Raises:
        LogDamagedError: the log is not what it was.
    """
    log_key = keys["log"]
    if not isinstance(log_key, ed25519.Ed25519PrivateKey):
        msg = "the log key is Ed25519 by construction"
        raise TypeError(msg)
    return Instance(
        authority=Authority(certs["ca"], _ec(keys["ca"]), _ec(keys["ct"])),
        log=TransparencyLog(folder, origin, log_key),
        timestamps=TimestampAuthority(certs["tsa"], _ec(keys["tsa"])),
    )


def trusted_root(
    url: str,
    origin: str,
    keys: Mapping[str, PrivateKeyTypes],
    certs: Mapping[str, x509.Certificate],
) -> dict[str, Any]:
    """``trusted_root.json`` (media type …trustedroot+json;version=0.1)."""
    start = _start(certs["ca"])
    log_key = keys["log"]
    if not isinstance(log_key, ed25519.Ed25519PrivateKey):
        msg = "the log key is Ed25519 by construction"
        raise TypeError(msg)
    ct_spki = _spki(keys["ct"])
    return {
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [
            _log(f"{url}/sigstore/rekor", _spki(log_key), "PKIX_ED25519",
                 log_id(origin, log_key), start)
        ],
        "certificateAuthorities": [
            _authority(url, [certs["ca"]], start)
        ],
        "ctlogs": [
            _log(f"{url}/sigstore/ct", ct_spki, "PKIX_ECDSA_P256_SHA_256",
                 hashlib.sha256(ct_spki).digest(), start)
        ],
        "timestampAuthorities": [
            _authority(f"{url}/sigstore/tsa/api/v1/timestamp", [certs["tsa"], certs["tsa-ca"]],
                       start)
        ],
    }  # fmt: skip


def signing_config(url: str, certs: Mapping[str, x509.Certificate], *, oidc: str) -> dict[str, Any]:
    """``signing_config.json`` (media type …signingconfig.v0.2+json)."""
    start = _start(certs["ca"])

    def service(address: str, version: int) -> list[dict[str, Any]]:
        return [{"url": address, "majorApiVersion": version, "operator": _OPERATOR,
                 "validFor": {"start": start}}]  # fmt: skip

    return {
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "caUrls": service(url, 1),
        "oidcUrls": service(oidc, 1),
        "rekorTlogUrls": service(f"{url}/sigstore/rekor", 2),
        "tsaUrls": service(f"{url}/sigstore/tsa/api/v1/timestamp", 1),
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaConfig": {"selector": "ANY"},
    }


def _ec(key: PrivateKeyTypes) -> ec.EllipticCurvePrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        msg = "authority keys are P-256 by construction"
        raise TypeError(msg)
    return key


def _start(certificate: x509.Certificate) -> str:
    moment = certificate.not_valid_before_utc.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _log(url: str, spki: bytes, details: str, key_id: bytes, start: str) -> dict[str, Any]:
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": _b64(spki),
            "keyDetails": details,
            "validFor": {"start": start},
        },
        "logId": {"keyId": _b64(key_id)},
    }


def _authority(url: str, chain: list[x509.Certificate], start: str) -> dict[str, Any]:
    return {
        "subject": {"organization": _OPERATOR, "commonName": chain[-1].subject.rfc4514_string()},
        "uri": url,
        "certChain": {
            "certificates": [
                {"rawBytes": _b64(c.public_bytes(serialization.Encoding.DER))} for c in chain
            ]
        },
        "validFor": {"start": start},
    }


def _spki(key: PrivateKeyTypes) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
