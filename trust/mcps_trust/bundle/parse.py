"""A strict reading of a Sigstore bundle v0.3 that holds a DSSE envelope.

It comes before sigstore-python's verifier and refuses what that lets pass although other
verifiers do not: keys named twice, base64 with junk in it, a log index that contradicts
its own inclusion proof, more than one signature, log entry or timestamp. Of several
timestamps only one would have to verify, so a second could lie about the time of signing.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from mcps_trust.model import strict_json
from mcps_trust.model.fields import FieldError, Fields
from mcps_trust.model.statement import IN_TOTO_PAYLOAD_TYPE

__all__ = ["BUNDLE_MEDIA_TYPE", "MAX_BUNDLE", "BundleFacts", "parse_bundle"]

BUNDLE_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_BUNDLE = 8 * 1024 * 1024  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleFacts:
    """What the bundle says about itself. Nothing here is verified."""

    payload: bytes
    certificate: bytes
    log_key_id: bytes
    log_index: int
    has_promise: bool
    integrated_time: int
    has_timestamp: bool


def parse_bundle(data: bytes) -> BundleFacts:
    """Read the bytes of a bundle.

    Raises:
        FieldError: it is not a v0.3 bundle with one DSSE signature, one log entry and at
            most one timestamp, or is not spelled strictly.
        UntrustedDataError: it is not strict JSON.
    """
    fields = Fields(strict_json.loads(data, limit=MAX_BUNDLE), "bundle")
    fields.choice("mediaType", (BUNDLE_MEDIA_TYPE,))
    material = fields.object("verificationMaterial")
    certificate = material.object("certificate")
    entry = _only(material, "tlogEntries")
    timestamp = _timestamp(material)
    log_id = entry.object("logId")
    proof = entry.object("inclusionProof")
    log_index = _int64(entry, "logIndex")
    kind = entry.object("kindVersion")
    version_2 = kind.text("version") == "0.0.2"
    if version_2 and _int64(proof, "logIndex") != log_index:
        raise entry.error("logIndex", "the index of its own inclusion proof", log_index)
    integrated = entry.optional("integratedTime", lambda key: _int64(entry, key)) or 0
    if version_2 and integrated:
        raise entry.error("integratedTime", "absent: a Rekor v2 entry has no time", integrated)
    _bytes(entry, "canonicalizedBody")
    envelope = fields.object("dsseEnvelope")
    envelope.choice("payloadType", (IN_TOTO_PAYLOAD_TYPE,))
    signature = _only(envelope, "signatures")
    _bytes(signature, "sig")
    signature.optional("keyid", signature.take)
    facts = BundleFacts(
        payload=_bytes(envelope, "payload"),
        certificate=_bytes(certificate, "rawBytes"),
        log_key_id=_bytes(log_id, "keyId"),
        log_index=log_index,
        has_promise=entry.optional("inclusionPromise", entry.take) is not None,
        integrated_time=integrated,
        has_timestamp=timestamp,
    )
    for part in (fields, certificate, log_id, envelope, signature):
        part.done()
    return facts


def _timestamp(material: Fields) -> bool:
    data = material.optional("timestampVerificationData", material.object)
    if data is None:
        return False
    tokens = list(data.objects("rfc3161Timestamps"))
    if len(tokens) > 1:
        raise data.error("rfc3161Timestamps", "at most one timestamp", len(tokens))
    for token in tokens:
        _bytes(token, "signedTimestamp")
        token.done()
    data.done()
    return bool(tokens)


def _only(fields: Fields, key: str) -> Fields:
    items = list(fields.objects(key))
    if len(items) != 1:
        raise fields.error(key, "exactly one", len(items))
    return items[0]


def _int64(fields: Fields, key: str) -> int:
    """A protobuf int64, which JSON carries as a decimal string or a number."""
    value = fields.take(key)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise fields.error(key, "a whole number", value)


def _bytes(fields: Fields, key: str) -> bytes:
    text = fields.text(key, longest=MAX_BUNDLE)
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FieldError(f"{fields.where}.{key} is not base64") from error
    if base64.b64encode(raw).decode("ascii") != text:
        raise FieldError(f"{fields.where}.{key} is not base64 in its normal spelling")
    return raw
